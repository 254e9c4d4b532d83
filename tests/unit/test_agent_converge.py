"""Properties of `converge`, against a fake PoP host that refuses what must never happen (see `tests.agent_world`)."""

import time
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.agent.decide import memory
from anypop.agent.decide.announcements import reason_for, speaker_for
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.elements import ContainerState, Ending, Member, Past, ProbeVerdict
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.report import report_of
from anypop.agent.decide.steps import (
    AddLink,
    BeginDrain,
    CreateContainer,
    EndDrain,
    MakeNamespace,
    NameNamespace,
    PullImage,
    RemoveContainer,
    SetFirewall,
    SetNextHops,
    SetSpeaker,
    StartContainer,
    Step,
    instance_lane,
)
from anypop.agent.naming import short
from anypop.model.announce import Announcement, Scope
from anypop.model.confinement import Confinement
from anypop.model.order import Grant, InstanceOrder, Order
from anypop.model.peering import UpstreamKind
from anypop.model.reasons import Reason
from anypop.model.report import Phase
from tests.agent_world import COVERS, HOST, POP, UPSTREAMS, FakeHost, instance, order, settle, web
from tests.examples import examples


def worlds() -> st.SearchStrategy[list[Order]]:
    """Stories of one host: orders that add, remove, replace at once or side by side, and withhold, each obeyed until
    nothing is left to do.
    """

    @st.composite
    def story(draw: st.DrawFn) -> list[Order]:
        running: dict[int, list[InstanceOrder]] = {}
        orders, lives = [], 0
        for generation in range(1, draw(st.integers(2, 4)) + 1):
            removed: list[InstanceOrder] = []
            for n in range(4):
                here = running.setdefault(n, [])
                # nothing; away with all; one more, beside what is there; away with the older, or with the newer
                for what in draw(
                    st.sampled_from([(), (), ("away",), ("more",), ("more",), ("older",), ("newer",), ("away", "more")])
                ):
                    if what == "away":
                        removed += here
                        here.clear()
                    elif what == "more" and len(here) < 2:
                        lives += 1
                        here.append(instance(n, workload=n % 2, life=lives, link=n + 4 * lives))
                    elif what == "older" and len(here) == 2:
                        removed.append(here.pop(0))
                    elif what == "newer" and len(here) == 2:
                        removed.append(here.pop())
            withheld = draw(st.sampled_from([(), (), ("one",), ("two",)]))
            everyone = [i for here in running.values() for i in here]
            orders.append(order(generation, *everyone, removed=tuple(removed), withheld=withheld))
        return orders

    return story()


@settings(max_examples=examples(50), deadline=None)
@given(worlds(), st.data())
def test_kill_after_any_step_converges_to_the_same_end(orders: list[Order], data: st.DataObject) -> None:
    """Killing the agent after any steps, with lanes in any order, ends in the same world as an undisturbed run
    (invariant 12).
    """
    calm, rough = FakeHost(), FakeHost()
    for each in orders:
        assert calm.obey(each) is None
        assert rough.obey(each) is None
        settle(calm)
        kills = data.draw(st.frozensets(st.integers(1, 40), max_size=4))
        settle(rough, choose=lambda n: data.draw(st.integers(0, n - 1)), kill_after=kills)
        assert rough.picture() == calm.picture()


@settings(max_examples=25, deadline=None)
@given(worlds())
def test_a_converged_world_needs_no_steps(orders: list[Order]) -> None:
    """A converged world gives no steps, also to an agent that has just been started, except for reloading the
    firewall and looking inside namespaces, which it cannot see.
    """
    host = FakeHost()
    for each in orders:
        host.obey(each)
        settle(host)
        assert converge(host.facts(), host.now) == []
        checked = host.memory
        host.kill()
        host.memory = memory.checked(
            router_ready=True,
            unfit=frozenset(),
            wrong=(),
            memory=replace(host.memory, firewall=checked.firewall, inside=checked.inside),
        )
        assert converge(host.facts(), host.now) == []


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_sickness_and_deaths_never_withdraw_without_a_grant(data: st.DataObject) -> None:
    """However instances die and fall sick, and speakers die, what was announced stays so until the governor grants
    its withdrawal.
    """
    host = FakeHost()
    everyone = [*(instance(n) for n in range(3)), instance(0, life=1, link=9)]
    host.obey(order(1, *everyone))
    settle(host)
    announced = host.speaker
    for _ in range(data.draw(st.integers(1, 6))):
        who = data.draw(st.sampled_from(everyone))
        match data.draw(st.sampled_from(["die", "sick", "well", "kill", "bird"])):
            case "die":
                host.die(who.uid)
            case "sick":
                host.sick.add(who.uid)
            case "well":
                host.sick.discard(who.uid)
            case "bird":
                host.bird_dies()
                settle(host)
            case _:
                host.kill()
        host.now += 0.05
        if data.draw(st.booleans()):
            settle(host)
        assert host.speaker == announced


