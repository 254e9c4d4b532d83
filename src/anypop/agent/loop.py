"""The agent's life: events wake a pass, a pass looks, converges, acts in lanes and reports.

In: orders (by the courier), deaths (pidfd), probe results, kernel and container events, and a slow full pass that trusts none of them.
Out: steps performed, reports. A pass itself never waits for anything: what takes time (containers, images, the speaker, nft) runs in
its lane, so one instance's slow or failing lane never holds up another. Everything that must outlive this process lives elsewhere.
"""

import asyncio
import contextlib
import time
from dataclasses import replace
from pathlib import Path

from anypop.agent.bgp.bird import Bird
from anypop.agent.converge import converge, next_due
from anypop.agent.courier import Courier
from anypop.agent.lanes import Lanes
from anypop.agent.ledger import Ledger
from anypop.agent.looking import Eyes
from anypop.agent.naming import short
from anypop.agent.network import firewall, sysctl
from anypop.agent.network.monitor import Monitor
from anypop.agent.network.netlink import Netlink
from anypop.agent.observe import Key, Prober
from anypop.agent.observed import Observed
from anypop.agent.performing import Performer
from anypop.agent.probing import RunInside
from anypop.agent.reporting import report_of
from anypop.agent.runtime.deaths import DeathWatch
from anypop.agent.runtime.seam import Runtime
from anypop.agent.standing import has_remains
from anypop.agent.steps import CreateContainer, RemoveContainer, StartContainer, Step, StopContainer, lanes_changed
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import CityCode, HostName
from anypop.model.order import InstanceOrder, Order
from anypop.model.reasons import Reason
from anypop.model.report import Report

FULL_PASS_S = 30.0
FIRST_PROBE_S = 1.0
SPEAKER_S = 1.0  # BIRD sends no events: it is asked this often, and more often while what is ordered is not yet exported
SPEAKER_QUICK_S = 0.03
SPEAKER_QUICK_FOR_S = 5.0


