"""Control on a simulated platform: what `control.core` does around the real step, with a store that is a variable.

In: reports and polls of hosts, what people ask, its timer. Out: orders. A step is decided, then stored, then told, and
control may die between any two of these. What a start reads back is the last stored state without what is only thought
(`as_loaded`); that the real store gives back exactly that is held by tests/contract/test_control_histories.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from anypop.agent.control_client import WAIT_S
from anypop.control.core import RECOVERY_WINDOW, Alter, as_begun
from anypop.control.decide import decide, with_reports
from anypop.control.due import due_at
from anypop.control.history import events_between
from anypop.control.refusals import Exists, NotFound, Precondition, VersionConflict
from anypop.control.state import State
from anypop.control.strangers import with_strangers
from anypop.judge.judged import Judged
from anypop.judge.verdict import Received
from anypop.model.errors import Invalid
from anypop.model.names import HostName, WorkloadId
from anypop.model.network import Network
from anypop.model.order import Order
from anypop.model.report import Report
from anypop.model.steady import SteadyClock
from anypop.model.table import differing
from anypop.plan.check import Unsafe
from tests.simulate import invariants
from tests.simulate.world import BEGAN, World

if TYPE_CHECKING:
    from tests.simulate.lives import Platform

KEY = b"the simulated platform's own key"
REFUSALS = (Unsafe, NotFound, Precondition, Exists, VersionConflict, Invalid)

Reply = Callable[[Order | None], None]
Done = Callable[[bool], None]


def as_loaded(state: State) -> State:
    """What the store gives back of a saved state."""
    return replace(
        state,
        verdict=Judged(),
        plan=None,
        started_at=0.0,
        lost=frozenset(),
        moves=frozenset(),
        eases=frozenset(),
        arrived=frozenset(),
        losses_frozen=False,
        strangers={},
        awaited=frozenset(),
        stirred=frozenset(),
        decided_at=0.0,
        looks={},
        looked_at=0.0,
        orders={host: replace(issued, earlier=()) for host, issued in state.orders.items()},
    )


class Control:
    """See the module. `state` is what it would answer from; `stored` what outlives it; `copies` are backups."""

    def __init__(self, platform: "Platform", network: Network) -> None:
        self.platform = platform
        self.world: World = platform.world
        self.stored = State(network=network)
        self.copies: list[State] = []
        self.state = self.stored
        self.up = False
        self.up_since = 0.0
        self.life = 0
        self.wall_off_s = 0.0
        self.store_full = False
        self.dies_at: str | None = None  # "before" or "after" its next save
        self.steps = 0
        self._clear()

    def _clear(self) -> None:
        self.waiting: dict[HostName, tuple[int, Reply]] = {}
        self.compared: set[HostName] = set()
        self.inbox: dict[HostName, Received] = {}
        self.gone: dict[HostName, frozenset[str]] = {}
        self.ahead: dict[HostName, int] = {}
        self.done: list[Done] = []
        self._timer = 0
        self._judging = False

    # its process

    def start(self) -> None:
        if self.up:
            return
        self.life += 1
        self.up = True
        self.up_since = self.world.now
        self._clear()
        self.clock = SteadyClock(lambda: BEGAN + self.world.now + self.wall_off_s, lambda: self.world.now)
        self.state = as_loaded(self.stored)
        self.world.tell("control", "starts")
        self.step(partial(as_begun, KEY), why="it begins")

    def kill(self, why: str) -> None:
        if self.up:
            self.world.tell("control", "is killed", why)
            self.up = False
            self.life += 1
            self._clear()
            for host in self.platform.hosts.values():
                if not host.wire.cut:
                    self.platform.agents[host.name].line.lost()

    def restore(self, copy: State) -> None:
        """An operator brings back an older copy of the store, and starts control on it."""
        self.kill("its store is restored from an older copy")
        self.stored = copy
        self.start()

    # steps

    def step(
        self,
        alter: Alter = lambda state, now: state,
        *,
        why: str,
        confirmed: frozenset[WorkloadId] = frozenset(),
        floors: dict[HostName, int] | None = None,
        told: Sequence[Report] = (),
    ) -> bool:
        """Whether it was made and stored. Raises what `alter` and `decide` raise."""
        now, before = self.clock(), self.state
        after = decide(before, alter(before, now), now=now, confirmed=confirmed, floors=floors)
        self.steps += 1
        if self.store_full:
            self.world.tell("control", "cannot store a step", why)
            return False
        if self.dies_at == "before":
            self.dies_at = None
            self.kill("before it stored a step")
            return False
        if self.steps % 16 == 0:
            events_between(before, after)
        self.stored = after
        for report in told:
            self.platform.note_report(report)
        invariants.at_control(self.platform, before, after, why)
        if self.dies_at == "after":
            self.dies_at = None
            self.kill("after it stored a step, before anybody heard of it")
            return False
        self.state = after
        self._publish(before, after)
        return True

    def ask(self, what: str, alter: Alter, *, confirmed: frozenset[WorkloadId] = frozenset()) -> bool:
        """What a person asks; refused or made."""
        if not self.up:
            self.world.tell("a person", f"asks in vain: {what}", "control is away")
            return False
        try:
            made = self.step(alter, why=what, confirmed=confirmed)
        except REFUSALS as error:
            self.world.tell("a person", f"asks and is refused: {what}", str(error).partition("\n")[0])
            return False
        self.world.tell("a person", f"asks: {what}", "" if made else "no answer")
        return made

    def _publish(self, before: State, after: State) -> None:
        for host in sorted(differing(before.orders, after.orders)):
            issued = after.orders[host]
            self.world.tell("control", f"order {issued.order.generation} for {host}")
            waits = self.waiting.get(host)
            if waits is not None and issued.order.generation > waits[0]:
                del self.waiting[host]
                waits[1](issued.order)
        self._set_timer()

    def _set_timer(self) -> None:
        self._timer += 1
        mine, life = self._timer, self.life
        due = due_at(self.state, self.clock())
        if due is None:
            return

        def rings() -> None:
            if self.life == life and self._timer == mine:
                self.step(why="its moment has come")

        self.world.after(max(0.01, due - self.clock() + 0.01), rings)

    # agents

    def order_after(self, host: HostName, standing: Order | None, generation: int, reply: Reply) -> None:
        """`standing`: the order that the host has, of which it tells the digest."""
        if not self.up:
            return
        issued = self.state.orders.get(host)
        same = issued is not None and issued.order.generation == generation and standing is not None
        if same and issued is not None and host not in self.compared:
            self.compared.add(host)
            if issued.order != standing:
                self.step(why=f"{host} has another order {generation}", floors={host: generation + 1})
                if not self.up:
                    return
                issued = self.state.orders.get(host)
        if issued is not None and host in self.state.verdict.hosts and self._is_ahead(host, generation):
            self.step(why=f"{host} has obeyed more", floors={host: generation})
            if not self.up:
                return
            issued = self.state.orders.get(host)
        if issued is not None and issued.order.generation > generation:
            reply(issued.order)
            return
        self.waiting[host] = (generation, reply)
        life = self.life

        def expires() -> None:
            if self.life == life and self.waiting.get(host) == (generation, reply):
                del self.waiting[host]
                reply(None)

        self.world.after(WAIT_S, expires)

    def _is_ahead(self, host: HostName, generation: int) -> bool:
        issued = self.state.orders.get(host)
        highest = issued.order.generation if issued is not None else 0
        return highest < generation <= highest + RECOVERY_WINDOW

    def reset(self, host: HostName) -> None:
        """An operator helps a host that the store has forgotten."""
        self.ask(f"reset {host}", lambda state, now: with_strangers(state, host))

    def take(self, report: Report, done: Done) -> None:
        """A report came in; those that come within the same moment are judged together."""
        if not self.up:
            return
        host = report.host
        issued = self.state.orders.get(host)
        if issued is not None and report.generation > issued.order.generation + RECOVERY_WINDOW:
            done(False)
            return
        if self._is_ahead(host, report.generation):
            self.ahead[host] = max(report.generation, self.ahead.get(host, 0))
        else:
            self.inbox[host] = Received(report=report, at=self.clock())
            if report.gone:
                self.gone[host] = self.gone.get(host, frozenset()).union(report.gone)
        self.done.append(done)
        if not self._judging:
            self._judging = True
            life = self.life
            self.world.after(0.004, lambda: self._judge(life))

    def _judge(self, life: int) -> None:
        if self.life != life:
            return
        reports, gone, ahead, done = self.inbox, self.gone, self.ahead, self.done
        self.inbox, self.gone, self.ahead, self.done, self._judging = {}, {}, {}, [], False
        floors = {host: r.report.generation for host, r in reports.items()} | ahead
        well = self.step(
            lambda state, now: with_reports(state, reports, gone, now),
            why=f"reports of {', '.join(sorted({*reports, *ahead}))}",
            floors=floors,
            told=[received.report for received in reports.values()],
        )
        if self.life == life:
            for tell in done:
                tell(well)
