"""The core: whatever changes what control knows goes through here, one step at a time, on disk before anyone hears of
it.

In: changes asked for by people, reports of hosts, and the one timer (the next moment at which something becomes due
by itself). Out: the new `State`, new orders for waiting agents, events. Decisions are `decide`'s; this module owns
order, threads and waiting.

All steps run in one writer thread, so a step sees the result of the one before and needs no lock; the event loop
only publishes results.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from anypop.control import acts
from anypop.control.acts import Act
from anypop.control.allowance import NO_LIMITS, Limits
from anypop.control.bell import Bell
from anypop.control.decide import decide, with_reports
from anypop.control.due import due_at
from anypop.control.history import events_between
from anypop.control.metrics.counts import Counts
from anypop.control.past import in_the_past
from anypop.control.refusals import NotFound
from anypop.control.rolling import with_patience, with_templates
from anypop.control.state import Issued, State
from anypop.control.store import Store
from anypop.control.strangers import with_strangers
from anypop.judge.verdict import Received
from anypop.model.errors import Invalid
from anypop.model.names import HostName, WorkloadId
from anypop.model.order_delta import Digests, OrderDelta, delta
from anypop.model.report import Report
from anypop.model.table import differing

log = logging.getLogger("anypop.control")

ANY_CHANGE: Hashable = "any"
# A host that has obeyed more than we issued tells of orders that our store has lost: it was restored from an older
# copy, or is a new one. So many generations are believed and gone above; a busy host gets as many in ten days. A
# claim of more is damage or forgery. It changes nothing until the operator says so (`reset`).
RECOVERY_WINDOW = 2**20
RESET_FOR_S = 600.0  # so long after a reset the host may claim any generation, once
# A generation is a 64-bit integer in the store. Whatever is claimed leaves room above it for more than will ever come.
HIGHEST_GENERATION = 2**61


def of_host(host: HostName) -> Hashable:
    """The topic of a host's reports, and of what is made of them."""
    return "host", host


def of_workload(workload: WorkloadId) -> Hashable:
    """The topic of all that is declared and decided of a workload."""
    return "workload", workload


Alter = Callable[[State, float], State]
Look = Callable[[State], None]


@dataclass(slots=True)
class _Inbox:
    """Reports that came in since the last step. Of two reports of one host the later counts, but what either says is
    gone is gone. `ahead`: generations that hosts say they have obeyed and that were never issued; nothing else of such
    a report is believed.
    """

    reports: dict[HostName, Received] = field(default_factory=dict)
    gone: dict[HostName, frozenset[str]] = field(default_factory=dict)
    ahead: dict[HostName, int] = field(default_factory=dict)
    step: asyncio.Task[None] | None = None


