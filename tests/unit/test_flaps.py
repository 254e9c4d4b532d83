"""Uplinks that flap: what the world hears of ten cuts, and that nobody is taken off the air for it."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from anypop.agent.decide import memory
from anypop.agent.decide.announcements import reason_for, speaker_for
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.flaps import CALM_S, HOLD
from anypop.agent.decide.report import report_of
from anypop.judge.announced import announced
from anypop.judge.verdict import History, Received, judge
from anypop.model.announce import Prefix
from anypop.model.names import HostName
from anypop.model.order import Grant
from anypop.model.plan import HostVerdict, World
from anypop.model.reasons import Reason
from anypop.model.report import SessionReport
from anypop.plan.planner import plan
from tests.agent_world import COVERS, FakeHost, instance, order, settle
from tests.worlds import CITIES, LHR, network, workload
from tests.worlds import report as city_report

COVER = COVERS[0]


@dataclass
class Air:
    """A host that announces, its sessions, and what each neighbour hears: a prefix is told where the speaker is
    configured to tell it and the session stands.
    """

    host: FakeHost = field(default_factory=FakeHost)
    up: dict[str, float | None] = field(default_factory=lambda: {"one": 1.0, "two": 1.0})
    updates: int = 0

    def __post_init__(self) -> None:
        self.host.obey(order(1, instance(0)))
        settle(self.host)
        self.look()

    def cut(self, name: str) -> None:
        self._hear(name, lambda: self.up.__setitem__(name, None))
        self.look()

    def mend(self, name: str) -> None:
        self._hear(name, lambda: self.up.__setitem__(name, self.host.now))
        self.look()

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.host.now += 0.25
            self.look()

    def look(self) -> None:
        """The agent looks at its sessions, and tells the speaker what follows."""
        sessions = [
            SessionReport(upstream=n, family=4, state="active" if at is None else "established", since=at)
            for n, at in self.up.items()
        ]
        self.host.memory = memory.sessions_seen(self.host.memory, sessions, speaks=True, now=self.host.now)
        self._hear("two", self._tell)

    def hears(self, name: str, prefix: Prefix = COVER) -> bool:
        assert self.host.speaker is not None
        told = {(e.prefix, e.upstream) for e in self.host.speaker.exports}
        return self.up[name] is not None and (prefix, name) in told

    def facts(self) -> Facts:
        return self.host.facts()

    def _tell(self) -> None:
        self.host.speaker = speaker_for(self.facts(), self.host.now)

    def _hear(self, name: str, happens: object) -> None:
        before = self.hears(name)
        happens()  # type: ignore[operator]
        self.updates += self.hears(name) is not before


def flap(air: Air, times: int, names: Collection[str] = ("two",)) -> None:
    """So many cuts of a second, a second apart."""
    for _ in range(times):
        for name in names:
            air.cut(name)
        air.passes(1)
        for name in names:
            air.mend(name)
        air.passes(1)


def test_ten_cuts_of_a_second_make_four_updates_and_not_twenty() -> None:
    """Gone, back, gone; and back for good when it has stood for long enough."""
    air = Air()
    flap(air, 10)
    assert air.updates == 3
    assert air.hears("one")
    air.passes(HOLD.longest_s)
    assert air.updates == 4
    assert air.hears("two")


def test_one_cut_is_no_flap() -> None:
    """It is announced again the moment that it stands."""
    air = Air()
    air.cut("two")
    air.passes(5)
    air.mend("two")
    assert air.hears("two")
    assert air.updates == 2


def test_cuts_that_are_far_apart_are_none() -> None:
    air = Air()
    for _ in range(4):
        flap(air, 1)
        assert air.hears("two")
        air.passes(CALM_S + 1)


def test_the_rest_doubles_with_each_loss() -> None:
    air = Air()
    flap(air, 1)
    for losses in range(4):
        air.cut("two")
        air.passes(1)
        air.mend("two")
        waited = 0.0
        while not air.hears("two"):
            air.passes(0.25)
            waited += 0.25
        assert waited == HOLD.wait_s(losses)


def test_the_only_way_is_never_damped_without_leave() -> None:
    """Where no other session has the prefix, this PoP would be off the air: it asks, and goes on until it may."""
    air = Air()
    air.cut("one")
    flap(air, 5)
    assert air.hears("two")
    air.cut("two")
    assert reason_for(COVER, air.facts(), air.host.now) == (Reason.FLAP_COOLDOWN, True)
    air.mend("two")
    assert air.hears("two")


def test_with_leave_even_the_only_way_rests_and_the_asking_ends_with_the_flapping() -> None:
    """Other PoPs carry on, which the governor knows."""
    air = Air()
    flap(air, 3, names=("one", "two"))
    assert air.hears("two")
    air.host.obey(order(2, instance(0), grants=(Grant(prefix=COVER, allowed=True, reason=Reason.GRANTED),)))
    air.passes(0.25)
    assert not air.hears("two")
    air.passes(HOLD.longest_s)
    assert air.hears("two")
    assert not reason_for(COVER, air.facts(), air.host.now)[1]


def test_a_refusal_is_obeyed() -> None:
    air = Air()
    flap(air, 3, names=("one", "two"))
    refusal = Grant(prefix=COVER, allowed=False, reason=Reason.LAST_ANNOUNCER)
    air.host.obey(order(2, instance(0), grants=(refusal,)))
    air.passes(0.25)
    assert air.hears("one")
    assert air.hears("two")


def test_a_dead_speaker_is_no_fault_of_its_sessions() -> None:
    """Its sessions fall together with it, as often as that may be."""
    air = Air()
    for _ in range(5):
        air.host.memory = memory.sessions_seen(air.host.memory, (), speaks=False, now=air.host.now)
        air.up = dict.fromkeys(air.up, air.host.now)
        air.passes(1)
    assert air.hears("two")
    assert all(uplink.losses == 0 for uplink in air.host.memory.uplinks.values())


def test_a_loss_that_nobody_saw_is_counted_by_the_speakers_own_stamp() -> None:
    air = Air()
    for _ in range(2):
        air.up["two"] = air.host.now
        air.passes(1)
    assert air.host.memory.uplinks["two", 4].losses == 2


def test_the_report_says_why_nothing_is_announced_on_a_session() -> None:
    air = Air()
    flap(air, 3)
    seen = replace(air.host.observe(), sessions=(SessionReport(upstream="two", family=4, state="established"),))
    assert air.host.page is not None
    report = report_of(
        Facts(air.host.page.order, seen), pop=air.host.page.order.pop, host=air.host.page.order.host, generation=1,
        at=air.host.now, refused=None, drift=(), errors=(),
    )  # fmt: skip
    assert "flaps" in report.sessions[0].error


def test_the_governor_lets_a_flapping_pop_go_and_never_the_last_one() -> None:
    """Its instances are well, so what it asks for is its own way's affair: granted while enough others announce."""
    planned = plan(World(network=network(CITIES), workloads=(workload(cities=CITIES, dual_stack=False),)))
    prefix = planned.anycast[0].prefix4

    def answer(*off: str) -> Grant:
        reports = {
            host: Received(
                report=city_report(
                    planned,
                    host,
                    withdrawn=(prefix,) if host in off else (),
                    wants=(prefix,) if str(host) == LHR else (),
                ),
                at=0.0,
            )
            for host in planned.hosts
        }
        verdict, _ = judge(planned, reports, now=1.0, history=History(), generations=dict.fromkeys(planned.hosts, 1))
        return next(g for g in verdict.hosts[HostName(LHR)].grants if g.prefix == prefix)

    assert answer().allowed
    assert answer(*(city for city in CITIES if city != LHR)).reason is Reason.LAST_ANNOUNCER


def test_an_announcement_that_rests_says_why_everywhere() -> None:
    """Not "the session is down", which it is not."""
    planned = plan(World(network=network(CITIES), workloads=(workload(cities=CITIES, dual_stack=False),)))
    told = next(a for a in planned.hosts[HostName(LHR)].announcements if a.prefix == planned.anycast[0].prefix4)
    seen = city_report(planned, HostName(LHR), withdrawn=(told.prefix,))
    rests = replace(seen, sessions=tuple(replace(s, rests=True) for s in seen.sessions))
    verdict = HostVerdict(pop=LHR, host=HostName(LHR), trusted=True, reason=Reason.RUNNING)
    assert announced(told, told.scope, verdict, rests) == (False, Reason.FLAP_COOLDOWN)
    assert announced(told, told.scope, verdict, seen)[1] is not Reason.FLAP_COOLDOWN
