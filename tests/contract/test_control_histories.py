"""Random lives of a platform: what may never happen on the way, and that it always comes to the same end.

Control is the real one (`decide`, the steps that people may ask for, the store); agents are simulated: each obeys its
newest order at some time, and reports. Whatever is asked, dies, falls silent or is forgotten on the way, the invariants
hold after every step; and in the end, with all agents obeying and nobody sick, every slot is where its workload says.
"""

import copy
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anypop.control import hosts as eviction
from anypop.control import rollouts
from anypop.control.accounts import Accounts, Stack
from anypop.control.core import Alter
from anypop.control.decide import decide, without_gone
from anypop.control.declare import create, delete, parsed, replace_with
from anypop.control.refusals import NotFound, Precondition
from anypop.control.rolling import with_templates
from anypop.control.state import State
from anypop.control.store import open_store
from anypop.judge.verdict import Received, is_fresh
from anypop.model.announce import Address
from anypop.model.names import HostName, InstanceName, WorkloadId, instance_name
from anypop.model.network import Capacity, Network
from anypop.model.order import InstanceOrder, Order
from anypop.model.plan import floor_of
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, InstanceReport, Phase, Report
from anypop.model.rollout import RolloutKind, RolloutPhase
from anypop.model.table import with_entries
from anypop.plan.check import Unsafe
from tests import databases
from tests.control_world import a_body, a_network

BEGAN = 1_700_000_000.0
CITIES = ("AMS", "LHR", "JFK")
SLUGS = ("one", "two")
# what becomes of an instance of each image
GOOD, BETTER, SICK, CRASHES, NOT_THERE = "good:1", "good:2", "sick:1", "crashes:1", "not-there:1"
IMAGES = (GOOD, BETTER, "good:3", SICK, CRASHES, NOT_THERE)
NO_PLACE = (Reason.NO_ROOM, Reason.POP_FULL)
# of reports until the end: some rollouts one after the other with their deadlines, and a lost host's return
ROUNDS = 300


def network() -> Network:
    """Three PoPs; London has two hosts; one of them, and that of Amsterdam, have little room."""
    plain = a_network(dict.fromkeys(CITIES, (1299,)))
    second = a_network(dict.fromkeys((*CITIES, "LAX"), (1299,))).pops[-1].hosts[0]
    small = Capacity(cpu_millis=3000, memory_bytes=1 << 40, disk_bytes=1 << 40)
    london = plain.pops[1]
    there = (replace(london.hosts[0], name=HostName("LHR-1")), replace(second, name=HostName("LHR-2"), capacity=small))
    amsterdam = plain.pops[0]
    tight = replace(amsterdam, hosts=(replace(amsterdam.hosts[0], capacity=small),))
    return replace(plain, pops=(tight, replace(london, hosts=there), plain.pops[2]), lost_after_s=60.0)


@cache
def _empty_database() -> tuple[bytes, Stack]:
    with TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        accounts = Accounts(store, lambda: BEGAN)
        stack = accounts.create_stack(accounts.first_account().id, "default", "default")
        store.close()
        return (Path(folder) / "anypop.db").read_bytes(), stack


def remembered(state: State, now: float) -> State:
    """The state as a new process finds it in the store: plan, verdict and everything else that is only thought is
    gone.
    """
    with TemporaryDirectory() as folder:
        (Path(folder) / "anypop.db").write_bytes(_empty_database()[0])
        store = open_store(Path(folder))
        databases.share_statements(store)
        store.save(State(), state, [], at=now)
        loaded = store.load()
        store.close()
    kept: dict[str, Any] = {
        "verdict": loaded.verdict,
        "named": loaded.named,
        "named_counts": loaded.named_counts,
        "plan": None,
        "started_at": 0.0,
        "lost": frozenset(),
        "moves": frozenset(),
        "eases": frozenset(),
        "arrived": frozenset(),
        "losses_frozen": False,
    }
    assert loaded == replace(state, **kept)
    return with_templates(replace(loaded, started_at=now))


