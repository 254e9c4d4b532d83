"""Drains: stages that count only when they are exported, floors that no combination gets below, and the way back."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anypop.control.declare import power
from anypop.control.drain_facts import found_of, standing_of
from anypop.control.past import in_the_past
from anypop.control.refusals import NotFound, Precondition
from anypop.control.rolling import with_declaration
from anypop.control.rollouts import abort, roll_back
from anypop.model.announce import GRACEFUL_SHUTDOWN, Mode, Scope, ScopeRule
from anypop.model.backbone import BackboneRules
from anypop.model.drain import DrainStage
from anypop.model.errors import Invalid
from anypop.model.machine import Power
from anypop.model.reasons import Reason
from anypop.model.subnets import Interface
from anypop.model.workload import Workload
from anypop.plan.check import Unsafe
from tests.drained_worlds import HOSTS, WEB, Platform, a_network
from tests.examples import examples
from tests.unit.test_machine import a_machine, an_image
from tests.worlds import AMS, LHR

AMS_HOST, LHR_1, LHR_2 = HOSTS


def a_platform(*, cpu_millis: int = 4000, **what: object) -> Platform:
    """The workload runs in both PoPs, and both announce it."""
    made = Platform(network=a_network(cpu_millis=cpu_millis))
    made.deploy(**what)  # type: ignore[arg-type]
    made.settle()
    assert {name[:3] for name in made.serving()} == {"AMS", "LHR"}
    return made


def scopes(platform: Platform, pop: str) -> set[tuple[Mode, int, bool]]:
    """Of the covering prefix, as the PoP's hosts are ordered to tell it: mode, prepends, graceful shutdown."""
    return {
        (a.scope.mode, a.scope.prepend, GRACEFUL_SHUTDOWN in a.scope.communities)
        for issued in platform.state.orders.values()
        if issued.order.pop == pop
        for a in issued.order.announcements
        if a.gates
    }


PLAIN, LOW = {(Mode.ANNOUNCE, 0, False)}, {(Mode.ANNOUNCE, 3, True)}


def gone(platform: Platform, pop: str) -> bool:
    return {mode for mode, *_ in scopes(platform, pop)} == {Mode.WITHHOLD}


def test_a_pop_is_lowered_watched_withdrawn_and_stays_away_with_its_instances() -> None:
    """Each stage follows when the hosts export what was asked; the instances go on; the other PoP is untouched."""
    platform = a_platform(replicas=2)
    platform.packets = {LHR_1: 500, LHR_2: 500}
    before = platform.state.incarnations
    drain = platform.drain("LHR")
    assert (drain.stage, scopes(platform, "LHR")) == (DrainStage.COUNTING, PLAIN)
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.LOWERING)
    assert scopes(platform, "LHR") == LOW
    platform.later(0.3, reports=(AMS_HOST,))  # nobody has obeyed yet
    assert platform.of("LHR").stage is DrainStage.LOWERING
    assert "has not obeyed" in platform.of("LHR").message
    platform.settle(times=4)
    decaying = platform.of("LHR")
    assert (decaying.stage, decaying.reason) == (DrainStage.DECAYING, Reason.DECAYING)
    assert "packets/s still arrive" in decaying.message
    assert not gone(platform, "LHR")
    platform.packets = {}
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.DRAINED)
    assert gone(platform, "LHR")
    assert (platform.serving(), scopes(platform, "AMS")) == ({AMS_HOST}, PLAIN)
    assert platform.state.incarnations == before
    told = platform.of("LHR").traffic
    assert told is not None
    assert told.first_packets > 400
    assert told.packets < 2
    assert [r.stage.value for r in platform.of("LHR").results] == [
        "counting",
        "lowering",
        "decaying",
        "withdrawing",
        "emptying",
    ]


def test_a_count_that_is_told_again_is_not_taken_for_silence() -> None:
    """Hosts report more often than they read their counters: what they repeat is no measure, and nothing is withdrawn
    for it while traffic arrives.
    """
    platform = a_platform(replicas=2)
    platform.packets = {LHR_1: 500, LHR_2: 500}
    platform.drain("LHR")
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.DECAYING)
    platform.settle(times=2)
    platform.read = False
    platform.settle(times=8)
    decaying = platform.of("LHR")
    assert decaying.stage is DrainStage.DECAYING
    assert decaying.traffic is not None
    assert decaying.traffic.packets > 400
    assert not gone(platform, "LHR")


