"""The agent's small pure parts: names, back-off, BIRD's words, container bodies, reports, limits."""

import os
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anypop.agent.act.bgp.protocols import read_sessions
from anypop.agent.act.instances.labels import confinement_in, labels_for, past_in
from anypop.agent.act.instances.specification import body_for
from anypop.agent.act.network import netlink as nl
from anypop.agent.decide.back_off import BackOff
from anypop.agent.decide.elements import NO_PAST, ContainerSeen, ContainerState, Ending, Past
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.memory import (
    NOTHING,
    Memory,
    Trouble,
    lane_succeeded,
    order_changed,
    process_died,
    step_done,
    step_failed,
)
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.report import report_of
from anypop.agent.decide.steps import (
    SPEAKER,
    CreateContainer,
    MakeNamespace,
    PullImage,
    RemoveRoute,
    Step,
    image_lane,
    instance_lane,
    lanes_changed,
)
from anypop.agent.naming import container_of, link_of, namespace_of, short, short_of_link
from anypop.agent.observe import capacity
from anypop.model.confinement import Confinement
from anypop.model.reasons import Reason
from anypop.model.report import Phase, Report
from tests.agent_world import COVERS, HOST, POP, FakeHost, instance, order, settle, web

_PROTOCOLS = """be9b38650779ecb5
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     2026-11-23 07:15:42.766
u4_level3  BGP        ---        up     2026-11-23 07:15:43.123  Established
  BGP state:          Established
    Neighbor address: 10.99.0.1
  Channel ipv4
    State:          UP
    Routes:         17 imported, 0 filtered, 2 exported, 17 preferred
u6_level3  BGP        ---        start  2026-11-23 07:15:43.123  Active        Socket: Connection refused
  BGP state:          Active
    Last error:       Socket: Connection refused
"""


@given(st.text(min_size=1, max_size=40))
def test_names_fit_the_kernel_and_are_read_back(uid: str) -> None:
    """Whatever a uid is, its link has at most 15 characters and tells the ten digits that stand for it."""
    assert len(link_of(uid)) <= 15
    assert short_of_link(link_of(uid)) == short(uid)


def test_names_are_those_people_know() -> None:
    """A hexadecimal uid shows its own first ten digits everywhere."""
    uid = "0123ABCD-4567-89ab-cdef-0123456789ab"
    assert namespace_of("any", uid) == "any-i-0123abcd45"
    assert container_of("any", uid, "web") == "any-0123abcd45-web"
    assert short_of_link("ib0") is None
    assert short_of_link("i0123abcd4g") is None


def test_waiting_doubles_up_to_its_limit() -> None:
    """1, 2, 4, 4."""
    rest = BackOff(first_s=1, longest_s=4)
    assert [rest.wait_s(failures) for failures in range(4)] == [1, 2, 4, 4]


def test_a_lane_that_fails_rests_longer_each_time_and_alone() -> None:
    """0.2 s, 0.4 s; another lane has a row of its own; a success starts it anew; images rest longer."""
    bad, other = MakeNamespace(uid="1", lane="bad"), MakeNamespace(uid="2", lane="other")
    memory = NOTHING
    for rest in (0.2, 0.4):
        memory = step_failed(bad, "in vain", memory, 100.0)
        assert memory.trouble["bad"] == Trouble(reason=Reason.BACK_OFF, message="in vain", until=100.0 + rest)
    assert step_failed(other, "in vain", memory, 100.0).trouble["other"].until == 100.2
    memory = lane_succeeded("bad", memory)
    assert not memory.trouble
    assert step_failed(bad, "in vain", memory, 100.0).trouble["bad"].until == 100.2
    pull = PullImage(image="x", lane=image_lane("x"))
    assert step_failed(pull, "in vain", memory, 100.0).trouble[pull.lane] == Trouble(
        reason=Reason.PULL_FAILED, message="in vain", until=101.0
    )