@dataclass
class Instance:
    """What a host really runs."""

    order: InstanceOrder
    reports: int = 0
    restarts: int = 0
    sick: bool = False

    @property
    def image(self) -> str:
        return self.order.containers[0].image

    @property
    def healthy(self) -> bool:
        """A good one is so with the second report that tells of it."""
        return self.image.startswith("good") and self.reports > 1 and not self.sick

    def _says(self) -> Reason:
        if self.healthy:
            return Reason.PROBE_PASSED
        is_asked = self.sick or not self.image.startswith("good")
        return Reason.PROBE_FAILED if is_asked else Reason.PROBE_PENDING

    def report(self) -> InstanceReport:
        self.reports += 1
        if self.image == CRASHES:
            self.restarts += self.reports > 1
        broken = self.image == NOT_THERE
        container = ContainerReport(
            name="web",
            phase=Phase.RUNNING,
            reason=Reason.RUNNING,
            restarts=self.restarts,
            last_exit_code=1 if self.restarts else None,
        )
        return InstanceReport(
            name=self.order.name,
            uid=self.order.uid,
            phase=Phase.FAILED if broken else Phase.RUNNING,
            healthy=self.healthy,
            reason=Reason.PULL_FAILED if broken else self._says(),
            template=self.order.template,
            containers=() if broken else (container,),
        )


@dataclass
class Agent:
    """One host. It runs what its order says, and removes what its order names; the removal is told with the next
    report.
    """

    host: HostName
    order: Order | None = None
    runs: dict[str, Instance] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def obey(self, order: Order) -> None:
        assert self.order is None or order.generation >= self.order.generation
        self.order = order
        removed = {r.uid for r in order.removed}
        self.gone = {uid for uid in removed if uid not in self.runs}
        for instance in order.instances:
            known = self.runs.setdefault(instance.uid, Instance(order=instance))
            assert known.order.template in ("", instance.template), "18: an incarnation has one template for ever"
            known.order = instance
        for uid in removed & self.runs.keys():
            del self.runs[uid]  # told as gone from the next order or report on

    def report(self, now: float) -> Report:
        order = self.order
        if order is None:
            return Report(pop=network_city(self.host), host=self.host, at=now, generation=0)
        told = Report(
            pop=order.pop,
            host=self.host,
            at=now,
            generation=order.generation,
            instances=tuple(i.report() for i in self.runs.values()),
            gone=tuple(sorted(self.gone)),
        )
        self.gone |= {r.uid for r in order.removed if r.uid not in self.runs}
        return told


def network_city(host: HostName) -> Any:
    return host.partition("-")[0]