def test_links_that_an_older_version_made_are_fitted_and_nothing_is_started() -> None:
    """An agent that takes over finds links without a group, and with neighbours that are asked for: they get both, and
    their containers and addresses stay as they are. The same of a link whose group somebody has changed.
    """
    host = FakeHost()
    host.obey(order(1, instance(0), instance(1)))
    settle(host)
    before = {**host.picture(), "firewall": None}
    groups = dict(host.device_groups)
    host.device_groups = dict.fromkeys(groups, 0)
    host.unfit = {instance(0).uid, instance(1).uid}
    host.kill()
    host.applied.clear()
    settle(host)
    assert {**host.picture(), "firewall": None} == before
    assert (host.device_groups, host.unfit) == (groups, set())
    assert {type(s).__name__ for s in host.applied} <= {
        "GroupLink",
        "FitLink",
        "SetFirewall",
        "SetInside",
        "SetErrorWays",
        "PrepareRouter",
    }
    host.device_groups[short(instance(0).uid)] = 7
    settle(host)
    assert host.device_groups == groups


def test_one_more_instance_changes_the_rules_by_what_is_its_own() -> None:
    """The step tells what was loaded before, so that what stays need not be loaded; and nothing, when that is not
    known any more.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    loaded = host.memory.firewall
    host.obey(order(2, instance(0), instance(1)))
    (step,) = (s for s in converge(host.facts(), host.now) if isinstance(s, SetFirewall))
    assert loaded is not None
    assert step.before == loaded
    settle(host)
    host.memory = memory.firewall_doubted(host.memory)
    (step,) = (s for s in converge(host.facts(), host.now) if isinstance(s, SetFirewall))
    assert step.before is None


def test_a_grant_withdraws_what_nobody_answers_for() -> None:
    """With every instance sick, a refused grant keeps the prefix, an allowed one withdraws it; recovery announces it
    again.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    assert host.speaker is not None
    host.sick.add(instance(0).uid)
    refused = Grant(prefix=COVERS[0], allowed=False, reason=Reason.LAST_ANNOUNCER)
    host.obey(order(2, instance(0), grants=(refused,)))
    settle(host)
    assert any(e.prefix == COVERS[0] for e in host.speaker.exports)
    host.obey(order(3, instance(0), grants=(replace(refused, allowed=True),)))
    settle(host)
    assert not any(e.prefix == COVERS[0] for e in host.speaker.exports)
    host.sick.clear()
    settle(host)
    assert any(e.prefix == COVERS[0] for e in host.speaker.exports)


def test_an_edge_router_is_told_to_prefer_other_hosts_while_nobody_answers_here() -> None:
    """The address alone, at once, without a grant, and only on that session; what the PoP is told by stays as it is. A
    new agent, which has not asked anybody yet, changes nothing; who answers again is told as before.
    """
    single = ip_network(COVERS[0][1])
    edge, other = (replace(UPSTREAMS[0], kind=UpstreamKind.EDGE), UPSTREAMS[1])
    asked = order(1, instance(0))
    told = tuple(
        Announcement(prefix=single, upstream=u.name, scope=Scope(), gates=(COVERS[0][1],)) for u in (edge, other)
    )
    host = FakeHost()
    host.obey(replace(asked, upstreams=(edge, other), announcements=(*asked.announcements, *told)))
    settle(host)
    plain = host.speaker
    assert plain is not None
    assert {(e.prefix, e.upstream) for e in plain.exports} >= {(single, edge.name), (single, other.name)}
    assert not any(e.graceful for e in plain.exports)
    faded = replace(
        plain, exports=tuple(replace(e, graceful=(e.prefix, e.upstream) == (single, edge.name)) for e in plain.exports)
    )
    host.sick.add(instance(0).uid)
    assert speaker_for(host.facts(), host.now) == faded
    host.sick.clear()
    host.kill()
    assert speaker_for(host.facts(health={}), host.now) == plain
    host.die(instance(0).uid)
    assert speaker_for(host.facts(), host.now) == faded
    assert speaker_for(host.facts(), host.now + 60) == faded, "however long nobody answers: others may have nobody too"
    settle(host)
    assert host.speaker == plain