def test_a_stage_counts_only_when_the_hosts_really_export_it() -> None:
    """A speaker that tells something else than it was told to keeps the drain where it is, and is named."""
    platform = a_platform(replicas=2)
    platform.stubborn = {LHR_1}
    platform.drain("LHR")
    platform.settle(times=8)
    waits = platform.of("LHR")
    assert (waits.stage, waits.reason) == (DrainStage.LOWERING, Reason.NOT_EXPORTED)
    assert "LHR-1 tells telia 'announce, prepend 3' of 203.0.113.0/24" in waits.message
    platform.stubborn = set()
    platform.settle(times=2)
    assert platform.of("LHR").stage is not DrainStage.LOWERING


def test_the_deadline_ends_the_wait_and_a_silent_host_is_never_taken_for_withdrawn() -> None:
    """Traffic that does not go is not waited for after the deadline; a host that says nothing keeps the withdrawal
    from counting.
    """
    platform = a_platform(replicas=2)
    platform.packets = dict.fromkeys(HOSTS, 500.0)
    platform.drain("LHR", deadline_s=5.0)
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.DRAINED)
    assert any("still arrive" in r.differs for r in platform.of("LHR").results) or gone(platform, "LHR")
    silent = a_platform(replicas=2)
    silent.drain("LHR", deadline_s=5.0)
    for _ in range(40):
        silent.later(1.0, reports=(AMS_HOST, LHR_1))
    assert silent.of("LHR").stage is DrainStage.WITHDRAWING
    assert "LHR-2 is silent" in silent.of("LHR").message


def test_the_last_pop_is_held_at_the_lowest_preference_and_follows_when_the_others_are_well() -> None:
    """Nothing withdraws what nobody else announces, whatever the deadline; the floor and its reason are told."""
    platform = a_platform()
    platform.ill = {AMS_HOST}
    platform.settle()
    platform.drain("LHR", deadline_s=2.0)
    platform.settle(times=20)
    held = platform.of("LHR")
    assert held.stage is DrainStage.WITHDRAWING
    assert [(h.reason, h.left, h.floor) for h in held.held] == [(Reason.LAST_ANNOUNCER, 0, 1)]
    assert scopes(platform, "LHR") == LOW
    assert platform.serving() & {LHR_1, LHR_2}
    platform.ill = set()
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.DRAINED)
    assert gone(platform, "LHR")
    # and when the other falls ill later, it comes back at the lowest preference
    platform.ill = {AMS_HOST}
    platform.until_settled(lambda: bool(platform.serving() & {LHR_1, LHR_2}))
    assert scopes(platform, "LHR") == LOW


def test_two_drains_at_once_leave_one() -> None:
    platform = a_platform()
    platform.drain("LHR", deadline_s=2.0)
    platform.drain("AMS", deadline_s=2.0)
    platform.settle(times=30)
    assert len({name[:3] for name in platform.serving()}) == 1
    stages = {platform.of(t).stage for t in ("LHR", "AMS")}
    assert stages == {DrainStage.DRAINED, DrainStage.WITHDRAWING}


def test_undrain_comes_back_in_stages_to_exactly_the_scopes_that_stood() -> None:
    """Rules are never touched by a drain; each stage waits until it is exported and calm."""
    platform = a_platform()
    rule = ScopeRule(workload_id=WEB, pop=LHR, upstream="telia", scope=Scope(prepend=1, communities=((1299, 150),)))
    platform.change(lambda s, now: replace(s, rules={(WEB, LHR, "telia"): rule}))
    platform.settle()
    stood = scopes(platform, "LHR")
    platform.drain("LHR", deadline_s=9.0)
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.LOWERING)
    low = {
        a.scope.communities
        for a in platform.state.orders[LHR_1].order.announcements
        if a.gates and a.upstream == "telia" and a.prefix.version == 4
    }
    assert low == {((1299, 50), GRACEFUL_SHUTDOWN)}  # 1299:150 asks for more than the lowest, so it is left out
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.DRAINED)
    platform.undrain("LHR")
    seen = []
    for _ in range(60):
        seen.append((platform.of("LHR").stage, frozenset(p for _, p, _ in scopes(platform, "LHR"))))
        platform.later(0.6, reports=HOSTS)
    order = [stage for n, (stage, _) in enumerate(seen) if n == 0 or seen[n - 1][0] is not stage]
    assert [s.value for s in order] == ["returning", "raising", "restoring", "over"]
    assert scopes(platform, "LHR") == stood
    assert platform.state.rules == {(WEB, LHR, "telia"): rule}
    assert not any(a.drains for a in platform.state.orders[LHR_1].order.announcements)