class Platform:
    """Control, its agents and the time."""

    def __init__(self) -> None:
        self.now = BEGAN
        empty = State(network=network(), template_key=b"a platform's own key", started_at=BEGAN)
        self.state = decide(empty, empty, now=self.now)
        self.agents = {host.name: Agent(host.name) for _, host in self.state.network.hosts()}

    def copy(self) -> "Platform":
        other = copy.copy(self)  # the state is one immutable value
        other.agents = copy.deepcopy(self.agents)
        return other

    def step(self, alter: Alter = lambda state, now: state, *, confirmed: frozenset[WorkloadId] = frozenset()) -> None:
        before = self.state
        after = decide(before, alter(before, self.now), now=self.now, confirmed=confirmed)
        self._check_removals(before, after)
        self.state = after

    def reports(self, host: HostName, *, obeys: bool = True) -> None:
        """The host's agent takes its newest order (or not yet), and reports."""
        agent, issued = self.agents[host], self.state.orders.get(host)
        if obeys and issued is not None:
            agent.obey(issued.order)
        report = agent.report(self.now)

        def alter(state: State, now: float) -> State:
            state = without_gone(state, host, frozenset(report.gone), now)
            return replace(state, reports=with_entries(state.reports, {host: Received(report=report, at=now)}))

        self.step(alter)

    def _check_removals(self, before: State, after: State) -> None:
        """No rollout removes the last healthy incarnation of a slot; where there is no room for two, its PoP or
        enough others serve.
        """
        healthy = {
            i.uid
            for r in after.reports.values()
            if is_fresh(r, self.now)
            for i in r.report.instances
            if i.healthy and i.phase is Phase.RUNNING
        }
        living: dict[InstanceName, set[str]] = defaultdict(set)
        serving: dict[WorkloadId, set[str]] = defaultdict(set)
        homes: dict[WorkloadId, set[str]] = defaultdict(set)
        for uid, placed in after.incarnations.items():
            living[placed.incarnation.name].add(uid)
            homes[placed.incarnation.workload_id].add(placed.incarnation.pop)
            if uid in healthy:
                serving[placed.incarnation.workload_id].add(placed.incarnation.pop)
        for uid, stone in after.tombstones.items():
            if uid in before.tombstones or uid not in healthy:
                continue
            gone = stone.incarnation
            if stone.reason in (Reason.SUPERSEDED, Reason.REVERTED):
                assert living[gone.name] & healthy, f"{gone.name}: the last healthy one is {stone.reason.value}"
            elif stone.reason is Reason.REPLACED:
                left = serving[gone.workload_id]
                assert gone.pop in left or len(left) >= floor_of(len(homes[gone.workload_id])), (
                    f"{gone.name} was needed"
                )

    def check(self) -> None:
        """What holds after every step."""
        slots: dict[tuple[str, str], int] = defaultdict(int)
        links: dict[tuple[str, int], str] = {}
        for uid, placed in self.state.incarnations.items():
            living = placed.incarnation
            slots[living.slot] += 1
            assert links.setdefault((living.host, living.link), uid) == uid
        for uid, stone in self.state.tombstones.items():
            assert uid not in self.state.incarnations
            assert links.setdefault((stone.incarnation.host, stone.incarnation.link), uid) == uid
        assert all(count <= 2 for count in slots.values()), "two incarnations of a slot at most"
        for _, host in self.state.network.hosts():
            if host.capacity is not None and host.name in self.state.orders:
                ordered = self.state.orders[host.name].order.instances
                takes = sum(c.cpu_millis for i in ordered for c in i.containers)
                assert takes <= host.capacity.cpu_millis, f"23: {host.name} is to run {takes} thousandths of a core"
        owners: dict[tuple[str, Address], str] = {}
        for agent in self.agents.values():
            for uid, running in agent.runs.items():
                for address in running.order.addresses():
                    for one, owner in (
                        (address.private, uid),
                        (address.external, f"{running.order.workload_id}/{running.order.name}"),
                    ):
                        assert one is not None
                        assert owners.setdefault((agent.host, one), owner) == owner, f"15: {one} has two owners"

    def settle(self) -> None:
        """All agents obey, nobody is sick any more, and time passes."""
        for agent in self.agents.values():
            for running in agent.runs.values():
                running.sick = False
        for rollout in list(self.state.rollouts.values()):
            if rollout.phase is RolloutPhase.PAUSED:
                self.step(rollouts.resume(rollout.workload_id, rollout.id))
        quiet = 0
        for _ in range(ROUNDS):
            self.now += 1 if quiet < 3 else 10  # a deadline that is waited for need not be seen second by second
            before = self.state
            for host in self.agents:
                self.reports(host)
                self.check()
            still = all(
                getattr(before, n) is getattr(self.state, n)
                for n in ("incarnations", "tombstones", "rollouts", "workloads", "orders")
            )
            quiet = quiet + 1 if still else 0
            if quiet > 12:  # longer than any deadline
                return
        raise AssertionError(f"no rest: {self.words()}")

    def words(self) -> list[str]:
        rolling = [
            f"{r.revision}: {r.phase.value} {r.reason.value} {r.message}"
            for r in self.state.rollouts.values()
            if not r.phase.ended
        ]
        living = [
            f"{p.incarnation.name} {p.incarnation.life} {p.incarnation.revision}"
            for p in self.state.incarnations.values()
        ]
        return [
            *rolling,
            *living,
            *(f"{n.subject} {n.reason.value} {n.detail}" for n in (self.state.plan.notes if self.state.plan else ())),
        ]

    def lacks_room(self) -> bool:
        notes = self.state.plan.notes if self.state.plan is not None else ()
        return any(n.reason in (*NO_PLACE, Reason.WAITS_FOR_ROOM) for n in notes)

    def end(self) -> dict[str, object]:
        """What counts in the end, in a form that two histories can be compared by."""
        return {
            "declared": {
                d.workload.slug: (d.version, d.good, d.workload.template) for d in self.state.workloads.values()
            },
            "slots": sorted(
                (p.incarnation.name, p.incarnation.host, p.incarnation.template, p.incarnation.revision)
                for p in self.state.incarnations.values()
            ),
            "rollouts": sorted((r.workload_id, r.revision, r.phase, r.reason) for r in self.state.rollouts.values()),
            "tombstones": sorted((t.incarnation.name, t.reason) for t in self.state.tombstones.values()),
        }


