"""Templates: what makes a process another one, and what changes under it while it runs."""

from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.allocation import Assignment, Mode
from anypop.model.confinement import Security
from anypop.model.machine import Machine
from anypop.model.names import StackId, WorkloadId
from anypop.model.subnets import Interface, Vpc
from anypop.model.surroundings import HostAlias, Login, Resolving, Surroundings
from anypop.model.volume import Claim, Mount
from anypop.model.workload import Container, Port, Probe, ProbeKind, Target, Workload
from anypop.plan.template import template_of
from tests.unit.test_machine import a_machine, an_image
from tests.worlds import KEY, LHR, workload

PLAIN = Container(
    name="app", image="registry.example/web:1", env=(("A", "1"), ("B", "2")), secrets=(("TOKEN", "hush"),)
)
PROBE = Probe(kind=ProbeKind.TCP, port=81)

# every field of a container and of a workload, with another value for it: a new field must be put on one of the two
# sides
OF_THE_PROCESS: dict[str, Any] = {
    "name": "other",
    "image": "registry.example/web:2",
    "command": ("/run",),
    "args": ("--fast",),
    "env": (("A", "1"), ("B", "3")),
    "env_from_instance": (("CITY", ".location.cityCode"),),
    "secrets": (("TOKEN", "hash"),),
    "cpu_millis": 2000,
    "memory_bytes": 1 << 30,
    "always_pull": True,
    "post_start": Probe(kind=ProbeKind.EXEC, command=("/warm",)),
    "message_path": "/why",
    "message_from_log": True,
    "security": Security(user=1000),
    "mounts": (Mount(claim="data", path="/data"),),
    "working_dir": "/srv",
    "cpu_limit_millis": 4000,
    "memory_limit_bytes": 8 << 30,
    "machine": Machine(user_data="I2Nsb3VkLWNvbmZpZwo="),
}
# what the version that made the first templates did not know
NEWER = frozenset({
    "security", "mounts", "working_dir", "cpu_limit_millis", "memory_limit_bytes", "post_start", "message_path",
    "message_from_log", "machine",
})  # fmt: skip
UNDER_THE_PROCESS: dict[str, Any] = {
    "ports": (Port(name="http", port=8080),),
    "readiness": PROBE,
    "liveness": PROBE,
    "startup": PROBE,
    "pre_stop": PROBE,
}
MADE_FROM: dict[str, Any] = {
    "containers": (replace(PLAIN, image="registry.example/web:2"),),
    "anycast": False,
    "dual_stack": False,
    "around": Surroundings(aliases=(HostAlias(address=IPv4Address("192.0.2.9"), names=("db",)),)),
    "init": (replace(PLAIN, name="first"),),
    "shared_processes": True,
    "volumes": (Claim(slug="data", size_bytes=1 << 30),),
    "external": False,
    "network": "blue",
    "restarts": 1,
    "families": (6,),
    "vpc": Vpc(subnets=(IPv4Network("10.0.0.0/8"),)),
    "further": (Interface(network="blue", vpc=Vpc(subnets=(IPv4Network("10.0.0.0/8"),))),),
}
ABOUT_IT: dict[str, Any] = {
    "id": WorkloadId("another"),
    "stack_id": StackId("another"),
    "stack_slug": "another",
    "account_id": "another",
    "local_only": True,
    "slug": "another",
    "name": "another",
    "targets": (Target(name="all", cities=(LHR,), replicas=7),),
    "deleting": True,
    "revision": 7,
    "template": "another",
    "labels": (("a", "b"),),
    "annotations": (("a", "b"),),
    "grace_s": 30,
    "assignments": (Assignment(slug="front", mode=Mode.ONE_TO_ONE_NAT, ip_version=4),),
}


def template(*containers: Container, **more: Any) -> str:
    return template_of(workload(containers=containers or (PLAIN,), **more), KEY)


def test_every_field_is_on_one_side_or_the_other() -> None:
    """What a container or a workload learns to say must be called part of the process or not."""
    assert sorted([*OF_THE_PROCESS, *UNDER_THE_PROCESS]) == sorted(f.name for f in fields(Container))
    assert sorted([*MADE_FROM, *ABOUT_IT]) == sorted(f.name for f in fields(Workload))


@pytest.mark.parametrize("name", OF_THE_PROCESS)
def test_what_a_process_is_made_from_makes_another_template(name: str) -> None:
    """Each field for itself."""
    assert template(replace(PLAIN, **{name: OF_THE_PROCESS[name]})) != template()


@pytest.mark.parametrize("name", UNDER_THE_PROCESS)
def test_what_changes_under_a_process_leaves_its_template(name: str) -> None:
    """Ports and probes reach a process that runs."""
    assert template(replace(PLAIN, **{name: UNDER_THE_PROCESS[name]})) == template()