def test_undrain_is_allowed_out_of_an_unhealthy_state_and_waits_at_the_lowest_preference() -> None:
    platform = a_platform()
    platform.drain("LHR", deadline_s=2.0)
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.DRAINED)
    platform.ill = {LHR_1, LHR_2}
    platform.undrain("LHR")
    platform.settle(times=2)
    assert platform.of("LHR").stage is DrainStage.RETURNING
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.OVER)  # its deadline ends that wait


def test_until_ends_it_by_itself_and_a_drain_goes_on_where_it_was_after_a_restart() -> None:
    platform = a_platform()
    platform.drain("LHR", deadline_s=2.0, until=platform.now + 100)
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.DRAINED)
    stored = in_the_past(replace(platform.state, plan=None), platform.now)
    platform.state = replace(stored, started_at=platform.now)
    platform.change(lambda s, now: s)
    platform.later(16.0)  # every report is stale, and nobody is taken for dead yet
    assert platform.of("LHR").stage is DrainStage.DRAINED
    assert gone(platform, "LHR")
    platform.settle()
    assert gone(platform, "LHR")
    platform.later(100.0, reports=HOSTS)
    platform.until_settled(lambda: platform.of("LHR").stage is DrainStage.OVER)
    assert scopes(platform, "LHR") == PLAIN


def test_a_new_workload_is_placed_in_a_drained_pop_and_not_announced_there() -> None:
    platform = Platform(network=a_network(cpu_millis=4000))
    platform.drain("LHR", deadline_s=2.0)
    platform.settle()
    assert platform.of("LHR").stage is DrainStage.DRAINED
    platform.deploy()
    platform.settle()
    assert {p.incarnation.pop for p in platform.state.incarnations.values()} == {AMS, LHR}
    assert gone(platform, "LHR")
    assert platform.serving() == {AMS_HOST}


def test_an_upstream_is_drained_alone_and_the_pop_goes_on_by_the_other() -> None:
    platform = a_platform()
    platform.drain("LHR/telia", deadline_s=2.0)
    platform.until_settled(lambda: platform.of("LHR/telia").stage is DrainStage.DRAINED)
    told = {
        (a.upstream, a.scope.mode) for a in platform.state.orders[LHR_1].order.announcements if a.prefix.version == 4
    }
    assert told == {("telia", Mode.WITHHOLD), ("qwest", Mode.ANNOUNCE)}
    assert {name[:3] for name in platform.serving()} == {"AMS", "LHR"}


def test_a_hosts_instances_are_placed_elsewhere_one_after_the_other_and_none_is_missing_meanwhile() -> None:
    platform = a_platform(replicas=2)
    platform.drain(LHR_1, deadline_s=60.0)
    for _ in range(60):
        platform.later(0.6, reports=HOSTS)
        assert sum(len(platform.healthy(name)) for name in (LHR_1, LHR_2)) >= 2
    assert platform.of(LHR_1).stage is DrainStage.DRAINED
    assert {p.incarnation.host for p in platform.state.incarnations.values() if p.incarnation.pop == LHR} == {LHR_2}
    platform.undrain(LHR_1)
    platform.until_settled(lambda: platform.of(LHR_1).stage is DrainStage.OVER)