def test_a_speaker_that_dies_goes_on_where_it_was() -> None:
    """What is held although every instance is sick is held by the next BIRD too; what was never announced is not
    announced by it.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    held = host.speaker
    host.sick.add(instance(0).uid)
    host.obey(order(2, instance(0), instance(1, workload=1)))
    host.sick.add(instance(1, workload=1).uid)
    settle(host)
    host.bird_dies()
    settle(host)
    assert host.speaker == held
    host.obey(
        order(
            3,
            instance(0),
            instance(1, workload=1),
            grants=(Grant(prefix=COVERS[0], allowed=True, reason=Reason.GRANTED),),
        )
    )
    host.bird_dies()
    settle(host)
    assert host.speaker is not None
    assert not any(e.prefix in COVERS for e in host.speaker.exports)


def test_a_newcomer_in_a_shared_prefix_is_told_as_what_it_is() -> None:
    """While an instance that shares the prefix has never answered, the prefix stays announced and the reason is its
    first probe.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    newcomer = replace(instance(1, workload=1), anycast=(COVERS[0][2],))
    both = order(2, instance(0), newcomer)
    host.obey(both)
    for step in converge(host.facts(), host.now):
        host.apply(step)
    assert reason_for(COVERS[0], host.facts(), host.now) == (Reason.PROBE_PENDING, True)
    settle(host)
    assert reason_for(COVERS[0], host.facts(), host.now) == (Reason.SESSION_DOWN, False)
    host.sick.add(newcomer.uid)
    assert reason_for(COVERS[0], host.facts(), host.now) == (Reason.AWAITING_GRANT, True)