class Core:
    """Holds the last decided state. `state` may be read from anywhere at any time; it is never half of something.
    `limits`: the quotas in force. `counts`: what was done, for metrics. `on_publish`: who is told of the
    states before and after each step.
    """

    def __init__(self, store: Store, state: State, clock: Callable[[], float]) -> None:
        self.state = state
        self.bell = Bell()
        self.store = store
        self._clock = clock
        self.limits: Limits = NO_LIMITS
        self.counts = Counts()
        self.on_publish: list[Callable[[State, State], None]] = [self.counts.published]
        self._latest = state  # the writer thread's own: ahead of `state` until the loop has published
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._inbox = _Inbox()
        self._judging = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: set[asyncio.Task[None]] = set()
        self._digests: dict[HostName, Digests] = {}
        self._compared: set[HostName] = set()
        self._reset_until: dict[HostName, float] = {}

    async def start(self) -> None:
        """Plan and judge once from what the store held. Raises what planning raises."""
        self._loop = asyncio.get_running_loop()
        fresh_key = secrets.token_bytes(32)
        await self.change(partial(as_begun, fresh_key))

    async def follow(self) -> None:
        """Read what another control stored, and show it: nothing is stored, no order is made, nothing becomes due.
        Raises `WorldError`, and what planning raises.
        """

        def read() -> State:
            now = self._clock()
            stored = self.store.load()
            return decide(stored, as_begun(bytes(32), stored, now), now=now)

        before, self.state = self.state, await asyncio.get_running_loop().run_in_executor(self._writer, read)
        self._ring(before, self.state)

    async def take_over(self) -> None:
        """Go on from what is stored, as the one control that may write. Raises what planning raises."""

        def read() -> None:
            self._latest = self.store.load()

        await asyncio.get_running_loop().run_in_executor(self._writer, read)
        await self.start()

    async def stop(self) -> None:
        """Wake all who wait, and let the running step end."""
        self.bell.close()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._writer.shutdown)

    async def change(
        self, alter: Alter, *, confirmed: frozenset[WorkloadId] = frozenset(), accept: Look | None = None
    ) -> State:
        """Make one step: `alter` turns the newest state into a draft (or raises), and what follows from it is decided
        and stored.

        `confirmed`: workloads that a person deleted or shrank by this. `accept`: looks at what was decided, and raises
        where that is not what was asked for. Returns the state after the step. Raises what `alter` or `accept` raises,
        `Unsafe`, or `WorldError` when the store fails; then nothing has changed.
        """
        act = acts.current()
        behind = act if act is not None and act.operation else None
        return await self._step(alter, confirmed=confirmed, floors={}, accept=accept, act=behind)

    async def tried(self, alter: Alter, *, confirmed: frozenset[WorkloadId] = frozenset()) -> tuple[State, State]:
        """The newest state, and the one that `change` would make of it: decided in the same way, and nothing of it is
        kept. Raises what `change` would.
        """

        def decided() -> tuple[State, State]:
            now, before = self._clock(), self._latest
            return before, decide(before, alter(before, now), now=now, confirmed=confirmed, limits=self.limits)

        return await asyncio.get_running_loop().run_in_executor(self._writer, decided)

    async def take(self, report: Report, body: bytes = b"") -> None:
        """A host's report, and the JSON as which it came. Returns when it is stored and judged; reports that arrive
        meanwhile are judged together in the next step.
        """
        inbox, host = self._inbox, report.host
        if self._is_ahead(host, report.generation, "generation"):
            inbox.ahead[host] = max(report.generation, inbox.ahead.get(host, 0))
        else:
            inbox.reports[host] = Received(report=report, at=self._clock(), body=body)
            if report.gone:
                inbox.gone[host] = inbox.gone.get(host, frozenset()).union(report.gone)
        if inbox.step is None:
            inbox.step = asyncio.get_running_loop().create_task(self._judge_inbox(inbox))
        await asyncio.shield(inbox.step)

    async def order_after(self, host: HostName, generation: int, wait_s: float, digest: str = "") -> Issued | None:
        """The host's order once there is one newer than `generation`; None after `wait_s` seconds, or when control
        stops. `digest`: of the order of that generation which the host has, where it says so.
        """
        loop = asyncio.get_running_loop()
        if self._stands_otherwise(host, generation, digest):
            # Our store was restored from an older copy, and has counted on to where the host was: one number, two
            # orders.
            log.warning("%s has another order of generation %d than ours: it gets a newer one", host, generation)
            await self._step(lambda state, now: state, confirmed=frozenset(), floors={host: generation + 1})
        deadline = loop.time() + wait_s
        while not self.bell.closed:
            issued = self.state.orders.get(host)
            if issued is not None and host in self.state.verdict.hosts and self._is_ahead(host, generation, "after"):
                # The agent has obeyed more than we remember (our store was restored from an older copy): go on above
                # it.
                await self._step(lambda state, now: state, confirmed=frozenset(), floors={host: generation})
                continue
            if issued is not None and issued.order.generation > generation:
                return issued
            if not await self.bell.wait(("order", host), max(0.0, deadline - loop.time())):
                return None
        return None

    def _stands_otherwise(self, host: HostName, generation: int, digest: str) -> bool:
        """Whether a host has another order than was issued under the same number. Asked once for each host after a
        start: an agent of another version may write the same order in other words, and must not be given a new one
        with each poll.
        """
        issued = self.state.orders.get(host)
        if not digest or issued is None or issued.order.generation != generation or host in self._compared:
            return False
        self._compared.add(host)
        return self._digests.setdefault(host, Digests()).of(issued.order) != digest

    async def reset(self, host: HostName) -> State:
        """Help a host that control's store has forgotten: believe the next generation that it claims, whatever it is,
        and where it refuses its order for what it runs and nobody here knows, tell it to take that down. Raises
        `NotFound`.
        """
        if host not in self.state.verdict.hosts:
            raise NotFound(f"no host {host}")
        self._reset_until[host] = self._clock() + RESET_FOR_S
        return await self.change(lambda state, now: with_strangers(state, host))

    def _is_ahead(self, host: HostName, generation: int, field_name: str) -> bool:
        """Whether a host claims a generation that was never issued. Raises `Invalid` where it is not to be believed."""
        issued = self.state.orders.get(host)
        highest = issued.order.generation if issued is not None else 0
        if generation <= highest:
            return False
        if generation > highest + RECOVERY_WINDOW:
            if generation > HIGHEST_GENERATION or self._reset_until.pop(host, 0.0) < self._clock():
                log.warning("%s claims generation %d; %d was issued: not believed", host, generation, highest)
                raise Invalid.one(
                    field_name,
                    f"{generation} was never issued to {host}, {highest} was. Where control's store was lost, "
                    f"`anypop host reset {host}` lets it go on above",
                )
            log.warning("%s was reset: its orders go on above generation %d", host, generation)
        return True

    def difference(self, issued: Issued, base: int, digest: str) -> OrderDelta | None:
        """What an agent that has the order of generation `base`, with this digest, needs to come to `issued`. None
        where that order is not known here any more, or is another one: then only the whole order will do.
        """
        before = next((order for order in issued.earlier if order.generation == base), None)
        if before is None:
            return None
        digests = self._digests.setdefault(issued.order.host, Digests())
        if digests.of(before) != digest:
            return None
        return replace(delta(before, issued.order), digest=digests.of(issued.order))

    async def _judge_inbox(self, inbox: _Inbox) -> None:
        """One step for all reports that are in when it begins."""

        def alter(state: State, now: float) -> State:
            return with_reports(state, inbox.reports, inbox.gone, now)

        async with self._judging:  # while one step runs, the next inbox fills
            self._inbox = _Inbox()
            floors = {host: r.report.generation for host, r in inbox.reports.items()} | inbox.ahead
            await self._step(alter, confirmed=frozenset(), floors=floors)

    async def _step(
        self,
        alter: Alter,
        *,
        confirmed: frozenset[WorkloadId],
        floors: dict[HostName, int],
        accept: Look | None = None,
        act: Act | None = None,
    ) -> State:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        self.counts.asked_for(asked_at)

        def counted(result: str, began_at: float, ended_at: float) -> None:
            self.counts.stepped(result, waited_s=began_at - asked_at, took_s=ended_at - began_at)

        def write() -> State:
            began_at, result = loop.time(), "refused"
            try:
                after = step()
                result = "done"
                return after
            finally:
                loop.call_soon_threadsafe(counted, result, began_at, loop.time())

        def step() -> State:
            now = self._clock()
            before = self._latest
            draft = alter(before, now)
            after = decide(before, draft, now=now, confirmed=confirmed, floors=floors, limits=self.limits)
            if accept is not None:
                accept(after)
            self.store.save(before, after, events_between(before, after), at=now, act=act)
            self._latest = after
            # From here, and not from the awaiting caller: the caller may have been cancelled, the step is done all the
            # same.
            loop.call_soon_threadsafe(self._publish, before, after)
            return after

        return await loop.run_in_executor(self._writer, write)

    def _publish(self, before: State, after: State) -> None:
        self.state = after
        for told in self.on_publish:
            told(before, after)
        self._ring(before, after)
        self._set_timer(after)

    def _ring(self, before: State, after: State) -> None:
        for host in differing(before.orders, after.orders):
            self.bell.ring(("order", host))
        for host in differing(before.reports, after.reports) | differing(before.verdict.hosts, after.verdict.hosts):
            self.bell.ring(of_host(host))
        for workload in after.stirred:
            self.bell.ring(of_workload(workload))
        self.bell.ring(ANY_CHANGE)

    def _set_timer(self, state: State) -> None:
        """Wake at the first moment at which something becomes due by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        due = due_at(state, now)
        if due is not None and self._loop is not None and not self.bell.closed:
            # A hundredth late rather than early: at exactly that moment a report is still fresh.
            self._timer = self._loop.call_later(max(0.01, due - now + 0.01), self._when_due)

    def _when_due(self) -> None:
        task = asyncio.get_running_loop().create_task(self._judge_again())
        self._due.add(task)
        task.add_done_callback(self._due.discard)

    async def _judge_again(self) -> None:
        try:
            # its moment was set in somebody's request, and nobody asked for it
            await self._step(lambda state, now: state, confirmed=frozenset(), floors={})
        except Exception:
            log.exception("the step at a due moment failed")


def as_begun(fresh_key: bytes, state: State, now: float) -> State:
    """A stored state as one that control begins with."""
    state = in_the_past(state, now)
    state = replace(state, plan=None, template_key=state.template_key or fresh_key, started_at=now)
    return with_patience(with_templates(state), now)
