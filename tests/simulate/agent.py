"""The agent's process on a simulated host: what `agent.run` does around the real turn, ledger and report.

In: orders and wakes. Out: steps in lanes, each with its effect on the host some time later, and reports. It may die
between any effect and its being noted, and what the runtime was asked for before may still happen afterwards.
"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from anypop.agent.control_client import COALESCE_S
from anypop.agent.decide import images, memory
from anypop.agent.decide.converge import next_due
from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.images import EMPTY, ImageBook
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.retold import Retold
from anypop.agent.decide.returning import settles_since
from anypop.agent.decide.steps import (
    GUARD,
    CreateContainer,
    PayloadStep,
    RemoveContainer,
    StartContainer,
    Step,
    lanes_changed,
)
from anypop.agent.decide.traffic import LOOK_S
from anypop.agent.decide.turn import turn_of
from anypop.agent.ledger import relieved, turn
from anypop.agent.naming import short
from anypop.agent.run import FIRST_PROBE_S, FULL_PASS_S
from anypop.model.order import Order
from anypop.model.reasons import Reason
from anypop.model.report import Report
from anypop.model.report_limits import trimmed
from tests.simulate import invariants
from tests.simulate.demand import flows, measured
from tests.simulate.host import CAPACITY, Host
from tests.simulate.lanes import Lanes
from tests.simulate.line import ControlLine
from tests.simulate.looking import observed_by
from tests.simulate.probing import SimulatedProbes
from tests.simulate.world import Do

if TYPE_CHECKING:
    from tests.simulate.lives import Platform


class Agent:
    """See the module. `life` counts processes: what an older one left to be done later is not done by a newer one."""

    def __init__(self, platform: "Platform", host: Host) -> None:
        self.platform, self.world, self.host, self.control = platform, platform.world, host, platform.control
        self.life = 0
        self.alive = False
        self.started_at = 0.0
        self.book: ImageBook = EMPTY  # on the disk
        self.dies_after: int | None = None
        self.probes = SimulatedProbes(host, self.wake)
        self._forget_all()
        host.agent = self

    def _forget_all(self) -> None:
        self.facts: Facts | None = None
        self.refused: Reason | None = None
        self.refused_generation = 0
        self.order_error = ""
        self.drift: tuple[str, ...] = ()
        self.count_drift = False
        self.lanes = Lanes(self)
        self._pass_at: float | None = None
        self._report: Report | None = None
        self._told_at = 0.0
        self._retold = Retold()
        self.line = ControlLine(self)
        neighbours = self.host.neighbours
        self.sessions, self.exported = neighbours.sessions(), neighbours.exported()
        self.told_how = neighbours.told_how()

    @property
    def busy(self) -> dict[str, Step]:
        return self.lanes.busy

    # its process

    def start_in(self, seconds: float) -> None:
        life = self.life

        def start() -> None:
            if not self.alive and self.host.powered and self.life == life:
                self.start()

        self.world.after(seconds, start)

    def start(self) -> None:
        host = self.host
        self.life += 1
        self.alive, self.started_at = True, self.world.now
        host.clock = host.new_clock()
        host.fallen = None
        self._forget_all()
        self.probes = SimulatedProbes(host, self.wake)
        self._began = host.clock()
        begun = memory.began(host.containers.values(), replace(memory.NOTHING, unfit=frozenset(host.unfit)))
        host.memory = replace(begun, book=self.book, guard_known=host.guard is None, tunnel=host.tunnel)
        if host.steers:
            host.memory = memory.steering_doubted(host.memory)
        # its machine was dead meanwhile
        if host.page is not None and not begun.found and host.speaker is None:
            host.booted_at, host.settles_since = self.world.now, self._began
        elif host.settles_since is None:
            host.booted_at = None
        host.memory = replace(host.memory, returned_at=host.settles_since)
        self.world.tell(host.name, "the agent starts", f"with order {host.page.order.generation}" if host.page else "")
        self.wake()
        self.line.open()
        self.later(FULL_PASS_S, self._full_pass)

    def stop(self) -> None:
        """kill -9. What the runtime was asked for may still come about."""
        if not self.alive:
            return
        self.alive = False
        self.life += 1
        self.probes.over = True
        for step in self.busy.values():
            if isinstance(step, PayloadStep) and self.world.chance(0.3):
                self.world.after(self.world.between(0.01, 0.5), partial(self._comes_late, step, self.host.lives))
        self.busy.clear()

    def _comes_late(self, step: Step, lives: int) -> None:
        host = self.host
        if host.lives != lives or host.refusal(step) is not None:
            return
        if isinstance(step, CreateContainer) and not host.links.get(short(step.instance.uid)):
            return  # the runtime finds no namespace
        if isinstance(step, StartContainer | RemoveContainer) and (step.uid, step.container) not in host.containers:
            return
        if isinstance(step, StartContainer) and host.containers[step.uid, step.container].finished_at is not None:
            return  # it was started before the agent died, and has ended since
        self.world.tell(
            host.name, f"the runtime still does {type(step).__name__}", "asked for by an agent that is dead"
        )
        invariants.at_step(self, step)
        with invariants.refused_by_the_kernel():
            host.effect(step)
        self.wake()

    def killed(self, why: str, *, back_in: float | None = 1.0) -> None:
        if self.alive:
            self.world.tell(self.host.name, "the agent is killed", why)
            self.stop()
            if back_in is not None:
                self.start_in(self.world.between(0.3, back_in + 0.3))

    def later(self, seconds: float, do: Do) -> None:
        """`do`, if this process still lives then."""
        life = self.life

        def then() -> None:
            if self.life == life and self.alive:
                do()

        self.world.after(seconds, then)

    # what it hears

    def wake(self) -> None:
        """A pass soon; of several wakes in a moment one pass comes."""
        if self.alive:
            self._pass_in(self.world.between(0.002, 0.02))

    def _pass_in(self, seconds: float) -> None:
        at = self.world.now + seconds
        if self._pass_at is None or at < self._pass_at - 1e-9:
            self._pass_at = at

            def due() -> None:
                if self._pass_at == at:
                    self._pass_at = None
                    self._pass()

            self.later(seconds, due)

    def hears_of_death(self, seen: ContainerSeen) -> None:
        if not self.alive:
            return
        host = self.host
        over = seen.id in host.overfull()
        reason = Reason.OUT_OF_DISK if over else Reason.OUT_OF_MEMORY if seen.out_of_memory else Reason.EXITED
        if any(i.uid == seen.uid and seen.asked < i.restarts for i in host.ordered()):
            reason = Reason.RESTART_ASKED
        host.now = host.clock()
        host._drop(short(seen.uid))
        host.memory = memory.process_died(seen, reason, host.memory, host.now)
        self.probes.died(seen.key)
        self.wake()

    def killed_for_memory(self, uid: str) -> None:
        """The kernel ends a program that took too much."""
        host = self.host
        for key, seen in list(host.containers.items()):
            if seen.uid == uid and seen.state is ContainerState.RUNNING:
                host.containers[key] = replace(seen, out_of_memory=True)
        host.die(uid)

    def believes(self, uid: str, version: int | None = None) -> bool | None:
        return self.probes.knows(uid, version) if self.alive else None

    def damps(self, uid: str) -> bool:
        return self.probes.damps(uid)

    def ask_again(self, uid: str) -> None:
        if self.alive:
            self.probes.again(uid)

    def rules_changed(self) -> None:
        """The kernel tells of every change of rules."""
        if self.alive and self.host.firewall != self.host.memory.firewall:
            self.host.memory = memory.firewall_doubted(self.host.memory)
            self.wake()

    def sessions_changed(self) -> None:
        """BIRD sends no events: it is asked now and then."""
        if self.alive:
            self.later(self.world.between(0.03, 1.0), self.look_at_speaker)

    def look_at_speaker(self) -> None:
        neighbours = self.host.neighbours
        seen = neighbours.sessions(), neighbours.exported(), neighbours.told_how()
        if seen != (self.sessions, self.exported, self.told_how):
            self.sessions, self.exported, self.told_how = seen
            self.wake()

    # a pass

    def _pass(self) -> None:
        host, page = self.host, self.host.page
        if page is None:
            self._tell()
            return
        now = host.now = host.clock()
        made = turn_of(page.order, self._observe(), now)
        self.facts, host.memory = made.facts, made.memory
        if self.count_drift:
            self.drift = tuple(f"{type(s).__name__} in lane {s.lane}" for s in made.steps)
            self.count_drift = False
        if not host.disk_full:
            host.settles_since = settles_since(made.facts, now)
        if made.steps:
            self.lanes.run(made.steps)
        if not self.alive:
            return
        for uid in made.gone:
            self.probes.forget(uid)
        if made.gone and not host.disk_full:
            host.page = host.told = relieved(page, made.gone)
        self._tell()
        due = next_due(made.facts, now)
        if due is not None:
            # who drains is looked at often; here the end of its flows wakes us
            self._pass_in(max(due - now, 0.001) if due != now + LOOK_S else 1.0)

    def _observe(self) -> Observed:
        return observed_by(self)

    def _full_pass(self) -> None:
        """Trusts no event."""
        self.host.memory = memory.checked(
            router_ready=True, unfit=frozenset(self.host.unfit), wrong=(), memory=self.host.memory
        )
        if self.host.firewall != self.host.memory.firewall and "firewall" not in self.busy:
            self.host.memory = memory.firewall_doubted(self.host.memory)
        if self.host.guard != self.host.memory.guard and GUARD not in self.busy:
            self.host.memory = memory.guard_doubted(self.host.memory)
        self.look_at_speaker()
        self.count_drift = True
        self.wake()
        self.later(FULL_PASS_S, self._full_pass)

    # orders and reports

    def take_order(self, order: Order) -> bool:
        """Whether it was kept or refused; else it is asked for again."""
        host = self.host
        before = host.page
        self.order_error, self.refused = "", None
        found = turn(order, host.page)
        if isinstance(found, Reason):
            self.refused = found
            self.world.tell(host.name, f"refuses order {order.generation}", found.says)
        elif host.disk_full and found != host.page:
            self.order_error = "no space left on device"
            self.world.tell(host.name, f"cannot keep order {order.generation}", "its disk is full")
            self.wake()
            return False
        elif found is not host.page:
            invariants.at_order(self, before, found)
            host.page = found
        if self.refused is not None:
            self.refused_generation = max(self.refused_generation, order.generation)
        elif host.page is not before and host.page is not None:
            self.world.tell(host.name, f"obeys order {order.generation}")
            host.told = host.page
            asked = (x.removal.uid for x in host.page.leaving)
            host.told_to_go = {uid: host.told_to_go.get(uid, self.world.now) for uid in asked}
            host.ordered_at = {i.uid: host.ordered_at.get(i.uid, self.world.now) for i in order.instances}
            self.lanes.orders += 1
            lanes = lanes_changed(before.order if before else None, order)
            host.memory = replace(memory.order_changed(lanes, host.memory, dropped=self.busy), router_ready=True)
            gone = (x.instance for x in host.page.leaving if x.instance is not None)
            self.lanes.keep(images.turned(host.memory.book, order, gone))
        self.wake()
        return True

    def _tell(self) -> None:
        host, page = self.host, self.host.page
        if page is not None and host.clock() - self._began < FIRST_PROBE_S and not self._knows_health():
            self._pass_in(0.2)
            return
        report = self.make_report()
        invariants.tells_the_truth_of_processes(self, report)
        if self._report is None or replace(report, at=0) != replace(self._report, at=0):
            self.line.changed()
        self._report, self._told_at = report, self.world.now

    def _knows_health(self) -> bool:
        assert self.host.page is not None
        found = {key[0] for key, _ in self.host.memory.found}
        return all(self.probes.knows(i.uid) is not None for i in self.host.page.order.instances if i.uid in found)

    def make_report(self) -> Report:
        host = self.host
        seen = self.facts or Observed(containers=tuple(host.containers.values()))
        generation = self.facts.order.generation if self.facts else host.page.order.generation if host.page else 0
        found = trimmed(
            self._retold.report(
                seen,
                pop=host.pop,
                host=host.name,
                generation=generation,
                at=host.clock(),
                refused=self.refused,
                drift=self.drift,
                errors=(self.order_error,) if self.order_error else (),
                capacity=CAPACITY,
                used_millis=self.used_millis(),
            )
        )
        told = measured(self)
        machines = host.machines if self.platform.has_machines else None
        return replace(found, measured=told, flows=flows(told), machines=machines)

    def used_millis(self) -> int:
        """What its instances use of what the machine has for them."""
        machine = self.control.state.network.host(self.host.name)
        room = machine.capacity if machine is not None and machine.capacity is not None else CAPACITY
        return room.cpu_millis * self.host.load // 100

    def last_report(self) -> Report:
        """The one of the last pass, if that was just now."""
        fresh = self._report is not None and self.world.now - self._told_at < 2 * COALESCE_S
        return self._report if fresh and self._report is not None else self.make_report()