@pytest.mark.parametrize("name", MADE_FROM)
def test_a_workload_is_made_from_its_containers_and_the_families_of_its_address(name: str) -> None:
    """An anycast address is bound before the first instruction, so another family is another incarnation."""
    assert template_of(replace(workload(containers=(PLAIN,)), **{name: MADE_FROM[name]}), KEY) != template()


@pytest.mark.parametrize("name", ABOUT_IT)
def test_what_is_said_about_a_workload_leaves_its_template(name: str) -> None:
    """Where it runs, how often, what it is called and labelled: none of it is in a process."""
    assert template_of(replace(workload(containers=(PLAIN,)), **{name: ABOUT_IT[name]}), KEY) == template()


def test_how_names_are_resolved_is_part_of_a_process_and_who_pulls_its_image_is_not() -> None:
    """A registry's new password reaches a workload that runs; nothing of it has to be made anew."""
    login = Login(server="registry.example", username="me", password="hush")
    assert template(around=Surroundings(logins=(login,))) == template(around=Surroundings()) == template()
    asked = Resolving(options=(("ndots", "2"),))
    assert template(around=Surroundings(resolving=asked)) != template()


def test_where_others_of_the_network_may_be_is_in_no_process() -> None:
    """A subnet that a network gets starts nothing anew."""
    assert template(vpc=Vpc(reach=(IPv4Network("10.0.0.0/8"),), named=("db", ""))) == template()


def test_without_an_anycast_address_its_families_are_nothing() -> None:
    """There is no address to bind."""
    assert template(anycast=False, dual_stack=False) == template(anycast=False, dual_stack=True)


def test_a_second_container_makes_another_template() -> None:
    """Added or taken away; in which order they were written down is nothing."""
    side = replace(PLAIN, name="side")
    assert template(PLAIN, side) == template(side, PLAIN) != template(PLAIN)


@given(st.permutations([("A", "1"), ("B", "2"), ("C", "3")]))
def test_variables_have_no_order(env: list[tuple[str, str]]) -> None:
    """A client that sends the same object with its keys sorted another way changes nothing."""
    assert template(replace(PLAIN, env=tuple(env))) == template(replace(PLAIN, env=tuple(sorted(env))))
    assert template(replace(PLAIN, secrets=tuple(env))) == template(replace(PLAIN, secrets=tuple(sorted(env))))


@pytest.mark.parametrize(
    "path", [".metadata.labels['role']", "{.metadata.labels['role']}", "$.metadata.labels['role']"]
)
def test_labels_count_where_a_process_reads_them(path: str) -> None:
    """In whichever way of writing it the path begins at the metadata."""
    reads = replace(PLAIN, env_from_instance=(("ROLE", path),))
    for name in ("labels", "annotations"):
        assert template(reads, **{name: (("role", "edge"),)}) != template(reads, **{name: (("role", "core"),)})
        assert template(reads, **{name: (("a", "1"), ("b", "2"))}) == template(
            reads, **{name: (("b", "2"), ("a", "1"))}
        )
    elsewhere = replace(PLAIN, env_from_instance=(("ROLE", ".location.metadata"),))
    assert template(elsewhere, labels=(("role", "edge"),)) == template(elsewhere)


def test_a_template_outlives_the_version_that_made_it() -> None:
    """What runs is known by its template for years: these words may never change for these workloads, whatever
    fields are added.
    """
    assert template() == "c04c4336110720029d49"
    full = replace(PLAIN, **{name: value for name, value in OF_THE_PROCESS.items() if name not in NEWER})
    assert template(full, anycast=False) == "8569213ceef4bcb5a14e"
    assert template(replace(PLAIN, security=Security(user=1000, drop=("ALL",)))) == "cbeaa6273ed917ff7e42"


def test_a_template_is_keyed_and_shows_nothing() -> None:
    """Without the platform's key nobody can try out a secret against it; it is short and of hexadecimal digits."""
    assert template() != template_of(workload(containers=(PLAIN,)), b"another")
    assert len(template()) == 20 and set(template()) <= set("0123456789abcdef")


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_two_values_are_never_one_template(one: str, other: str) -> None:
    """Neither by where one ends and the next begins, nor by what stands in them."""
    same = template(replace(PLAIN, args=(one, other))) == template(replace(PLAIN, args=(one + other,)))
    assert not same
    assert (template(replace(PLAIN, args=(one,))) == template(replace(PLAIN, args=(other,)))) == (one == other)


def test_the_size_of_a_volume_is_in_a_containers_template_and_not_in_a_guests() -> None:
    """A guest sees its disk grow; a file system that is mounted for containers is made larger before they begin."""
    sizes = [(Claim(slug="data", size_bytes=n << 30),) for n in (1, 2)]
    guest = a_machine(an_image())
    assert template(guest, volumes=sizes[0]) == template(guest, volumes=sizes[1]) != template(guest)
    assert template(volumes=sizes[0]) != template(volumes=sizes[1])