def test_a_machine_that_is_off_stays_with_its_disk_and_holds_up_no_other() -> None:
    """Elsewhere it would have a new one. Its drain says so; powered on it goes as the others do."""
    platform = a_platform(replicas=4)
    here = sorted(p.incarnation.name for p in platform.state.incarnations_on(LHR_1).values())
    (uid,) = (uid for uid, p in platform.state.incarnations.items() if p.incarnation.name == here[0])
    platform.change(power(uid, Power.OFF))
    platform.drain(LHR_1, deadline_s=600.0)
    platform.until_settled(lambda: set(platform.state.incarnations_on(LHR_1)) == {uid})
    platform.settle()
    assert list(platform.state.incarnations_on(LHR_1)) == [uid] and len(here) > 1
    assert f"off or mended are where their disks are: {here[0]}" in platform.of(LHR_1).message
    plan = platform.state.plan
    assert plan is not None and [n.subject for n in plan.notes if n.reason is Reason.DISK_STAYS] == [here[0]]
    platform.change(power(uid, Power.ON))
    platform.until_settled(lambda: platform.of(LHR_1).stage is DrainStage.DRAINED)
    assert not platform.state.incarnations_on(LHR_1)


def test_a_drain_names_the_machines_that_do_not_move() -> None:
    """Those with several interfaces, and all of them where hosts do not reach each other; never a container."""
    platform = a_platform(replicas=4)
    platform.drain(LHR_1)
    here = sorted(p.incarnation.name for p in platform.state.incarnations_on(LHR_1).values())
    containers = platform.state.workloads[WEB].workload
    machines = replace(containers, containers=(a_machine(an_image()),))

    def told(wanted: Workload, backbone: BackboneRules | None = BackboneRules()) -> str:  # noqa: B008 it is frozen
        declared = platform.state.workloads[WEB]
        changed = replace(declared, newest=replace(declared.newest, workload=wanted))
        state = replace(
            with_declaration(platform.state, changed), network=replace(platform.state.network, backbone=backbone)
        )
        (line,) = found_of(state, platform.of(LHR_1), platform.now).left
        return line.partition("; ")[2]

    assert told(containers) == told(machines) == told(containers, None) == ""
    further = (Interface(network="inside", families=(4,)),)
    for one, backbone in ((replace(machines, further=further), BackboneRules()), (machines, None)):
        assert told(one, backbone) == f"with a new root disk begin elsewhere: {', '.join(here)}"


def test_a_host_without_room_elsewhere_keeps_its_instances() -> None:
    platform = a_platform(cpu_millis=1000, replicas=2)
    platform.drain(LHR_1, deadline_s=5.0)
    platform.settle(times=30)
    assert platform.of(LHR_1).stage is DrainStage.DRAINED
    assert len(platform.healthy(LHR_1)) == 1
    assert platform.serving() == {AMS_HOST, LHR_2}


def test_an_instance_is_replaced_first_and_the_way_back_takes_only_the_successor() -> None:
    platform = a_platform()
    name = next(p.incarnation.name for p in platform.state.incarnations.values() if p.incarnation.pop == AMS)
    old = platform.drain(name).uid
    assert len(platform.state.orders[AMS_HOST].order.instances) == 2
    while platform.of(name).active:
        assert platform.healthy(AMS_HOST)
        platform.later(0.6, reports=HOSTS)
    assert platform.of(name).reason is Reason.DRAINED
    assert old not in platform.state.incarnations
    second = platform.drain(name).uid
    platform.undrain(name)
    platform.settle()
    assert [p.incarnation.uid for p in platform.state.incarnations.values() if p.incarnation.pop == AMS] == [second]


def test_an_instance_without_room_for_two_stays_when_the_deadline_passes() -> None:
    platform = a_platform(cpu_millis=1000)
    name = next(p.incarnation.name for p in platform.state.incarnations.values() if p.incarnation.pop == AMS)
    platform.drain(name, deadline_s=3.0)
    platform.settle(times=10)
    assert platform.of(name).reason is Reason.DEADLINE_PASSED
    assert "no room" in platform.of(name).message
    assert platform.healthy(AMS_HOST)


def test_a_name_that_means_nothing_is_told_what_there_is() -> None:
    platform = a_platform()
    for target, said in (
        ("XXX/telia", "no PoP XXX (there are AMS, LHR)"),
        ("LHR/nobody", "LHR has no upstream nobody (it has telia (AS1299), qwest (AS209))"),
        ("host:XXX", "no host XXX"),
        ("nothing", "nothing is called nothing"),
    ):
        try:
            platform.drain(target)
        except NotFound as refused:
            assert said in str(refused)
        else:
            raise AssertionError(target)