def test_the_last_instances_leave_in_order() -> None:
    """Prefer less, withdraw, drain, route away, stop, remove, unbind: in this order, none before its time."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.applied.clear()
    host.obey(order(2, removed=(instance(0),)))
    settle(host)
    words = [_word(s) for s in host.applied if _word(s)]
    assert words == ["graceful", "withdrawn", "BeginDrain", "RemoveRoute", "EndDrain", "RemoveExternal",
                     "RemoveExternal",
                     "RemoveContainer", "DeleteNamespace"]  # fmt: skip


def _word(step: Step) -> str:
    if isinstance(step, SetSpeaker):
        mine = [e for e in step.config.exports if e.prefix == COVERS[0]]
        return "graceful" if mine and all(e.graceful for e in mine) else "" if mine else "withdrawn"
    name = type(step).__name__
    return "" if name in ("SetFirewall", "RemoveCover", "SetNextHops") else name


ABOUT: Any = {"pop": POP, "host": HOST, "generation": 1, "at": 1000.0, "refused": None, "drift": (), "errors": ()}


def test_one_of_two_drains_without_losing_its_own_flows() -> None:
    """An instance that leaves while another serves has its flows pinned, leaves the group, and goes when none of them
    lives any more; nothing is withdrawn.
    """
    host = FakeHost()
    host.obey(order(1, instance(0), instance(2)))
    settle(host)
    announced = host.speaker
    host.applied.clear()
    host.busy.add(instance(2).uid)
    host.obey(order(2, instance(0), removed=(instance(2),)))
    act(host)
    assert [_word(s) for s in host.applied if _word(s)] == ["BeginDrain"]
    act(host)
    assert host.groups == {COVERS[0][1]: (Member(short=short(instance(0).uid)),)}
    act(host)
    assert host.is_well(instance(2).uid)
    host.busy.clear()
    settle(host)
    assert [_word(s) for s in host.applied if _word(s)][1:] == [
        "EndDrain", "RemoveExternal", "RemoveExternal", "RemoveContainer", "DeleteNamespace"
    ]  # fmt: skip
    assert host.now < host.pins.get(short(instance(2).uid), host.now) + 0.5
    assert host.speaker == announced


def test_a_drain_ends_for_flows_that_never_end() -> None:
    """After `drain_s` an instance goes although flows live on it; until then it is looked at again and again."""
    host = FakeHost()
    host.obey(order(1, instance(0), instance(2)))
    settle(host)
    host.busy.add(instance(2).uid)
    host.obey(order(2, instance(0), removed=(instance(2),)))
    begun = host.now
    while short(instance(2).uid) in host.links:
        if not act(host):
            facts = host.facts()
            due = next_due(facts, host.now)
            assert due is not None
            assert due <= host.now + 0.1
            host.now = due
    assert 0.5 <= host.now - begun < 0.8


def act(host: FakeHost) -> list[Step]:
    """One pass: all its steps."""
    steps = converge(host.facts(), host.now)
    for step in steps:
        host.apply(step)
    return steps


OLD, NEW = instance(0), instance(0, life=1, link=9)


def _handed_over() -> FakeHost:
    """A host whose slot has been handed over to a newer incarnation; the older one still stands beside it."""
    host = FakeHost()
    host.obey(order(1, OLD))
    settle(host)
    host.applied.clear()
    host.obey(order(2, OLD, NEW))
    settle(host)
    return host


def test_a_newer_incarnation_takes_over_when_it_serves() -> None:
    """It comes up beside the older one, of which nothing changes meanwhile; once it is healthy the older one's flows
    are pinned, then group and external routes lead to the newer one, and nothing else happens before the older one's
    token comes.
    """
    host = _handed_over()
    words = [_word(s) or type(s).__name__ for s in host.applied]
    started = words.index("StartContainer")
    assert not {"SetNextHops", "SetExternal", "BeginDrain"} & set(words[:started])
    assert [w for w in words[started:] if w in ("SetNextHops", "SetExternal", "BeginDrain", "RemoveContainer")] == [
        "SetNextHops", "BeginDrain", "SetNextHops", "SetExternal",
    ]  # fmt: skip
    joined, left = [s for s in host.applied if isinstance(s, SetNextHops)]
    assert {m.short for m in joined.members} == {short(OLD.uid), short(NEW.uid)}
    assert {m.short for m in left.members} == {short(NEW.uid)} == set(host.external.values())
    assert host.is_well(OLD.uid)
    assert set(host.pins) == {short(OLD.uid)}
    old, new = report_of(host.facts(), **ABOUT).instances
    assert (old.serving, old.template, old.phase, old.reason) == (False, "t0", Phase.RUNNING, Reason.DRAINING)
    assert (new.serving, new.template, new.phase, new.reason) == (True, "t1", Phase.RUNNING, Reason.RUNNING)
    host.obey(order(3, NEW, removed=(OLD,)))
    settle(host)
    assert list(host.links) == [short(NEW.uid)]
    assert not host.pins


@pytest.mark.parametrize("at", ["at once", "at the end of its drain"])
def test_one_that_has_left_the_group_returns_when_those_after_it_die(at: str) -> None:
    """The newer one dies and cannot start again while the older one, told to go, drains for flows that never end: it
    gets the traffic again and is not stopped while its address is announced, and goes when the newer one serves.
    """
    host = _handed_over()
    host.busy.add(OLD.uid)
    host.obey(order(3, NEW, removed=(OLD,)))
    act(host)
    assert [m.short for m in host.groups[COVERS[0][1]]] == [short(NEW.uid)]
    if at != "at once":
        host.now += 0.6
    announced = host.speaker
    for _ in range(100):
        host.die(NEW.uid)
        assert not any(p.vacant for p in report_of(host.facts(), **ABOUT).prefixes), "it can answer, or is about to"
        if not act(host):
            host.now += 0.1
    assert host.is_well(OLD.uid) and host.speaker == announced
    assert short(OLD.uid) in {m.short for m in host.groups[COVERS[0][1]]}
    settle(host)
    assert [m.short for m in host.groups[COVERS[0][1]]] == [short(NEW.uid)]
    assert list(host.links) == [short(NEW.uid)] and not host.pins


def test_one_that_has_left_the_group_goes_though_the_one_after_it_is_ill() -> None:
    """The newer one runs and may answer again: it keeps the traffic, and nobody waits for ever."""
    host = _handed_over()
    host.obey(order(3, NEW, removed=(OLD,)))
    act(host)
    host.sick.add(NEW.uid)
    for _ in range(30):
        act(host)
        host.now += 0.1
    assert [m.short for m in host.groups[COVERS[0][1]]] == [short(NEW.uid)]
    assert list(host.links) == [short(NEW.uid)] and not host.pins


@pytest.mark.parametrize("kill_after", range(1, 30))
def test_a_handover_survives_a_kill_at_every_step(kill_after: int) -> None:
    """Whenever the agent dies, the end is the same, and no flow is lost on the way (the fake host sees to that)."""
    calm, rough = _handed_over(), FakeHost()
    for each in (order(1, OLD), order(2, OLD, NEW), order(3, NEW, removed=(OLD,))):
        rough.obey(each)
        settle(rough, kill_after=frozenset({kill_after}) if each.generation > 1 else frozenset())
    calm.obey(order(3, NEW, removed=(OLD,)))
    settle(calm)
    assert rough.picture() == calm.picture()


def test_an_unhealthy_newer_incarnation_harms_nobody() -> None:
    """While it does not answer, group, routes, pins and announcements are the older one's, also after its end and a
    restart of the agent; taken back, it leaves nothing.
    """
    host = FakeHost()
    host.obey(order(1, OLD))
    settle(host)
    before = (dict(host.groups), dict(host.external), host.speaker, dict(host.pins))
    host.sick.add(NEW.uid)
    host.obey(order(2, OLD, NEW))
    for disturb in (host.observe, host.kill, partial(host.die, NEW.uid)):
        disturb()
        settle(host)
        assert (host.groups, host.external, host.speaker, host.pins) == before
    picture = host.picture()
    host.obey(order(3, OLD, removed=(NEW,)))
    settle(host)
    assert list(host.links) == [short(OLD.uid)]
    assert picture["groups"] == host.picture()["groups"]


def test_the_older_one_takes_over_again_while_it_is_there() -> None:
    """A newer one that fails or dies gives everything back to the older one, and gets it again when it serves; when
    it is taken back for good, the older one's pin is let go.
    """
    host = _handed_over()
    for fails in (partial(host.sick.add, NEW.uid), partial(host.die, NEW.uid)):
        fails()
        act(host)
        act(host)
        act(host)
        assert set(host.external.values()) == {short(OLD.uid)}
        assert [m.short for m in host.groups[COVERS[0][1]]] == [short(OLD.uid)]
        host.sick.clear()
        settle(host)
        assert set(host.external.values()) == {short(NEW.uid)}
    host.sick.add(NEW.uid)
    settle(host)
    host.obey(order(3, OLD, removed=(NEW,)))
    settle(host)
    assert list(host.links) == [short(OLD.uid)]
    assert not host.pins


def test_a_host_that_cannot_pin_still_removes() -> None:
    """When nft fails again and again, an instance that leaves goes without a pin after its drain time; it does not
    stay for ever.
    """
    host = FakeHost()
    host.obey(order(1, instance(0), instance(2)))
    settle(host)
    host.obey(order(2, instance(0), removed=(instance(2),)))
    begun = host.now
    for _ in range(100):
        steps = converge(host.facts(), host.now)
        for step in steps:
            if isinstance(step, BeginDrain):
                host.memory = memory.step_failed(step, "nft: no such program", host.memory, host.now)
            elif isinstance(step, SetNextHops):
                host.groups[step.address] = step.members
            else:
                host.apply(step)
        due = next_due(host.facts(), host.now)
        if not steps and due is None:
            break
        host.now = host.now if steps or due is None else due
    assert list(host.links) == [short(instance(0).uid)]
    assert 3 < host.now - begun < 10


def test_a_pin_is_made_whole_or_let_go() -> None:
    """One that was half made is made again while it is needed; one of an incarnation that nobody knows is let go,
    unless something of it still stands: what no order explains is not touched.
    """
    host = FakeHost()
    host.obey(order(1, instance(0), instance(2)))
    settle(host)
    host.busy.add(instance(2).uid)
    host.obey(order(2, instance(0), removed=(instance(2),)))
    act(host)
    half = converge(host.facts(pins={short(instance(2).uid): False}), host.now)
    assert [type(s) for s in half] == [BeginDrain]
    host.busy.clear()
    settle(host)
    lost = "00000000ff"
    assert converge(host.facts(pins={lost: True}), host.now) == [EndDrain(uid=lost, lane=f"drain {lost}")]
    links = {**host.links, lost: True}
    assert converge(host.facts(pins={lost: True}, links=links), host.now) == []


def test_a_new_incarnation_waits_for_its_predecessor() -> None:
    """A replaced instance of the same name and addresses is wired only after the old one has left them (invariant
    15).
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.obey(order(2, instance(0, life=1), removed=(instance(0),)))
    assert not any(isinstance(s, AddLink) for s in converge(host.facts(), host.now))
    settle(host)
    assert list(host.links) == [short(instance(0, life=1).uid)]
    assert host.speaker is not None
    assert any(e.prefix == COVERS[0] and not e.graceful for e in host.speaker.exports)


