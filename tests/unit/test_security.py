"""What a workload asks for in `securityContext`: done as asked, or refused with its path."""

from dataclasses import replace
from typing import Any

import pytest

from anypop.agent.act.instances.shutting_in import FIRST_USER, first_user, shut_in
from anypop.model.confinement import (
    CAPABILITIES,
    GIVEN,
    MOST_USERS,
    Confinement,
    InstanceRules,
    Security,
    capabilities_of,
    problems,
)
from anypop.model.errors import Invalid
from anypop.model.names import StackId, WorkloadId
from anypop.plan.parse import Parsed, parse
from tests.agent_lab import instance, web
from tests.unit.test_parse import APP, CITIES, put, terraform

ALL = "spec.runtime.containers"
PODMANS = GIVEN | {"SETFCAP", "SETPCAP", "SYS_CHROOT"}  # its default, containers.conf(5)


def read(own: dict[str, Any], common: dict[str, Any] | None = None, rules: InstanceRules | None = None) -> Parsed:
    body = put(terraform(), f"{APP}.securityContext", own)
    if common is not None:
        body = put(body, ALL, {"securityContext": common})
    return parse(
        body,
        workload_id=WorkloadId("w1"),
        stack_id=StackId("s1"),
        stack_slug="fun",
        cities=CITIES,
        rules=rules or InstanceRules(),
    )


def parse_with(body: dict[str, Any], rules: InstanceRules) -> list[str]:
    """The paths of what is wrong with a body by these rules."""
    try:
        parse(
            body,
            workload_id=WorkloadId("w1"),
            stack_id=StackId("s1"),
            stack_slug="fun",
            cities=CITIES,
            rules=rules,
        )
    except Invalid as error:
        return [p.path for p in error.problems]
    return []


def wrong(own: dict[str, Any], common: dict[str, Any] | None = None, rules: InstanceRules | None = None) -> set[str]:
    with pytest.raises(Invalid) as caught:
        read(own, common, rules)
    return {p.path for p in caught.value.problems}


def test_what_is_asked_for_is_understood_whole() -> None:
    """A container's own word wins over the one for all containers; nothing of it is left without effect."""
    own = {
        "runAsUser": "0",
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": True,
        "capabilities": {"add": ["CAP_SYS_CHROOT"], "drop": ["kill"]},
    }
    common = {
        "runAsUser": 33,
        "runAsGroup": 44,
        "supplementalGroups": [7, "5"],
        "sysctls": [{"name": "net.core.somaxconn", "value": 4096}],
    }
    found = read(own, common)
    assert found.workload.containers[0].security == Security(
        user=0,
        group=44,
        groups=(5, 7),
        read_only=True,
        escalation=True,
        add=("SYS_CHROOT",),
        drop=("KILL",),
        sysctls=(("net.core.somaxconn", "4096"),),
    )
    assert not [p for p in found.unacted if "securityContext" in p.path]


def test_what_is_the_same_asked_otherwise_is_the_same_template() -> None:
    """Order, case and repetition are no difference; nothing asked is no difference to a workload of before."""
    one = read({"capabilities": {"drop": ["KILL", "CHOWN"]}}, {"supplementalGroups": [2, 1]})
    other = read(
        {"capabilities": {"drop": ["cap_chown", "kill", "KILL"], "add": []}}, {"supplementalGroups": [1, 2, 2]}
    )
    assert one.workload == other.workload
    assert read({"capabilities": {"add": [], "drop": []}, "runAsNonRoot": False}).workload == read({}).workload


