"""The life of one simulated platform, from its seed: what it consists of, what happens to it, and how it ends.

In: a seed, and acts to leave out. Out: `Life`: whether an invariant broke, and the reasons that were given. The acts
are drawn first, each with dice of its own, so that a story can be told again without some of them (`shrunk`).
"""

import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random

from anypop.control import drains, rollouts
from anypop.control.dials import in_force
from anypop.control.state import State
from anypop.judge.announced import announced
from anypop.model.announce import Address, Mode, Prefix
from anypop.model.machine import Acceleration
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.report import Report
from anypop.model.rollout import Landing, Rollout, RolloutKind, RolloutPhase
from anypop.model.table import differing
from anypop.plan.rollout import OUT_OF_SERVICE
from tests.simulate import faults, invariants, people
from tests.simulate.agent import Agent
from tests.simulate.control import Control
from tests.simulate.features import FEATURES
from tests.simulate.host import Host
from tests.simulate.images import Behaviour, behaviour_of
from tests.simulate.networks import MACHINES_FROM, has_backbone, has_volumes, network_of
from tests.simulate.tunnels import Tunnels
from tests.simulate.world import World

BEGINS_S = 4.0
LONGEST_REST_S = 400.0
SLICE_S = 5.0
QUIET_SLICES = 2
_WITHOUT_END = (Reason.NO_ROOM, Reason.POP_FULL, Reason.WAITS_FOR_ROOM, Reason.VOLUME_LOST)