def test_a_bad_image_holds_up_nobody_else() -> None:
    """While one image cannot be had, every other instance is made (invariant 16)."""
    host = FakeHost(memory=memory.Memory(images={"web:1": 0.0}))
    host.obey(order(1, instance(0), instance(1, workload=1, containers=(web("bad:1"),))))
    steps = converge(host.facts(), host.now)
    assert [s.instance.name for s in steps if isinstance(s, CreateContainer)] == [instance(0).name]
    assert [s.image for s in steps if isinstance(s, PullImage)] == ["bad:1"]
    assert not any(isinstance(s, PullImage) for s in converge(host.facts(busy=frozenset({"image bad:1"})), host.now))


def test_a_lost_namespace_restarts_what_lived_in_it() -> None:
    """A container whose namespace lost its name cannot be wired again: it is stopped first, then everything is made
    anew.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    key = short(instance(0).uid)
    host.namespaces.discard(key)
    host.links.pop(key)
    steps = [s for s in converge(host.facts(), host.now) if s.lane == instance_lane(instance(0).name, instance(0).uid)]
    assert isinstance(steps[0], RemoveContainer)
    settle(host)
    assert host.links[key]


def test_a_namespace_that_has_lost_nothing_but_its_name_gets_it_back() -> None:
    """Process and link stand and serve: one step, nothing is stopped. Where the name cannot be given (the process lives
    elsewhere), everything is made anew, once.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    key, lane = short(instance(0).uid), instance_lane(instance(0).name, instance(0).uid)
    before = dict(host.containers)
    host.namespaces.discard(key)
    (step,) = converge(host.facts(), host.now)
    assert isinstance(step, NameNamespace)
    host.memory = memory.step_failed(step, "it lives elsewhere", host.memory, host.now)
    host.now += 60
    anew = [s for s in converge(host.facts(), host.now) if s.lane == lane]
    assert [type(s) for s in anew[:2]] == [RemoveContainer, MakeNamespace]
    host.memory = memory.lane_succeeded(lane, host.memory)
    settle(host)
    assert key in host.namespaces
    assert host.containers == before


