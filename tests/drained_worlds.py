"""A platform in small, for tests of drains: control's own `decide`, and hosts that obey when they are told to.

In: moves of people and of time. Out: what really goes out of each host, so that a test can ask what no order may ever
do. A host obeys its newest order when it `obeys`; a new incarnation is healthy from the report after the one in which
it began. Pure.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network

from anypop.control.core import Alter
from anypop.control.decide import decide, without_gone
from anypop.control.drains import begin, instance_of, site_of, undrain
from anypop.control.rolling import begun, with_declaration, with_revision
from anypop.control.state import Declaration, Revision, State
from anypop.judge.verdict import Received
from anypop.model.announce import Mode, Prefix
from anypop.model.drain import Drain
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.network import Capacity, Network, Pop
from anypop.model.order import Order
from anypop.model.order_since import VERSION
from anypop.model.reasons import Reason
from anypop.model.report import Arrived, Exported, InstanceReport, Phase, PrefixReport, Report, SessionReport
from anypop.model.rollout import Strategy
from anypop.model.workload import Container, Target, Workload
from anypop.plan.template import template_of
from tests.worlds import AMS, KEY, LHR, host

NOW = 1_700_000_000.0
WEB = WorkloadId("web")
HOSTS = tuple(HostName(name) for name in ("AMS", "LHR-1", "LHR-2"))
STRATEGY = Strategy(bake_s=0.5, deadline_s=30.0)


def a_network(*, cpu_millis: int = 1000) -> Network:
    """Amsterdam with one host, London with two; by default each has room for one instance and no more."""
    room = Capacity(cpu_millis=cpu_millis, memory_bytes=64 << 30, disk_bytes=64 << 30)
    hosts = [replace(host(name, number), capacity=room) for number, name in enumerate(HOSTS)]
    return Network(
        asn=33438,
        anycast4=(IPv4Network("203.0.113.0/24"),),
        anycast6=(IPv6Network("2001:db8:a000::/48"),),
        pops=(Pop(city=AMS, hosts=(hosts[0],)), Pop(city=LHR, hosts=tuple(hosts[1:]))),
    )


def a_workload(image: int = 1, replicas: int = 1, cities: tuple[str, ...] = ("AMS", "LHR")) -> Workload:
    made = Workload(
        id=WEB,
        stack_id=StackId("stack"),
        stack_slug="fun",
        account_id="a",
        slug="web",
        name="web",
        containers=(Container(name="app", image=f"image:{image}", cpu_millis=1000, memory_bytes=1 << 30),),
        targets=(Target(name="all", cities=tuple(c for c in (AMS, LHR) if c in cities), replicas=replicas),),
        anycast=True,
        dual_stack=False,
    )
    return replace(made, template=template_of(made, KEY))


@dataclass
class Platform:
    """See the module. `ran`: by host, the incarnations that it has reported, and in how many reports. `packets`: what
    arrives at each host in a second, while their counters are read. `stubborn`: whose speakers leave the communities
    out. `bad`: images that answer nowhere (any more).
    """

    network: Network = field(default_factory=a_network)
    now: float = NOW
    obeyed: dict[HostName, Order] = field(default_factory=dict)
    ran: dict[HostName, dict[str, int]] = field(default_factory=dict)
    ill: set[HostName] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    stubborn: set[HostName] = field(default_factory=set)
    packets: dict[HostName, float] = field(default_factory=dict)
    read: bool = True
    counted: dict[HostName, int] = field(default_factory=dict)
    counted_at: dict[HostName, float] = field(default_factory=dict)
    state: State = field(init=False)

    def __post_init__(self) -> None:
        empty = State(network=self.network, template_key=KEY, started_at=self.now - 100)
        self.state = decide(empty, empty, now=self.now)

    def change(self, alter: Alter) -> None:
        self.state = decide(self.state, alter(self.state, self.now), now=self.now, confirmed=frozenset([WEB]))

    def later(self, seconds: float, *, reports: Iterable[HostName] = ()) -> None:
        self.now += seconds
        for name in reports:
            self.obeys(name)
        self.change(lambda state, now: state)

    def deploy(self, image: int = 1, **what: object) -> None:
        """The workload, new or with another image."""

        def alter(state: State, now: float) -> State:
            made, current = a_workload(image, **what), state.workloads.get(WEB)  # type: ignore[arg-type]
            if current is None:
                newest = Revision(workload=made, document={}, created_at=now)
                return with_declaration(state, Declaration(newest=newest, created_at=now, strategy=STRATEGY))
            newest = Revision(workload=replace(made, revision=current.version + 1), document={}, created_at=now)
            state = with_revision(state, current, newest, now)
            return begun(state, WEB, previous=current.good, by="", strategy=STRATEGY, now=now)

        self.change(alter)

    def drain(self, target: str, *, deadline_s: float = 60.0, calm_s: float = 1.0, until: float | None = None) -> Drain:
        aim = site_of(self.state, target) or instance_of(self.state, target, None)
        identity = f"{target}-{len(self.state.drains)}"
        self.change(begin(aim, identity, by="", until=until, deadline_s=deadline_s, calm_s=calm_s))
        return self.of(target)

    def undrain(self, target: str) -> None:
        self.change(undrain(self.of(target).id))

    def of(self, target: str) -> Drain:
        """The newest drain of a target."""
        found = [d for d in self.state.drains.values() if d.target == target]
        return max(found, key=lambda d: (d.active, d.created_at))

    def obeys(self, name: HostName) -> None:
        """The host takes its newest order, does what it says, and reports."""
        order = self.obeyed[name] = self.state.orders[name].order
        told, gone = self.ran.setdefault(name, {}), {r.uid for r in order.removed}
        for one in order.instances:
            told[one.uid] = told.get(one.uid, 0) + 1
        for uid in gone:
            told.pop(uid, None)
        report = self._report(name, order, gone)

        def alter(state: State, now: float) -> State:
            state = without_gone(state, name, frozenset(gone), now)
            return replace(state, reports={**state.reports, name: Received(report=report, at=now)})

        self.change(alter)

    def settle(self, seconds: float = 0.6, times: int = 12) -> None:
        """All hosts obey and report, several times."""
        for _ in range(times):
            self.later(seconds, reports=HOSTS)

    def until_settled(self, done: Callable[[], bool], times: int = 200) -> None:
        for _ in range(times):
            if done():
                return
            self.later(0.6, reports=HOSTS)
        raise AssertionError("not in time")

    def healthy(self, name: HostName) -> list[str]:
        """The incarnations that answer there now."""
        order = self.obeyed.get(name)
        if order is None or name in self.ill:
            return []
        ran = self.ran.get(name, {})
        return [
            i.uid
            for i in order.instances
            if ran.get(i.uid, 0) > 1 and self.bad.isdisjoint(c.image for c in i.containers)
        ]

    def told(self, name: HostName) -> list[tuple[Prefix, str]]:
        """What really goes out of a host: what its order lets it tell, while somebody answers there."""
        order = self.obeyed.get(name)
        if order is None or not self.healthy(name):
            return []
        return [(a.prefix, a.upstream) for a in order.announcements if a.gates and a.scope.mode is Mode.ANNOUNCE]

    def serving(self) -> set[HostName]:
        """The hosts that announce the address and answer for it."""
        return {name for name in HOSTS if self.told(name)}

    def _report(self, name: HostName, order: Order, gone: set[str]) -> Report:
        out, well = self.told(name), set(self.healthy(name))
        if self.read:
            self.counted[name] = self.counted.get(name, 0) + int(self.packets.get(name, 0.0))
            self.counted_at[name] = self.now
        covering = sorted({a.prefix for a in order.announcements if a.gates}, key=str)
        return Report(
            pop=order.pop,
            host=name,
            at=self.now,
            generation=order.generation,
            understands=VERSION,
            instances=tuple(
                InstanceReport(
                    name=i.name,
                    uid=i.uid,
                    phase=Phase.RUNNING,
                    healthy=i.uid in well,
                    reason=Reason.RUNNING,
                    template=i.template,
                )
                for i in order.instances
            ),
            sessions=tuple(
                SessionReport(upstream=u.name, family=f, state="established") for u in order.upstreams for f in (4, 6)
            ),
            prefixes=tuple(
                PrefixReport(
                    prefix=p,
                    announced=any(prefix == p for prefix, _ in out),
                    upstreams=tuple(u for prefix, u in out if prefix == p),
                    reason=Reason.ANNOUNCED if any(prefix == p for prefix, _ in out) else Reason.NO_HEALTHY_INSTANCE,
                    exported=tuple(
                        Exported(
                            upstream=a.upstream,
                            prepend=a.scope.prepend,
                            communities=() if name in self.stubborn else a.scope.communities,
                            large_communities=a.scope.large_communities,
                            extended_communities=a.scope.extended_communities,
                        )
                        for a in order.announcements
                        if a.prefix == p and a.drains and (p, a.upstream) in out
                    ),
                    arrived=tuple(
                        Arrived(upstream=u.name, packets=self.counted[name], octets=0, at=self.counted_at[name])
                        for u in order.upstreams
                    ),
                )
                for p in covering
            ),
            gone=tuple(sorted(gone)),
        )