@pytest.mark.parametrize(
    ("own", "common", "where"),
    [
        ({"capabilities": {"add": ["SETFCAP", "NET_RAW"]}}, None, f"{APP}.securityContext.capabilities.add[1]"),
        ({"capabilities": {"add": ["ALL"]}}, None, f"{APP}.securityContext.capabilities.add[0]"),
        ({"capabilities": {"add": ["KILL"], "drop": ["KILL"]}}, None, f"{APP}.securityContext.capabilities.add[0]"),
        ({"capabilities": {"drop": ["TIME_TRAVEL"]}}, None, f"{APP}.securityContext.capabilities.drop[0]"),
        ({"runAsUser": 65536}, None, f"{APP}.securityContext.runAsUser"),
        ({"runAsUser": 0, "runAsNonRoot": True}, None, f"{APP}.securityContext.runAsNonRoot"),
        ({"runAsUser": 0}, {"runAsNonRoot": True}, f"{APP}.securityContext.runAsNonRoot"),
        ({"runAsGroup": 5}, None, f"{APP}.securityContext.runAsGroup"),
        ({}, {"runAsUser": 70000}, f"{ALL}.securityContext.runAsUser"),
        ({}, {"supplementalGroups": [1, 1 << 20]}, f"{ALL}.securityContext.supplementalGroups[1]"),
        ({}, {"sysctls": [{"name": "kernel.core_pattern", "value": "1"}]}, f"{ALL}.securityContext.sysctls[0].name"),
        (
            {},
            {"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}]},
            f"{ALL}.securityContext.sysctls[0].name",
        ),
        ({}, {"sysctls": [{"name": "net.core.somaxconn", "value": "a"}]}, f"{ALL}.securityContext.sysctls[0].value"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_path(
    own: dict[str, Any], common: dict[str, Any] | None, where: str
) -> None:
    """Each alone, and none is silently left out."""
    assert wrong(own, common) == {where}


def test_the_operator_says_which_capabilities_may_be_added() -> None:
    """More than the usual ones, or none; what everybody has may be asked for after all was dropped."""
    more, none = InstanceRules(capabilities=("NET_RAW",)), InstanceRules(capabilities=())
    asks = {"capabilities": {"add": ["NET_RAW"]}}
    assert read(asks, rules=more).workload.containers[0].security.add == ("NET_RAW",)
    assert wrong({"capabilities": {"add": ["SYS_CHROOT"]}}, rules=none)
    found = read({"capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}}, rules=none)
    assert capabilities_of(found.workload.containers[0].security) == {"NET_BIND_SERVICE"}


def test_a_container_is_shut_in_at_least_as_podman_would() -> None:
    """Fewer capabilities, no new privileges, users and control groups of its own; a tenant's wishes on top."""
    assert GIVEN < PODMANS
    plain = shut_in(instance(0), web(), Confinement.OWN_USERS)
    assert set(plain["cap_drop"]) == set(CAPABILITIES) - GIVEN
    assert plain["cap_add"] == []
    assert plain["no_new_privileges"] is True
    assert plain["idmappings"]["UIDMap"] == [{"container_id": 0, "host_id": first_user(instance(0)), "size": 65536}]
    asked = Security(
        user=33, group=44, groups=(5,), read_only=True, escalation=True, add=("SYS_CHROOT",), drop=("ALL",)
    )
    body = shut_in(instance(0), web(security=asked), Confinement.HOST_USERS)
    assert (body["user"], body["groups"], body["read_only_filesystem"]) == ("33:44", ["5"], True)
    assert (body["no_new_privileges"], body["cap_add"]) == (False, ["SYS_CHROOT"])
    assert set(body["cap_drop"]) == set(CAPABILITIES) - {"SYS_CHROOT"}
    assert "userns" not in body
    assert shut_in(instance(0), web(), Confinement.OLDER) == {}


def test_no_two_instances_of_a_host_share_users() -> None:
    """Each link has a range of its own, all of them below 2^31 and above whoever else has users."""
    found = [first_user(replace(instance(0, link=n))) for n in range(4096)]
    assert len(set(found)) == 4096
    assert min(found) == FIRST_USER
    assert max(found) + MOST_USERS <= 1 << 31


def test_an_operators_rules_are_checked() -> None:
    """Each wrong one with its path."""
    rules = InstanceRules(capabilities=("SYS_CHROOT", "CAP_KILL"), processes=0)
    assert [p.path for p in problems(rules, "instances")] == ["instances.capabilities[1]", "instances.processes"]
    assert list(problems(InstanceRules(), "instances")) == []