def test_a_silent_speaker_blocks_neither_kernel_nor_containers() -> None:
    """While BIRD does not answer, nothing is asked of it, and nothing is unbound that it may still announce."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.obey(order(2, instance(2), removed=(instance(0),)))
    steps = converge(host.facts(speaker_answers=False), host.now)
    assert not any(isinstance(s, SetSpeaker | RemoveContainer) for s in steps)
    assert any(isinstance(s, CreateContainer | PullImage) for s in steps)


@pytest.mark.parametrize("generation", [0, 1])
def test_a_stale_order_is_refused(generation: int) -> None:
    """An older generation, or the same one with other words, is refused (invariant 5)."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    assert host.obey(order(generation, instance(0), instance(2))) is Reason.STALE_GENERATION


def test_unknown_health_changes_nothing() -> None:
    """An agent that has just been started keeps members whose health it does not know yet, beside one that it does."""
    host = FakeHost()
    host.obey(order(1, instance(0), instance(2)))
    settle(host)
    health = host.observe().health
    for known in ({}, {instance(0).uid: health[instance(0).uid]}):
        assert converge(host.facts(health=known), host.now) == []


def test_unknown_health_announces_nothing_anew() -> None:
    """An agent that starts where a prefix was withdrawn for ill health waits for what it learns itself; one that finds
    it announced keeps it.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    assert host.speaker is not None
    announced = host.speaker.exports
    assert any(e.prefix == COVERS[0] for e in announced)
    unknown = {instance(0).uid: ProbeVerdict(healthy=None, reason=Reason.PROBE_PENDING)}
    kept = converge(host.facts(health=unknown), host.now)
    assert not any(isinstance(s, SetSpeaker) for s in kept)
    silent = replace(host.speaker, exports=tuple(e for e in announced if e.prefix != COVERS[0]))
    facts = host.facts(health=unknown, speaker=silent)
    assert not any(isinstance(s, SetSpeaker) for s in converge(facts, host.now))
    assert reason_for(COVERS[0], facts, host.now) == (Reason.PROBE_PENDING, False)
    (told,) = (s for s in converge(host.facts(speaker=silent), host.now) if isinstance(s, SetSpeaker))
    assert told.config.exports == announced


def test_what_ended_is_made_afresh_and_knows_its_past() -> None:
    """After its rest a container that ended is removed and made anew, with the count of its lives and how the last
    one ended; that outlives the agent, and a second agent goes on counting.
    """
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    key = (instance(0).uid, "web")
    for lives, code in ((1, 3), (2, 137)):
        host.applied.clear()
        host.die(instance(0).uid, code=code)
        died = host.now
        assert not any(isinstance(s, RemoveContainer) for s in converge(host.facts(), host.now)), "it rests first"
        settle(host)
        words = [type(s) for s in host.applied if isinstance(s, RemoveContainer | CreateContainer | StartContainer)]
        assert words == [RemoveContainer, CreateContainer, StartContainer]
        host.kill()
        assert host.containers[key].state is ContainerState.RUNNING
        assert host.containers[key].past == Past(restarts=lives, last=Ending(reason=Reason.EXITED, code=code, at=died))


def test_a_restart_that_somebody_asked_for_happens_once_and_touches_nobody_else() -> None:
    """The container that is older than the wish is made anew; the other instance's process stays, so does its
    announcement; a second pass, and another agent, find nothing left to do.
    """
    host = FakeHost()
    host.obey(order(1, instance(0), instance(2)))
    settle(host)
    before, announced = dict(host.containers), host.speaker
    host.obey(order(2, replace(instance(0), restarts=1), instance(2)))
    settle(host)
    key, other = (instance(0).uid, "web"), (instance(2).uid, "web")
    assert host.containers[key].id != before[key].id
    assert (host.containers[key].state, host.containers[key].asked) == (ContainerState.RUNNING, 1)
    assert host.containers[other] == before[other]
    assert host.speaker == announced
    made = dict(host.containers)
    host.kill()
    settle(host)
    assert host.containers == made


def test_an_incarnation_keeps_the_confinement_that_it_was_born_with() -> None:
    """What an older version made is made again as it was, whatever new ones get: an upgrade changes no process."""
    host = FakeHost()
    host.obey(order(1, instance(0), instance(1)))
    settle(host)
    old, new = (instance(0).uid, "web"), (instance(1).uid, "web")
    host.containers[old] = replace(host.containers[old], confinement=Confinement.OLDER)
    for _ in range(2):
        for uid, _name in (old, new):
            host.die(uid)
        settle(host)
        host.kill()
    assert host.containers[old].past.restarts == 2
    assert host.containers[old].confinement is Confinement.OLDER
    assert host.containers[new].confinement is Confinement.OWN_USERS


def test_a_restart_waits_a_little_to_learn_how_the_last_life_ended() -> None:
    """While the runtime does not know yet why a container ended, its successor waits, but not for ever."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    settle(host)
    host.die(instance(0).uid)
    key = (instance(0).uid, "web")
    host.containers[key] = replace(host.containers[key], exit_code=None)
    host.now += 1
    assert converge(host.facts(), host.now) == []
    assert next_due(host.facts(), host.now) is not None
    settle(host)
    assert host.containers[key].past.restarts == 1


def _cost_s(count: int) -> float:
    """CPU seconds of one pass that has nothing to do, over `count` instances of two workloads: the least of three."""
    host = FakeHost()
    host.obey(order(1, *(instance(n, workload=n % 2) for n in range(count))))
    settle(host)
    costs = []
    for _ in range(3):
        observed = host.observe()
        begun = time.process_time()
        assert host.page is not None
        facts = Facts(host.page.order, observed)
        assert converge(facts, host.now) == []
        report_of(facts, pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=())
        costs.append(time.process_time() - begun)
    return min(costs)


def test_a_pass_costs_work_in_proportion_to_the_instances() -> None:
    """Four times as many instances cost about four times as much, never sixteen (invariant 24)."""
    small, large = _cost_s(50), _cost_s(200)
    assert large < 8 * small, f"50 instances: {small * 1000:.1f} ms, 200: {large * 1000:.1f} ms"