def test_an_order_for_others_lets_a_failed_lane_rest() -> None:
    """Only lanes whose task the new order changes are tried again at once: a busy host asks a registry no more often
    than a quiet one.
    """
    poisoned, more = instance(0, containers=(web("registry/missing:1"),)), instance(1, workload=1)
    first, second = order(1, poisoned), order(2, poisoned, more)
    trouble = Trouble(reason=Reason.PULL_FAILED, message="in vain", until=1.0)
    lanes = (image_lane("registry/missing:1"), instance_lane(more.name, more.uid), SPEAKER)
    memory = order_changed(lanes_changed(first, second), Memory(trouble=dict.fromkeys(lanes, trouble)))
    assert set(memory.trouble) == {image_lane("registry/missing:1")}
    third = order(3, replace(poisoned, uid="anew"), more)
    assert not order_changed(lanes_changed(second, third), memory).trouble


def test_an_image_that_was_asked_for_is_known_until_a_container_cannot_be_made_of_it() -> None:
    """Finding it here is no pull of the day; a creation that fails asks for the image again."""
    found: Step = PullImage(image="x", lane="l")
    memory = step_done(found, NOTHING, 5.0)
    assert memory.images == {"x": 0.0}
    memory = step_done(PullImage(image="x", lane="l", anew=True), memory, 6.0)
    assert memory.images == {"x": 6.0}
    assert step_done(found, memory, 7.0).images == {"x": 6.0}
    assert step_done(RemoveRoute(address=COVERS[0][1]), memory, 8.0) == memory
    create = CreateContainer(instance=instance(0), container=web("x"), lane="l")
    assert step_failed(create, "no such image", memory, 9.0).images == {}


def test_a_past_is_carried_by_labels() -> None:
    """What labels tell is what was put on them; strange labels tell nothing, and a reason of a newer version is kept as
    one that this one does not know.
    """
    last = Ending(reason=Reason.OUT_OF_MEMORY, code=137, at=12.5)
    for past in (NO_PAST, Past(restarts=3, last=last), Past(restarts=1, last=Ending(reason=Reason.PROBE_FAILED))):
        step = CreateContainer(instance=instance(0), container=web(), lane="l", past=past)
        labels = labels_for(step, prefix="any", pop=POP, confinement=Confinement.OWN_USERS)
        assert past_in(labels) == past
        assert confinement_in(labels) is Confinement.OWN_USERS
    assert confinement_in({}) is Confinement.OLDER
    assert past_in({"anypop.restarts": "many"}) == NO_PAST
    assert past_in({"anypop.last-exit-reason": "Not a reason"}) == NO_PAST
    assert past_in({"anypop.last-exit-reason": "boredom"}) == Past(last=Ending(reason=Reason.OTHER))


def test_sessions_are_read_from_birds_words() -> None:
    """State, counts and the last error of each of our sessions; other protocols are nobody's business."""
    names = {"u4_level3": ("level3", 4), "u6_level3": ("level3", 6), "u4_gone": ("gone", 4)}
    first, second = read_sessions(_PROTOCOLS, names)
    assert (first.upstream, first.family, first.state, first.imported, first.exported) == (
        "level3",
        4,
        "established",
        17,
        2,
    )
    assert (second.family, second.state, second.error) == (6, "active", "Socket: Connection refused")
    assert first.since is not None


@given(st.lists(st.tuples(st.integers(1, 60), st.binary(max_size=40)), max_size=8, unique_by=lambda pair: pair[0]))
def test_netlink_attributes_are_read_as_written(pairs: list[tuple[int, bytes]]) -> None:
    """Attributes of any length survive packing, padding and unpacking."""
    assert nl.attributes(b"".join(nl.attribute(kind, payload) for kind, payload in pairs)) == dict(pairs)