class Histories(RuleBasedStateMachine):
    """See the head of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.platform = Platform()
        self.ids = 0

    @property
    def state(self) -> State:
        return self.platform.state

    def declared(self, n: int) -> Any:
        slug = SLUGS[n]
        return next((d for d in self.state.workloads.values() if d.workload.slug == slug), None)

    def asks(self, alter: Alter, confirmed: frozenset[WorkloadId] = frozenset()) -> None:
        """What a person asks may be refused, and then nothing has happened."""
        try:
            self.platform.step(alter, confirmed=confirmed)
        except (Unsafe, NotFound, Precondition):
            return

    @initialize(image=st.sampled_from([GOOD, SICK]), replicas=st.integers(1, 2))
    def begin(self, image: str, replicas: int) -> None:
        self.declares(n=0, image=image, replicas=replicas, cities=list(CITIES), label="a", cpu="1")
        self.all_report()
        self.all_report()

    @rule(
        n=st.integers(0, 1),
        image=st.sampled_from(IMAGES),
        replicas=st.integers(1, 2),
        cities=st.lists(st.sampled_from(CITIES), min_size=1, unique=True),
        label=st.sampled_from("ab"),
        cpu=st.sampled_from(["1", "2"]),
    )
    def declares(self, *, n: int, image: str, replicas: int, cities: list[str], label: str, cpu: str) -> None:
        """Create a workload, or give it another document."""
        current = self.declared(n)
        resources = {"requests": {"cpu": cpu, "memory": "1Gi"}}
        body = a_body(
            SLUGS[n], image=image, replicas=replicas, cities=tuple(cities), anycast=n == 0, resources=resources
        )["workload"]
        body.setdefault("metadata", {})["labels"] = {"label": label}
        self.ids += current is None
        identity = current.id if current is not None else WorkloadId(f"00000000-0000-4000-8000-{self.ids:012}")
        made = parsed(body, _empty_database()[1], identity, [pop.city for pop in self.state.network.pops])
        alter = create(made) if current is None else replace_with(current, made, by="test")
        self.asks(alter, frozenset({identity}))

    @rule(n=st.integers(0, 1), image=st.sampled_from(IMAGES))
    def changes_the_image(self, n: int, image: str) -> None:
        """And nothing else: the change that rollouts are for."""
        current = self.declared(n)
        if current is not None:
            document = copy.deepcopy(dict(current.document))
            document["spec"]["containers"]["web"]["image"] = image
            made = parsed(document, _empty_database()[1], current.id, [pop.city for pop in self.state.network.pops])
            self.asks(replace_with(current, made, by="test"), frozenset({current.id}))

    @rule(n=st.integers(0, 1))
    def deletes(self, n: int) -> None:
        if (current := self.declared(n)) is not None and n == 1:
            self.asks(delete(current.id))

    @rule(n=st.integers(0, 1), what=st.sampled_from(["pause", "resume", "abort"]))
    def steers(self, n: int, what: str) -> None:
        if (current := self.declared(n)) is not None:
            self.asks(
                {"pause": rollouts.pause, "resume": rollouts.resume, "abort": rollouts.abort}[what](current.id, "")
            )

    @rule(n=st.integers(0, 1), back=st.none() | st.integers(1, 4))
    def rolls_back(self, n: int, back: int | None) -> None:
        if (current := self.declared(n)) is not None:
            self.asks(rollouts.roll_back(current.id, current.version - back if back else None, by="test"))

    @rule(n=st.integers(0, 3), obeys=st.booleans())
    def reports(self, n: int, obeys: bool) -> None:
        """One host, which has obeyed its newest order or not yet."""
        self.platform.reports(list(self.platform.agents)[n], obeys=obeys)

    @rule(seconds=st.sampled_from([0.5, 3.0]), rounds=st.integers(1, 4))
    def all_report(self, seconds: float = 1.0, rounds: int = 1) -> None:
        """What happens nearly always."""
        for _ in range(rounds):
            self.platform.now += seconds
            for host in self.platform.agents:
                self.platform.reports(host)

    @rule(seconds=st.sampled_from([1.0, 10.0, 20.0, 65.0]))
    def time_passes(self, seconds: float) -> None:
        """Nobody says anything, and control looks at what it has."""
        self.platform.now += seconds
        self.platform.step()

    @rule(n=st.integers(0, 3), which=st.integers(0, 5), ends=st.booleans())
    def falls_ill(self, n: int, which: int, ends: bool) -> None:
        """An instance answers no more, or ends and is started again."""
        runs = list(self.platform.agents.values())[n].runs
        if runs:
            chosen = runs[sorted(runs)[which % len(runs)]]
            if ends:
                chosen.restarts += 1
                chosen.reports = 0
            else:
                chosen.sick = not chosen.sick

    @rule(second=st.booleans(), back=st.booleans())
    def evicts(self, second: bool, back: bool) -> None:
        host = HostName("LHR-2" if second else "LHR-1")
        self.asks(eviction.readmit(host) if back else eviction.evict(host))

    @rule()
    def forgets(self) -> None:
        """kill -9 of control: a new one goes on from the store."""
        self.platform.state = remembered(self.state, self.platform.now)
        self.platform.step()

    @precondition(lambda self: self.state.workloads)
    @rule()
    def comes_to_the_same_end(self) -> None:
        """From here, with and without what is only in memory; and that end is the right one."""
        one, other = self.platform.copy(), self.platform.copy()
        other.state = remembered(other.state, other.now)
        one.state = replace(one.state, started_at=one.now)  # who listens anew calls nobody lost for what was before
        one.step()
        other.step()
        one.settle()
        other.settle()
        if not (one.lacks_room() or other.lacks_room()):  # where two want the same room, the first to be asked has it
            assert one.end() == other.end()
        self.is_the_right_end(one)
        self.is_the_right_end(other)

    def is_the_right_end(self, platform: Platform) -> None:
        state = platform.state
        assert not any(d.delete_requested_at is not None for d in state.workloads.values()), "what was deleted is gone"
        assert {t.reason for t in state.tombstones.values()} <= {Reason.HOST_LOST, Reason.HOST_EVICTED}
        notes = {n.subject: n for n in state.plan.notes} if state.plan is not None else {}
        for declared in state.workloads.values():
            rolling = state.rollout_of(declared.id, RolloutKind.UPDATE)
            for target in declared.workload.targets:
                slots = {
                    instance_name(declared.workload.slug, target.name, c, n)
                    for c in target.cities
                    for n in range(target.replicas)
                }
                there = {
                    p.incarnation.name for p in state.incarnations.values() if p.incarnation.workload_id == declared.id
                }
                assert there <= slots
                assert all(notes[name].reason in NO_PLACE for name in slots - there), platform.words()
            wanted = declared.workload.containers[0].image
            lives = [p.incarnation for p in state.incarnations.values() if p.incarnation.workload_id == declared.id]
            if rolling is None:
                assert {i.template for i in lives} <= {declared.workload.template}, platform.words()
                assert {i.revision for i in lives} <= {declared.version}
                assert len({i.name for i in lives}) == len(lives)
            else:
                # one that waits for room says so: beside where it stands, or on another host since its own was given up
                waits = [i.name for i in lives if i.template != declared.workload.template]
                if not any(n in notes and notes[n].reason in (*NO_PLACE, Reason.WAITS_FOR_ROOM) for n in waits):
                    assert not wanted.startswith("good"), platform.words()
                    assert not rolling.previous, f"a bad change is taken back: {platform.words()}"

    @invariant()
    def holds(self) -> None:
        self.platform.check()

    def teardown(self) -> None:
        if self.state.workloads:
            self.platform.settle()
            self.is_the_right_end(self.platform)


Histories.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# about a minute on an idle core, and many times that beside others: it waits for nothing, so no time says that it hangs
test_histories = pytest.mark.timeout(1800)(Histories.TestCase)