class Agent:
    """One PoP. Runs in the PoP's router namespace; `run` returns only when cancelled."""

    def __init__(self, *, prefix: str, pop: CityCode, host: HostName, state: Path, runtime: Runtime, courier: Courier) -> None:
        self._prefix, self._pop, self._host, self._runtime, self._courier = prefix, pop, host, runtime, courier
        self._ledger = Ledger(state / "order.json", host)
        self._wake, self._look_now = asyncio.Event(), asyncio.Event()
        self._net = Netlink()
        self._hands = Performer(
            prefix=prefix, pop=pop, net=self._net, runtime=runtime, bird=Bird(state / "bird"), clock=time.time, order=self._order,
            known=self._known,
        )  # fmt: skip
        self._lanes = Lanes(self._hands, seen=self._seen, idle=self._wake.set)
        self._prober = Prober(wake=self._wake.set, clock=time.time, run_inside=self._run_inside)
        self._eyes = Eyes(
            prefix=prefix, runtime=runtime, hands=self._hands, lanes=self._lanes, prober=self._prober, wake=self._wake.set
        )  # fmt: skip
        self._refused: Reason | None = None
        self._refused_generation = 0
        self._order_error = ""
        self._drift: tuple[str, ...] = ()
        self._count_drift = False
        self._speaker_set_at = 0.0
        self._began = time.monotonic()
        self._observed = Observed()
        self._report: Report | None = None

    async def run(self) -> None:
        """Restore the last order, look at the world, then obey until cancelled."""
        self._ledger.restore()
        monitor = Monitor(self._wake_soon)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._courier.fetch(self._newest_generation, self._take_order))
                group.create_task(self._courier.deliver(self._report_now))
                await self._eyes.open()
                self._look_for_images()
                group.create_task(self._passes())
                group.create_task(self._eyes.watch())
                group.create_task(self._listen_to_runtime())
                group.create_task(self._watch_speaker())
                group.create_task(self._full_passes())
        finally:
            monitor.close()
            self._eyes.close()
            self._prober.close()

    async def _passes(self) -> None:
        while True:
            self._pass()
            due = None
            if self._ledger.page is not None:
                due = next_due(self._ledger.page.order, self._observed, time.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(due - time.time(), 0.001)):
                    await self._wake.wait()
            self._wake.clear()

    def _pass(self) -> None:
        """Look, converge, act, tell. Waits for nothing."""
        page = self._ledger.page
        if page is None:
            self._tell()
            return
        self._observed = self._eyes.observe(page)
        steps = converge(page.order, self._observed, time.time())
        if self._count_drift:
            self._drift = tuple(f"{type(s).__name__} in lane {s.lane}" for s in steps)
            self._count_drift = False
        if steps:
            self._lanes.run(steps)
        gone = frozenset(x.removal.uid for x in page.leaving if not has_remains(x.removal.uid, self._observed))
        for uid in gone:
            self._eyes.forget(uid)
        if gone:
            with contextlib.suppress(WorldError):  # a full disk: the tokens stay, which harms nobody
                self._ledger.forget(gone)
        self._tell()

    async def _seen(self, step: Step) -> None:
        """The kernel is read in every pass and the speaker right after it was told; containers have to be looked at anew."""
        if isinstance(step, CreateContainer | StopContainer | RemoveContainer | StartContainer):
            await self._eyes.containers_seen()

    def _take_order(self, order: Order) -> None:
        before = self._ledger.page
        self._order_error, self._refused = "", None
        try:
            self._refused = self._ledger.accept(order)
        except (Invalid, WorldError) as error:
            self._order_error = str(error)
        if self._refused is not None or self._order_error:
            self._refused_generation = max(self._refused_generation, order.generation)
        elif self._ledger.page is not before:
            self._lanes.new_order(lanes_changed(before.order if before else None, order))
            self._hands.router_ready = sysctl.is_prepared(self._hands.upstream_interfaces())
            self._look_for_images()
        self._wake.set()

    def _look_for_images(self) -> None:
        order = self._order()
        if order is not None:
            self._eyes.look_for_images({c.image for i in order.instances for c in i.containers})

    def _newest_generation(self) -> int:
        """A refused order is not asked for again: its successor is."""
        return max(self._ledger.generation, self._refused_generation)

    def _order(self) -> Order | None:
        return self._ledger.page.order if self._ledger.page else None

    def _known(self) -> dict[str, InstanceOrder]:
        page = self._ledger.page
        if page is None:
            return {}
        return {short(i.uid): i for i in (*(x.instance for x in page.leaving if x.instance), *page.order.instances)}

    def _run_inside(self, key: Key) -> RunInside:
        async def run(command: tuple[str, ...], timeout_s: float) -> int:
            return await self._runtime.run_inside(key[0], key[1], command, timeout_s)

        return run

    def _wake_soon(self) -> None:
        """For bursts of kernel events, most of which we caused ourselves."""
        asyncio.get_running_loop().call_later(0.01, self._wake.set)

    async def _listen_to_runtime(self) -> None:
        while True:
            with contextlib.suppress(WorldError):
                async for _ in self._runtime.changes():
                    self._eyes.containers_changed()
            await asyncio.sleep(1)  # its service went away: what happened meanwhile is seen by a look
            self._eyes.containers_changed()

    async def _watch_speaker(self) -> None:
        """Ask BIRD now and then; often while what it is told to say has not yet been said, and at once when it dies."""
        last = self._hands.speaker
        changed_at = time.monotonic()
        died = asyncio.Event()
        deaths = DeathWatch(lambda *_: died.set())
        while True:
            seen = self._hands.speaker
            waiting = seen is not None and seen.config is not None and len(seen.exported) < len(seen.config.exports)
            if seen is not None and last is not None and seen.config != last.config:
                changed_at = time.monotonic()
            last = seen
            quick = waiting and time.monotonic() - changed_at < SPEAKER_QUICK_FOR_S
            died.clear()
            pid = self._hands.speaker_pid()
            deaths.set({("bird", "speaker"): pid} if pid is not None else {})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SPEAKER_QUICK_S if quick else SPEAKER_S):
                    await died.wait()
            if await self._hands.look_at_speaker() != seen:
                self._wake.set()

    async def _full_passes(self) -> None:
        """Look at everything anew, trusting no event; what then has to be mended is told as drift."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FULL_PASS_S):
                    await self._look_now.wait()
            self._look_now.clear()
            await self._full_look()

    def look_now(self) -> None:
        """Make the next full pass at once."""
        self._look_now.set()

    async def _full_look(self) -> None:
        """Everything that is not read in every pass: containers, speaker, kernel settings, firewall."""
        await asyncio.gather(self._eyes.look_at_containers(quietly=True), self._hands.look_at_speaker())
        loaded = await firewall.loaded_digest(self._prefix)
        if self._hands.firewall is not None and loaded != firewall.digest(self._hands.firewall):
            self._hands.firewall = None
        self._hands.router_ready = sysctl.is_prepared(self._hands.upstream_interfaces())
        self._count_drift = True
        self._wake.set()

    def _tell(self) -> None:
        page = self._ledger.page
        if page is not None and time.monotonic() - self._began < FIRST_PROBE_S and not self._eyes.knows_health(page):
            return  # just started: what was found running is about to be asked, and need not look sick meanwhile
        report = self._make_report()
        if self._report is None or replace(report, at=0) != replace(self._report, at=0):
            self._courier.changed()
        self._report = report

    def _report_now(self) -> Report:
        return replace(self._make_report(), at=time.time())

    def _make_report(self) -> Report:
        speaker = self._hands.speaker
        order = self._order() if self._eyes.is_open else None  # before the first look nothing may be said about what the order names
        errors = (self._ledger.error, self._order_error, self._eyes.runtime_error, speaker.error if speaker else "")
        return report_of(
            order, self._observed, pop=self._pop, host=self._host, generation=self._ledger.generation, at=time.time(), refused=self._refused,
            drift=self._drift, errors=tuple(e for e in errors if e),
        )  # fmt: skip