def test_a_container_gets_its_labels_limits_namespace_and_secrets() -> None:
    """Everything that a later agent needs to find it, no limit above ours, command as entry point, arguments as
    command.
    """
    container = replace(
        web(), command=("/run",), args=("--fast",), env=(("A", "1"),), secrets=(("PASSWORD", "hunter2"),),
        cpu_millis=1500,
        memory_bytes=64 << 20,
    )  # fmt: skip
    one = replace(instance(0), hosts_domain="stack.edgeengine.internal")
    step = CreateContainer(instance=one, container=container, lane="l", generation=7)
    body = body_for(
        step, prefix="any", pop=POP, name="any-x-web", limits=(("nofile", 20000),), confinement=Confinement.OLDER
    )
    assert body["labels"]["anypop.uid"] == instance(0).uid
    assert body["labels"]["anypop.generation"] == "7"
    assert body["hostname"] == instance(0).name
    assert body["netns"] == {"nsmode": "path", "value": f"/run/netns/{namespace_of('any', instance(0).uid)}"}
    assert body["env"] == {
        "A": "1",
        "PASSWORD": "hunter2",
        "ANYPOP_ANYCAST_IP": "192.0.2.1",
        "ANYPOP_CITY": POP,
        "ANYPOP_EXTERNAL_IP": "198.51.100.10",
        "ANYPOP_EXTERNAL_IPV6": "2001:db8:e::10",
        "ANYPOP_INSTANCE": instance(0).name,
        "ANYPOP_POP": POP,
        "ANYPOP_PRIVATE_IP": "10.64.0.1",
        "ANYPOP_PRIVATE_IPV6": "fd00:64::1",
    }
    assert body["r_limits"] == [{"type": "nofile", "hard": 20000, "soft": 20000}]
    assert body["resource_limits"] == {"cpu": {"quota": 150_000, "period": 100_000}, "memory": {"limit": 64 << 20}}
    assert (body["entrypoint"], body["command"]) == (["/run"], ["--fast"])
    assert f"{instance(0).name}.stack.edgeengine.internal:10.64.0.1" in body["hostadd"]
    plain = body_for(replace(step, container=web()), prefix="any", pop=POP, name="any-x-web", limits=())
    own = replace(container, env=(("ANYPOP_POP", "mine"),))
    kept = body_for(
        replace(step, container=own, instance=replace(instance(0), anycast=())),
        prefix="any",
        pop=POP,
        name="x",
        limits=(),
    )
    assert kept["env"]["ANYPOP_POP"] == "mine"
    assert not any("ANYCAST" in name for name in kept["env"])
    assert "entrypoint" not in plain
    assert "command" not in plain


def _report(seen: Facts | Observed) -> Report:
    return report_of(seen, pop=POP, host=HOST, generation=1, at=50.0, refused=None, drift=(), errors=())


def test_a_report_says_why_an_image_is_missing_and_when_it_is_tried_again() -> None:
    """A failed pull shows as FAILED with the registry's words and the wait; the instance beside it starts."""
    host = FakeHost()
    both = order(1, instance(0), instance(1, workload=1, containers=(web("bad:1"),)))
    host.obey(both)
    trouble = {image_lane("bad:1"): Trouble(reason=Reason.PULL_FAILED, message="pull bad:1: no such host", until=54.0)}
    report = _report(host.facts(memory=Memory(trouble=trouble)))
    good, bad = report.instances
    assert good.phase is Phase.STARTING
    assert (bad.phase, bad.reason) == (Phase.FAILED, Reason.PULL_FAILED)
    assert bad.message == "pull bad:1: no such host; next try in 4 s"


def test_a_report_without_an_order_promises_nothing() -> None:
    """Before the first look there are no instances and no prefixes in the report, so nobody judges by them."""
    report = _report(Observed())
    assert report.instances == ()
    assert report.prefixes == ()