def test_an_update_does_not_count_on_what_is_being_drained() -> None:
    """Without room for two an update stops one before its successor is there, where others carry on. A drained PoP, or
    one all of whose upstreams are drained, carries nothing; and a drain counts on nobody who is about to be stopped.
    """
    for targets in (["LHR"], ["LHR/telia", "LHR/qwest"]):
        platform = a_platform(cpu_millis=1000)
        for target in targets:
            platform.drain(target, deadline_s=2.0)
        platform.settle(times=20)
        assert {platform.of(target).stage for target in targets} == {DrainStage.DRAINED}
        platform.deploy(2)
        for _ in range(40):
            platform.later(0.6, reports=HOSTS)
            assert platform.serving() == {AMS_HOST}, targets
        assert {p.incarnation.revision for p in platform.state.incarnations.values() if p.incarnation.pop == AMS} == {1}
        for target in targets:
            platform.undrain(target)
        platform.settle(1.0, 60)
        assert {p.incarnation.revision for p in platform.state.incarnations.values()} == {2}


def test_a_drain_counts_on_nobody_who_is_about_to_be_stopped() -> None:
    """An update may stop Amsterdam's only instance first: Amsterdam announces still, and is no way to lean on."""
    platform = a_platform()
    prefix = platform.network.anycast4[0]
    assert {w.pop for w in standing_of(platform.state, [prefix], platform.now)[prefix].ways} == {AMS, LHR}
    platform.deploy(2)
    rollout = platform.state.active_rollouts()[0]
    uids = frozenset(platform.healthy(AMS_HOST))
    told = replace(platform.state, rollouts={rollout.id: replace(rollout, may_stop_first=uids)})
    assert {w.pop for w in standing_of(told, [prefix], platform.now)[prefix].ways} == {LHR}


def test_an_instance_takes_no_until() -> None:
    platform = a_platform()
    name = next(p.incarnation.name for p in platform.state.incarnations.values())
    with pytest.raises(Invalid, match="does not come back"):
        platform.drain(name, until=platform.now + 60)


TARGETS = (
    "AMS",
    "LHR",
    "LHR-1",
    "LHR-2",
    "AMS/telia",
    "AMS/qwest",
    "LHR/telia",
    "LHR/qwest",
    "web-all-ams-0",
    "web-all-lhr-0",
)
moves = st.lists(
    st.tuples(
        st.sampled_from(["drain", "drain", "undrain", "update", "rollback", "abort", "obey", "obey", "obey", "wait"]),
        st.integers(0, 9),
        st.sampled_from([0.0, 0.3, 1.0, 4.0]),
    ),
    min_size=8,
    max_size=60,
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves, st.sampled_from([1000, 2000]), st.integers(1, 2))
def test_no_combination_of_drains_rollouts_and_rollbacks_takes_the_last_one_that_serves(
    history: list[tuple[str, int, float]], cpu_millis: int, replicas: int
) -> None:
    """Whatever people ask in whatever order, whichever host obeys late: somewhere the address is announced and
    answered. Hosts have no room for two, so updates stop one before the next, where others carry on.
    """
    if cpu_millis == 2000:
        replicas = 2
    platform = a_platform(cpu_millis=cpu_millis, replicas=min(replicas, cpu_millis // 1000))
    image = 1
    for kind, number, later in history:
        platform.now += later
        try:
            match kind:
                case "drain":
                    platform.drain(TARGETS[number], deadline_s=[0.0, 3.0][number % 2], calm_s=0.5)
                case "undrain":
                    platform.undrain(TARGETS[number])
                case "update":
                    image += 1
                    platform.deploy(image, replicas=min(replicas, cpu_millis // 1000))
                case "rollback":
                    platform.change(roll_back(WEB, None, by=""))
                case "abort":
                    platform.change(abort(WEB, ""))
                case "obey":
                    platform.later(0.3, reports=[HOSTS[number % 3]])
                case _:
                    platform.later(0.6, reports=HOSTS)
        except (NotFound, Precondition, Invalid, Unsafe, ValueError):
            continue
        assert platform.serving(), f"nobody serves after {kind} {TARGETS[number]}"
    for target in TARGETS:
        try:
            platform.undrain(target)
        except (NotFound, Precondition, ValueError):
            continue
    platform.settle(1.0, 60)
    assert not platform.state.active_drains()
    assert {name[:3] for name in platform.serving()} == {"AMS", "LHR"}