Act = Callable[["Platform", Random], None]
Script = Sequence[tuple[float, Act]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An act of a story: its number there, when it comes, and the seed of its own dice."""

    number: int
    at: float
    act: Act
    seed: int


@dataclass(slots=True)
class Life:
    """How a life went. `broken`: what broke, in words; empty: nothing. `kind`: the invariant, or the error's type."""

    seed: int
    broken: str = ""
    kind: str = ""
    reasons: set[Reason] = field(default_factory=set)
    acts: tuple[Planned, ...] = ()
    story: list[str] = field(default_factory=list)
    events: int = 0
    lasted_s: float = 0.0


class Platform:
    """Everything that is simulated, and the truth about it that invariants ask for."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        dice = Random(f"platform {seed}")
        carries, self.has_machines = has_backbone(seed), seed >= MACHINES_FROM
        self.has_volumes = has_volumes(seed)
        network, self.both_anycast = network_of(dice, carries=carries, pair=carries and self.has_machines)
        self.without_ports = dice.random() < 0.2
        self.vantages_blind = dice.random() < 0.1
        self.cities = tuple(pop.city for pop in network.pops)
        self.identities = 0
        self.restored = self.healed = self.loses_answers = False
        self.reasons: set[Reason] = set()
        self.templates: dict[str, str] = {}
        self.served: set[tuple[CityCode, WorkloadId]] = set()
        self.turned_bad_at: dict[tuple[HostName, Prefix], float] = {}
        self._answers: dict[tuple[HostName, Address], float] = {}
        self._answered: dict[tuple[HostName, Address], float] = {}
        self._good: set[tuple[HostName, Prefix]] = set()
        self.rests: dict[Address, float] = {}
        self.demand: dict[tuple[WorkloadId, CityCode], int] = {}  # thousandths of a core, of all that answer there
        self.fallen: Counter[object] = Counter()  # how often each number fell since all was mended
        self.marks: dict[tuple[str, HostName, Address], float] = {}  # when an invariant of a feature last held
        self.restarted: dict[tuple[str, str], set[int]] = {}  # which wishes for a restart each container was ended for
        self.let_go: set[str] = set()  # volumes of which somebody asked for that
        self.settles_s = network.return_after_s if network.backbone is not None else 0.0
        self.lasts_until = 0.0
        self.hosts: dict[HostName, Host] = {}
        self.agents: dict[HostName, Agent] = {}
        self.control = Control(self, network)
        for pop, machine in network.hosts():
            host = Host(self.world, machine.name, pop.city)
            self.hosts[machine.name] = host
            self.agents[machine.name] = Agent(self, host)
        if self.has_machines and dice.random() < 0.15:
            self.hosts[max(self.hosts)].machines = Acceleration.NONE
        self.tunnels = Tunnels(self.world, network, self.hosts)
        for host in self.hosts.values():
            host.tunnels = self.tunnels
        ways = [(h, u.name) for _, h in network.hosts() for u in h.upstreams]
        self.vantages = [(f"v{n}", dice.sample(ways, len(ways))) for n in range(3)]

    # the truth

    def is_calm(self, host: Host, seconds: float) -> bool:
        """Whether nothing has been wrong with the machine and its agent for so long."""
        agent, now = self.agents[host.name], self.world.now
        wrong = host.disk_full or host.registry_away or host.runtime_refuses or host.runtime_hangs or host.nft_refuses
        if wrong or not host.powered or not agent.alive or host.probes_lie is not None or host.told is None:
            return False
        return now - host.troubled_at > seconds and now - agent.started_at > seconds

    def ordered_for(self, host: Host, uid: str) -> float:
        return self.world.now - host.ordered_at.get(uid, self.world.now)

    def serves_in_the_end(self, image: str) -> bool:
        return behaviour_of(image).serves

    def may_stay_open(self, rollout: Rollout) -> bool:
        """A rollout that has nothing to go back to, or that waits for what will never be there, and says so."""
        if rollout.kind is RolloutKind.SCOPES:
            return False
        declared = self.control.state.workloads[rollout.workload_id]
        image = declared.workload.containers[0].image
        waits = self.control.state.plan is not None and any(
            n.reason in _WITHOUT_END for n in self.control.state.plan.notes
        )
        waits |= OUT_OF_SERVICE in rollout.message
        return (not rollout.previous and not (self.serves_in_the_end(image) and "ipv4" not in image)) or waits

    def is_the_only_one_that_serves(self, going: Incarnation) -> bool:
        """Whether what is declared never answers: then whoever answers until then is not taken away by force."""
        declared = self.control.state.workloads.get(going.workload_id)
        return declared is not None and not self.serves_in_the_end(declared.workload.containers[0].image)

    def lasts(self, seconds: float) -> None:
        """What is under way takes so much longer: the rest of its life begins no sooner."""
        self.lasts_until = max(self.lasts_until, self.world.now + seconds)

    def settles(self, host: Host) -> bool:
        """Whether its machine was dead until a while ago: then it may wait to be announced, while others serve."""
        return self.settles_s > 0 and host.booted_at is not None and self.world.now - host.booted_at < 65.0

    def obeys_the_newest(self, host: Host) -> bool:
        issued = self.control.state.orders.get(host.name)
        return issued is None or (host.page is not None and host.page.order.generation == issued.order.generation)

    def orphans_of(self, host: Host) -> set[str]:
        """What a host runs that nobody knows of since its own ledger or control's store was damaged."""
        known = {i.uid for i in host.ordered()} | {x.removal.uid for x in (host.page.leaving if host.page else ())}
        return {uid for uid, _ in host.containers if uid not in known} if self.restored else set()

    def landings(self, address: Address) -> tuple[Landing, ...]:
        """Where each vantage lands: it has ways in an order of its own, and takes the first that is announced."""
        found = []
        for name, ways in self.vantages:
            pop, answered = None, 0
            for machine, upstream in ways:
                host = self.hosts[machine.name]
                heard = host.neighbours.heard
                if any(u == upstream and p.version == address.version and address in p for p, u in heard):
                    answered = (3 if self.loses_answers else 5) if host.serves(address) else 0
                    pop = host.pop if answered else None
                    break
            found.append(Landing(vantage=name, pop=pop, answered=answered, asked=5))
        return tuple(found)

    def note_report(self, report: Report) -> None:
        """What control is told: reasons, who was seen well, and since when a prefix is wanted gone."""
        host = self.hosts[report.host]
        found = self.reasons
        if report.refused is not None:
            found.add(report.refused)
        for i in report.instances:
            found.add(i.reason)
            if i.healthy:
                host.said_well.add(i.uid)
                placed = self.control.state.incarnations.get(i.uid)
                if placed is not None:
                    self.served.add((host.pop, placed.incarnation.workload_id))
            for c in i.containers:
                found.add(c.reason)
                if c.last_reason is not None:
                    found.add(c.last_reason)
            found.update(f.reason for f in i.families)
        shared = len(self.control.state.anycast) > 1
        for p in report.prefixes:
            found.add(p.reason)
            where = (report.host, p.prefix)
            if p.announced and not p.wants_withdraw:
                self._good.add(where)
                self.turned_bad_at.pop(where, None)
            elif p.wants_withdraw and where in self._good:
                self._good.discard(where)
                if not shared:
                    self.turned_bad_at[where] = self.control.clock()

    def note_reasons_at(self, before: State, after: State) -> None:
        found = self.reasons
        if after.plan is not None and (before.plan is None or before.plan.notes is not after.plan.notes):
            found.update(n.reason for n in after.plan.notes)
        found.update(
            after.tombstones[u].reason for u in differing(before.tombstones, after.tombstones) if u in after.tombstones
        )
        for key in differing(before.rollouts, after.rollouts):
            if key in after.rollouts:
                found.add(after.rollouts[key].reason)
        for name in differing(before.verdict.hosts, after.verdict.hosts):
            if (verdict := after.verdict.hosts.get(name)) is not None:
                found.add(verdict.reason)
                found.update(g.reason for g in verdict.grants)
        for prefix in differing(before.verdict.prefixes, after.verdict.prefixes):
            told = after.verdict.prefixes.get(prefix)
            if told is not None and told.alarm is not None:
                found.add(told.alarm)
        for key, drain in after.drains.items():
            if before.drains.get(key) is not drain:
                found.add(drain.reason)
        for stones in after.strangers.values():
            found.update(s.reason for s in stones)

    def note_what_is_shown(self) -> None:
        """What faces say of announcements."""
        state = self.control.state
        for name, part in state.plan.hosts.items() if state.plan is not None else ():
            received = state.reports.get(name)
            for told in part.announcements:
                verdict = state.verdict.hosts.get(name)
                report = received.report if received is not None else None
                self.reasons.add(announced(told, told.scope, verdict, report)[1])
        for dial in state.dials.values():
            self.reasons.add(in_force(state, dial)[1])

    # its life

    def begin(self) -> None:
        self.control.start()
        for agent in self.agents.values():
            agent.start_in(self.world.between(0.0, 0.5))
        self.world.after(3.0, self._every_few_seconds)

    def answered_for(self, host: Host, address: Address) -> float:
        """For how long a host has answered an address without any doubt, by its own or others' instances."""
        if not host.powered or not host.surely_serves(address):
            return 0.0
        return self.world.now - self._answers.get((host.name, address), self.world.now)

    def answered_lately(self, host: Host, address: Address, seconds: float) -> bool:
        """Whether it has answered it within this time, as far as anybody has looked."""
        if host.powered and host.serves(address):
            return True
        return self.world.now - self._answered.get((host.name, address), -1e9) < seconds

    def _look_who_answers(self) -> None:
        found = {}
        for host in self.hosts.values():
            for address in host.groups:
                key = host.name, address
                if host.powered and host.serves(address):
                    self._answered[key] = self.world.now
                    if host.surely_serves(address):
                        found[key] = self._answers.get(key, self.world.now)
        self._answers = found

    def _every_few_seconds(self) -> None:
        if self.tunnels.used:
            self._look_who_answers()
        invariants.now_and_then(self)
        if self.control.up:
            people.looks(self)
            self.note_what_is_shown()
            if self.world.chance(0.1):
                self.control.copies.append(self.control.stored)
        self.world.after(3.0, self._every_few_seconds)

    def heal(self) -> None:
        """Everything that was broken is mended, and people wait for what comes of it."""
        self.world.tell("", "everything is mended")
        self.healed, self.loses_answers = True, False
        self.control.store_full, self.control.dies_at = False, None
        self.tunnels.heals(set(self.tunnels.cut))
        for host in self.hosts.values():
            host.rests()
            host.wire.heal()
            host.disk_full = host.registry_away = host.nft_refuses = host.runtime_refuses = host.runtime_hangs = False
            host.greedy.clear()
            host.lied_at = self.world.now if host.probes_lie is not None else host.lied_at
            host.probes_lie = None
            host.troubled_at = self.world.now
            self.agents[host.name].dies_after = None
            host.power_on()
            self.agents[host.name].start_in(1.0)
            for way in sorted(host.neighbours.cut):
                host.neighbours.mend(way, host.clock())
            host.recovers(sorted(host.sick & {u for u in host.sick if not self._breaks(host, u)}))
            faults._ask_all(host)
            self.agents[host.name].wake()
        self.control.start()

    def _breaks(self, host: Host, uid: str) -> bool:
        """Whether it is ill by its own program."""
        images = (c.image for i in host.ordered() if i.uid == uid for c in i.containers)
        return any(behaviour_of(image) is Behaviour.BREAKS_LATER for image in images)

    def settle(self) -> None:
        world, quiet = self.world, 0
        end = world.now + LONGEST_REST_S
        while world.now < end and quiet < QUIET_SLICES:
            for rollout in list(self.control.state.rollouts.values()):
                if rollout.phase is RolloutPhase.PAUSED:
                    self.control.ask("resume", rollouts.resume(rollout.workload_id, rollout.id))
            for host, received in self.control.state.reports.items():
                if received.report.refused is Reason.SHRINKS_WITHOUT_TOKEN and host not in self.control.state.strangers:
                    self.control.reset(host)
            for drain in self.control.state.drains.values():
                if drain.active and drain.stage.leaves:
                    self.control.ask(f"undrain {drain.target}", drains.undrain(drain.id))
            before = self.control.state
            world.run_until(world.now + SLICE_S)
            after = self.control.state
            still = all(
                getattr(before, name) is getattr(after, name)
                for name in ("incarnations", "tombstones", "rollouts", "workloads", "orders")
            )
            idle = not any(a.busy for a in self.agents.values()) and not any(
                a.host.waits(i.uid)
                for a in self.agents.values()
                for i in a.host.ordered()
                if all(self.serves_in_the_end(c.image) for c in i.containers)
            )
            waiting = any(not self.may_stay_open(r) for r in after.active_rollouts()) or bool(after.tombstones)
            waiting = waiting or any(d.active for d in after.drains.values())
            waiting = waiting or any(self._waits_still(host) for host in self.hosts.values())
            waiting = waiting or any(not self.obeys_the_newest(host) for host in self.hosts.values())
            waiting = waiting or any(waits(self) for feature in FEATURES for waits in feature.waits)
            quiet = quiet + 1 if still and idle and not waiting else 0

    def _waits_still(self, host: Host) -> bool:
        """Whether it is to be announced when it has been back for a while, or has something to start anew."""
        page = host.page
        if page is None:
            return False
        wanted = {a.prefix for a in page.order.announcements if a.scope.mode is Mode.ANNOUNCE and a.gates}
        asked = {i.uid: i.restarts for i in host.ordered()}
        return (self.settles(host) and not all(host.attracts(p) for p in wanted)) or any(
            c.asked < asked.get(c.uid, 0) for c in host.containers.values()
        )


def planned(seed: int) -> tuple[Planned, ...]:
    """The acts of a seed's story, in their order."""
    dice = Random(f"story {seed}")
    more = (*faults.WHERE_HOSTS_CARRY, *people.WHERE_HOSTS_CARRY) if has_backbone(seed) else ()
    own = [act for feature in FEATURES for act in feature.acts]
    if has_backbone(seed):
        own += [act for feature in FEATURES for act in feature.where_hosts_carry]
    if seed >= MACHINES_FROM:
        own += [act for feature in FEATURES for act in feature.where_machines_run]
    if has_volumes(seed):
        own += [act for feature in FEATURES for act in feature.where_volumes_are]
    weights, acts = zip(*(*faults.ACTS, *people.ACTS, *more, *own), strict=True)
    # most lives are short and rough; a few are long, with time for what takes its time
    length, count = (
        (dice.uniform(8.0, 30.0), dice.randint(3, 10)) if dice.random() < 0.9 else (140.0, dice.randint(3, 8))
    )
    times = sorted(dice.uniform(1.0 if dice.random() < 0.3 else BEGINS_S, length) for _ in range(count))
    return tuple(
        Planned(number=n, at=at, act=dice.choices(acts, weights)[0], seed=dice.getrandbits(32))
        for n, at in enumerate(times)
    )


def live(seed: int, *, without: Collection[int] = (), told: bool = False, script: Script = ()) -> Life:
    """One life. `without`: numbers of acts that do not happen; `told`: keep the story; `script`: acts in place of those
    that the seed draws, with one good workload to begin with.
    """
    acts = tuple(Planned(number=n, at=at, act=act, seed=seed + n) for n, (at, act) in enumerate(script))
    life = Life(seed=seed, acts=acts or planned(seed))
    platform = Platform(seed)
    world = platform.world
    world.story = [] if told else None
    try:
        platform.begin()
        dice = Random(f"first {seed}")
        first = "good:1" if dice.random() < 0.8 or script else ""
        world.after(0.2, lambda: people.deploys(platform, dice, 0, first))
        if dice.random() < 0.5 and not script:
            world.after(0.3, lambda: people.deploys(platform, dice, 1))
        for each in life.acts:
            if each.number not in without:
                world.after(each.at, lambda each=each: each.act(platform, Random(each.seed)))  # type: ignore[misc]
        world.run_until(life.acts[-1].at + dice.uniform(1.0, 10.0))
        world.run_until(platform.lasts_until)
        platform.heal()
        platform.settle()
        invariants.at_the_end(platform)
    except invariants.Broken as error:
        life.broken, life.kind = str(error), f"{error.number} {error.name}"
        world.tell("", f"BROKEN: {error}")
    except Exception as error:  # an error of ours, or of what is simulated: a finding like any other
        life.broken, life.kind = "".join(traceback.format_exception(error)), type(error).__name__
        world.tell("", f"FAILED: {type(error).__name__}: {error}")
    life.reasons, life.events, life.lasted_s = platform.reasons, world.events, world.now
    life.story = [str(line) for line in world.story or ()]
    return life


def shrunk(seed: int) -> Life:
    """The same failure with as few acts as taking one after the other away can reach, told as a story."""
    kind, out = live(seed).kind, set[int]()
    for act in planned(seed):
        if live(seed, without={*out, act.number}).kind == kind:
            out.add(act.number)
    found = live(seed, without=out, told=True)
    found.acts = tuple(act for act in found.acts if act.number not in out)
    return found