def test_what_no_order_explains_is_told_as_an_orphan() -> None:
    """A container of ours that is in no order is named, and nothing else happens to it (invariant 14)."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    assert _report(host.facts(links={"00000000ff": True})).orphans == ("i00000000ff",)


def test_a_container_that_wanted_too_much_memory_is_told_so() -> None:
    """While it rests, the instance is FAILED for that reason; the container that follows tells how the last life
    ended.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    key = (instance(0).uid, "web")
    host.die(key[0])
    host.containers[key] = replace(host.containers[key], out_of_memory=True)
    (dead,) = _report(host.facts()).instances
    assert (dead.phase, dead.reason) == (Phase.FAILED, Reason.OUT_OF_MEMORY)
    assert "memory" in dead.message
    settle(host)
    (alive,) = _report(host.facts()).instances
    assert alive.phase is Phase.RUNNING
    (container,) = alive.containers
    assert host.containers[key].state is ContainerState.RUNNING
    assert (container.restarts, container.last_exit_code, container.last_reason) == (1, 137, Reason.OUT_OF_MEMORY)
    assert container.last_finished_at is not None
    assert container.exit_code is None


def test_a_prefix_nobody_answers_for_asks_to_go() -> None:
    """Announced, no healthy instance, no grant: it wants to withdraw and says what it waits for."""
    host = FakeHost()
    one = order(1, instance(0))
    host.obey(one)
    prefix = ip_network(COVERS[0])
    idle = next(p for p in _report(host.facts()).prefixes if p.prefix == prefix)
    assert (idle.announced, idle.reason, idle.wants_withdraw) == (False, Reason.NO_HEALTHY_INSTANCE, False)


def test_only_where_no_process_and_no_route_is_left_is_a_prefix_vacant() -> None:
    """Sick, it is held by whoever runs; of two that die, the first leaves it to the other; after the second nobody is
    there, whatever any probe says; and once a process runs again it is a matter of probes anew.
    """
    host = FakeHost()
    one = order(1, instance(0), instance(1))
    host.obey(one)
    settle(host)
    prefix = ip_network(COVERS[0])
    uids = [i.uid for i in one.instances]

    def told() -> tuple[bool, bool]:
        found = next(p for p in _report(host.facts()).prefixes if p.prefix == prefix)
        return found.wants_withdraw, found.vacant

    assert told() == (False, False)
    host.sick |= {*uids}
    assert told() == (True, False)
    host.die(uids[0])
    assert told() == (True, False)
    host.die(uids[1])
    assert told() == (True, True)
    settle(host)
    assert told() == (True, False), "it runs again, and is sick"
    host.sick.clear()
    settle(host)
    assert told() == (False, False)


def test_a_host_tells_what_it_has_less_a_reserve() -> None:
    """In each report, also before there is an order."""
    told = capacity.read(100 << 30)
    assert 0 < told.cpu_millis < 1000 * len(os.sched_getaffinity(0))
    assert 0 < told.memory_bytes < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert told.disk_bytes == 90 << 30
    host = FakeHost()
    host.obey(order(1, instance(0)))
    about: dict[str, Any] = {
        "pop": POP,
        "host": HOST,
        "generation": 1,
        "at": 50.0,
        "refused": None,
        "drift": (),
        "errors": (),
    }
    assert report_of(host.facts(), **about, capacity=told).capacity == told
    assert report_of(Observed(), **about, capacity=told).capacity == told


def test_a_crash_loop_rests_longer_and_longer_whatever_the_runtimes_clock_says() -> None:
    """Its times follow the wall, which may have been set by an hour; ours do not. After a minute of running the row
    begins anew.
    """
    one = instance(0)
    for wrong_by in (-3600.0, 0.0, 3600.0):
        memory, now, rests = NOTHING, 1000.0, []
        for _ in range(4):
            seen = ContainerSeen(
                id="c", instance=one.name, uid=one.uid, container="web", state=ContainerState.RUNNING,
                started_at=now + wrong_by,
            )  # fmt: skip
            now += 0.5
            memory = process_died(seen, Reason.EXITED, memory, now)
            rests.append(round(memory.restart_at(seen.key) - now, 3))
            now = memory.restart_at(seen.key)
        assert rests == [0.1, 0.2, 0.4, 0.8]
        memory = process_died(seen, Reason.EXITED, memory, now + 61)
        assert round(memory.restart_at(seen.key) - now - 61, 3) == 0.1
