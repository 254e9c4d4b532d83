"""The agent's process: events wake a pass, a pass looks, decides, acts in lanes and reports.

In: orders (by the control client), deaths (pidfd), probe results, kernel and container events, and a slow full pass
that trusts none of them. Out: steps performed, reports. A pass itself never waits for anything: what takes time
(containers, images, the speaker, nft) runs in its lane, so one instance's slow or failing lane never holds up
another. Everything that must outlive this process lives elsewhere.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from anypop.agent import metrics_socket
from anypop.agent.act.bgp.bird import Bird
from anypop.agent.act.bgp.speaker import Speaker
from anypop.agent.act.executor import Executor
from anypop.agent.act.instances import kept_logs
from anypop.agent.act.instances.runtime import InstanceRuntime
from anypop.agent.act.lanes import Lanes
from anypop.agent.act.network import guard, inside, learnt, newcomers, steering, sysctl, tunnel
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.act.volumes.keeper import Keeper
from anypop.agent.beat import until_beat
from anypop.agent.begun_file import Begun, BegunFile
from anypop.agent.captures import Captures
from anypop.agent.catchment_streams import CatchmentStreams
from anypop.agent.control_client import HEARTBEAT_S, ControlClient
from anypop.agent.decide import images, memory, returning
from anypop.agent.decide.backbone import tunnel_for
from anypop.agent.decide.converge import next_due
from anypop.agent.decide.drift import Drift
from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.inside import Inside
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.report import decides
from anypop.agent.decide.retold import Retold
from anypop.agent.decide.steps import (
    CreateContainer,
    RemoveContainer,
    SendMachine,
    StartContainer,
    Step,
    lanes_changed,
)
from anypop.agent.decide.turn import turn_of
from anypop.agent.guesting import Guesting
from anypop.agent.image_file import ImageFile
from anypop.agent.ledger import Ledger
from anypop.agent.ledger_key import ledger_key
from anypop.agent.loaded_rules import LoadedRules, judge, loaded_rules
from anypop.agent.log_shipping import LogShipping
from anypop.agent.moving import Moving
from anypop.agent.naming import short
from anypop.agent.observe.ask import ask
from anypop.agent.observe.deaths import DeathWatch
from anypop.agent.observe.kernel_monitor import KernelMonitor
from anypop.agent.observe.known import known_of
from anypop.agent.observe.learnt_monitor import LearntMonitor
from anypop.agent.observe.measured import Measured
from anypop.agent.observe.meter import Meter
from anypop.agent.observe.metering import Known
from anypop.agent.observe.namespace_monitor import NamespaceMonitor
from anypop.agent.observe.observer import Observer
from anypop.agent.observe.ruleset_monitor import RulesetMonitor
from anypop.agent.observe.sources import SourceSample
from anypop.agent.observe.speaker_log import SpeakerLog
from anypop.agent.observe.usage import Usage
from anypop.agent.resolving import Resolving
from anypop.agent.return_file import ReturnFile
from anypop.agent.streams import Streams
from anypop.host import log_files
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import CityCode, HostName
from anypop.model.order import Order
from anypop.model.reasons import Reason
from anypop.model.report import Report
from anypop.model.report_limits import trimmed

KEPT_LOGS, NAMES, METRICS_SOCKET, SAMPLES = "logs", "names", "metrics.sock", "samples"
MACHINES, MACHINE_IMAGES, GUESTS, CAPTURES = "machines", "machine-images", "guests", "captures"
FULL_PASS_S = 30.0
FIRST_PROBE_S = 1.0
LONGEST_REST_S = 0.02
REPORT_AGE_S = 0.1
FOREIGN_RULES_S = 0.1  # who changes rules without end costs us a tenth of a core at most
# BIRD is asked when it has written something into its log, and now and then; more often while something does not stand
# as ordered, or the kernel does not tell of the log; and more often still while what is ordered is not yet exported
SPEAKER_SETTLED_S = 5.0
SPEAKER_S = 1.0
SPEAKER_QUICK_S = 0.03
SPEAKER_QUICK_FOR_S = 5.0
SPEAKER_STOPPED_S = 1.0  # nothing tells that a process was stopped: a look at a file does, and soon after a second one
SPEAKER_STOPPED_AGAIN_S = 0.2
SPEAKER_FLAPPING_S = 0.2  # a session that was lost is seen to be down before it can be up again, a second later
REFILL_PAUSE_S = 0.5  # a full table takes BIRD a second; nobody may keep it busy with that alone


class Agent:
    """One host's. Runs in the router's namespace; `run` returns only when cancelled. `clock` gives seconds since the
    epoch.
    """

    def __init__(
        self, *, prefix: str, pop: CityCode, host: HostName, state: Path, runtime: InstanceRuntime,
        control: ControlClient, keeper: Keeper, moving: Moving | None = None, captures: Captures | None = None,
        image_bytes: Mapping[str, int] | None = None, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._prefix, self._pop, self._host, self._control, self._clock = prefix, pop, host, control, clock
        self._ledger = Ledger(state / "order.json", host, ledger_key(state, host, os.environ))
        self._wake, self._look_now, self._learnt_gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._foreign_rules, self._urgent, self._speaker_news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        net = self._net = Netlink()
        self._router, self._speaker = Router(net), Speaker(Bird(state / "bird"))
        self._observer = Observer(
            prefix=prefix,
            net=net,
            runtime=runtime,
            router=self._router,
            speaker=self._speaker,
            keeper=keeper,
            clock=clock,
            wake=self._wake.set,
            died=self._died,
        )
        self._measured = Measured(self._observer.processes, time.monotonic, self._wake.set)
        self._executor = executor = Executor(
            prefix=prefix,
            net=net,
            router=self._router,
            runtime=runtime,
            speaker=self._speaker,
            keeper=keeper,
            ask=ask,
        )
        self._sources = SourceSample(prefix, control.tell_sources, clock)
        self._lanes, self._rules = Lanes(executor, self), loaded_rules(net, prefix)
        self._meter = Meter(pop=pop, host=host, prefix=prefix, known=self._known, clock=clock, folder=state / SAMPLES)
        if image_bytes is not None:
            self._meter.tell_images(image_bytes)
        self._shipping = LogShipping(state / "shipping", self._observer.log_of)
        self._guesting = Guesting(
            state / GUESTS, prefix=prefix, machines=state / MACHINES, kept=state / KEPT_LOGS
        )  # fmt: skip
        self._moving, self._captures = moving, captures
        self._observer.machine_log = self._guesting.log_of
        self._observer.probes.word_of = self._guesting.word_of
        if moving is not None:
            moving.machines.word_of = self._guesting.word_of
        self._streams = Streams(
            control,
            runtime,
            console_of=self._guesting.console_of,
            take_password=self._guesting.take_password,
            containers=lambda: self._observer.containers or (),
            logs_in=self._observer.log_of,
            kept=state / KEPT_LOGS,
            shipping=self._shipping,
            usage=Usage(processes=self._observer.processes, clock=clock, monotonic=time.monotonic),
            metrics=self._meter.text,
            samples=self._meter.samples,
            routes=self._speaker.answer,
            catchments=CatchmentStreams(self._standing_order),
            prefix=prefix,
            captures=captures,
        )
        self._keeper = keeper
        self._resolving = Resolving(state / NAMES, net)
        self._runtime, self._images = runtime, ImageFile(state / "images.json")
        self._book = self._images.read()
        self._begun, self._returned = BegunFile(state / "begun.json"), ReturnFile(state / "returned")
        self._memory = memory.NOTHING
        self._refused: Reason | None = None
        self._refused_generation = 0
        self._order_error = ""
        self._drift = Drift()
        self._count_drift = False
        self._began = clock()
        self._state = state
        self._facts: Facts | None = None
        self._report: Report | None = None
        self._retold = Retold()

    async def run(self) -> None:
        """Restore the last order, look at the world, then obey until cancelled."""
        self._ledger.restore()
        self._keeper.begin()
        lived = self._ledger.page is not None
        monitor = KernelMonitor(self._wake.set)
        learnt_monitor = LearntMonitor(deleted=self._learnt_gone.set, ruled=self._rules_changed)
        ruleset = RulesetMonitor(self._foreign_rules.set)
        named = NamespaceMonitor(self._prefix, self._wake_soon)
        said = SpeakerLog(self._speaker.log, self._speaker_news.set)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._control.fetch(self._newest_generation, self._take_order, self._standing_order))
                deliver = self._control.deliver(self._report_now, self._drift.delivered, self._until_heartbeat)
                group.create_task(deliver)
                group.create_task(self._control.keep_certificate(lambda: datetime.now(UTC).timestamp()))
                found = await self._observer.open()
                self._remember(found, lived=lived)
                group.create_task(self._passes(monitor))
                group.create_task(self._observer.watch())
                group.create_task(self._observer.listen())
                group.create_task(self._watch_speaker(learnt_monitor, said))
                group.create_task(self._end_stopped_speaker())
                group.create_task(self._refill())
                group.create_task(self._full_passes())
                group.create_task(self._keep_logs_small())
                group.create_task(self._watch_rules())
                group.create_task(self._streams.run())
                group.create_task(self._meter.run())
                group.create_task(metrics_socket.serve(self._state / METRICS_SOCKET, self._meter.text))
                group.create_task(self._resolving.run(self._wake.set))
                group.create_task(self._shipping.run())
                group.create_task(self._guesting.run(self._wake.set))
                if self._moving is not None:
                    group.create_task(self._moving.run())
                group.create_task(self._observer.arrivals.follow(self._standing_order))
                group.create_task(self._measured.follow(self._standing_order))
                group.create_task(self._sources.follow(self._standing_order))
        finally:
            monitor.close()
            learnt_monitor.close()
            ruleset.close()
            named.close()
            said.close()
            self._observer.close()
            self._meter.close()

    def _remember(self, found: Sequence[ContainerSeen], *, lived: bool) -> None:
        """What the agent before this one knew. `lived`: there was one."""
        self._memory = memory.began(found, self._memory)
        running = frozenset(c.id for c in found if c.state is ContainerState.RUNNING)
        begun = self._begun.read() or Begun(hooked=running, started=running)
        self._memory = replace(self._memory, hooked=begun.hooked, started=begun.started)
        self._memory = replace(self._memory, book=self._book, unfit=self._observer.unfit(self._ledger.page))
        returned_at = self._returned.read(self._clock())
        if lived and not self._memory.found and self._speaker.pid() is None:  # its machine was dead meanwhile
            returned_at = self._clock()
        self._memory = replace(self._memory, returned_at=returned_at)
        self._check_tunnel()
        if guard.is_there(self._prefix):  # of an agent before us: by which order is not known
            self._memory = memory.guard_doubted(self._memory)
        if steering.is_there(self._prefix):
            self._memory = memory.steering_doubted(self._memory)
        if newcomers.is_there(self._prefix):
            self._memory = memory.joinings_doubted(self._memory)

    async def _passes(self, kernel: KernelMonitor) -> None:
        """A pass whenever something is new, and a rest of its own length after each: what many tell within
        milliseconds is one pass, and passes never take more than half a core. Nothing that counts waits for it: a
        dead process has left its groups before, or the pass that puts another host in its place follows at once.
        """
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            kernel.looked()
            self._pass()
            due = next_due(self._facts, self._clock()) if self._facts is not None else None
            ended = clock()
            self._meter.passed(ended - began)
            rested = ended + min(ended - began, LONGEST_REST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(due - self._clock(), 0.001)):
                    await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(rested - clock(), 0)):
                    await self._urgent.wait()
            self._urgent.clear()
            self._wake.clear()

    def _pass(self) -> None:
        """Look, decide, act, tell. Waits for nothing."""
        page = self._ledger.page
        if page is None:
            self._tell()
            return
        now = self._clock()
        seen = self._observer.observe(page, self._memory, self._lanes.busy)
        # the look itself may have met deaths that nobody could watch
        turn = turn_of(page.order, replace(seen, memory=self._memory), now)
        self._facts, self._memory, steps = turn.facts, turn.memory, turn.steps
        self._begun.keep(Begun(hooked=self._memory.hooked, started=self._memory.started))
        self._returned.keep(returning.settles_since(turn.facts, now))
        if self._count_drift:
            self._drift.found(f"{type(s).__name__} in lane {s.lane}" for s in steps)
            self._count_drift = False
        if steps:
            self._lanes.run(steps)
        self._resolving.set(turn.facts)
        self._shipping.set(page.order, self._observer.containers or ())
        self._guesting.set(turn.facts)
        if self._moving is not None:
            self._moving.set(turn.facts)
        for uid in turn.gone:
            self._guesting.forget(uid)
            self._observer.probes.forget(uid)
            kept_logs.forget(self._state / KEPT_LOGS, uid)
        if turn.gone:
            with contextlib.suppress(WorldError):  # a full disk: the tokens stay, which harms nobody
                self._ledger.forget(turn.gone)
        self._tell()

    def done(self, step: Step) -> None:
        """A step of some lane has had its effect."""
        if isinstance(step, CreateContainer):
            self._observer.created(step)
        self._memory = memory.step_done(step, self._memory, self._clock())
        self._keep_book(images.fetched(self._memory.book, self._runtime.fetched()))

    def _keep_book(self, book: images.ImageBook) -> None:
        self._memory = replace(self._memory, book=book)
        if book != self._book:
            self._book = book
            self._images.write(book)

    def failed(self, step: Step, message: str) -> None:
        self._memory = memory.step_failed(step, message, self._memory, self._clock())

    def lane_ended(self, lane: str, *, well: bool) -> None:
        if well:
            self._memory = memory.lane_succeeded(lane, self._memory)
        self._wake.set()

    async def seen(self, steps: Sequence[Step]) -> None:
        """The kernel is read in every pass and the speaker right after it was told; containers have to be looked at
        anew. A start need not wait for a look at what was just created.
        """
        touched = [s for s in steps if isinstance(s, CreateContainer | RemoveContainer | StartContainer | SendMachine)]
        if any(not isinstance(step, CreateContainer) or not self._observer.knows(step) for step in touched):
            await self._observer.containers_seen()

    def _died(self, seen: ContainerSeen) -> None:
        """A container's process is gone: its next hop goes this very moment, everything else follows from the pass
        that is woken.
        """
        with contextlib.suppress(WorldError):  # the pass tries again and tells
            page = self._ledger.page
            carries = page is not None and page.order.backbone is not None
            self._router.drop_member(short(seen.uid), but_last=carries)
            if carries:
                self._urgent.set()
        ordered = self._ledger.page.order.instances if self._ledger.page else ()
        reason = self._observer.why_ended(seen, ordered, self._memory)
        self._memory = memory.process_died(seen, reason, self._memory, self._clock())

    def _take_order(self, order: Order) -> None:
        """Raises `WorldError` where it cannot be kept: it is then asked for again."""
        before = self._ledger.page
        self._order_error, self._refused = "", None
        try:
            self._refused = self._ledger.accept(order)
        except Invalid as error:
            self._order_error = str(error)
        except WorldError as error:
            self._order_error = str(error)
            self._wake.set()
            raise
        if self._refused is not None or self._order_error:
            self._refused_generation = max(self._refused_generation, order.generation)
        elif self._ledger.page is not before:
            self._lanes.new_order()
            changed = lanes_changed(before.order if before else None, order)
            self._memory = memory.order_changed(changed, self._memory, dropped=self._lanes.busy)
            self._observer.arrivals.order_changed()
            self._measured.order_changed()
            self._sources.order_changed()
            self._memory = replace(self._memory, router_ready=self._is_prepared())
            self._check_tunnel()
            leaving = self._ledger.page.leaving if self._ledger.page else ()
            gone = (x.instance for x in leaving if x.instance is not None)
            self._keep_book(images.turned(self._memory.book, order, gone))
        self._wake.set()

    def _is_prepared(self) -> bool:
        order = self._ledger.page.order if self._ledger.page else None
        return sysctl.is_prepared(u.interface for u in (order.upstreams if order else ())) and learnt.is_prepared(
            self._net, order.management if order else ()
        )

    def _check_tunnel(self) -> None:
        """Whether the tunnel, or its absence, is as the order wants it."""
        order = self._ledger.page.order if self._ledger.page else None
        wanted = tunnel_for(order) if order else None
        ready = order is None or tunnel.is_right(self._net, wanted)
        self._memory = memory.tunnel_checked(self._memory, wanted, ready=ready)

    def _standing_order(self) -> Order | None:
        return self._ledger.page.order if self._ledger.page else None

    def _known(self) -> Known:
        return known_of(self._ledger.page, self._observer, self._speaker.seen)

    def _newest_generation(self) -> int:
        """A refused order is not asked for again: its successor is."""
        return max(self._ledger.generation, self._refused_generation)

    def _wake_soon(self) -> None:
        """For bursts of kernel events, most of which we caused ourselves."""
        asyncio.get_running_loop().call_later(0.01, self._wake.set)

    def _rules_changed(self) -> None:
        """Somebody has changed policy rules; perhaps ours."""
        if not self._is_prepared():
            self._memory = replace(self._memory, router_ready=False)
            self._wake.set()
        self._check_tunnel()
        if not self._memory.tunnel_ready:
            self._wake.set()

    async def _refill(self) -> None:
        """Learnt routes that somebody has taken out of the kernel are put back; BIRD itself would see it within a
        minute.
        """
        while True:
            await self._learnt_gone.wait()
            self._learnt_gone.clear()
            with contextlib.suppress(WorldError):  # a speaker that does not answer fills the kernel when it is back
                await self._speaker.refill()
            await asyncio.sleep(REFILL_PAUSE_S)

    async def _watch_speaker(self, learnt_monitor: LearntMonitor, said: SpeakerLog) -> None:
        """Ask BIRD when it has said something, and now and then; often while what it is told to say has not yet been
        said, and at once when it dies.
        """
        last, changed_at, news = self._speaker.seen, self._clock(), self._speaker_news

        def dies(*_: object) -> None:
            self._observer.offers.speaker_died()
            news.set()

        deaths = DeathWatch(dies)
        while True:
            seen = self._speaker.seen
            waiting = seen is not None and seen.config is not None and len(seen.exported) < len(seen.config.exports)
            if seen is not None and last is not None and seen.config != last.config:
                changed_at = self._clock()
            last = seen
            quick = waiting and self._clock() - changed_at < SPEAKER_QUICK_FOR_S
            pid = self._speaker.pid()
            daemons = {("bird", "speaker"): pid, ("bfd", "speaker"): self._speaker.bfd_pid()}
            deaths.set({name: number for name, number in daemons.items() if number is not None})
            learnt_monitor.follow(pid)
            lost = pid is None and seen is not None and not seen.answers  # it died while it was being asked
            settled = said.watches and seen is not None and seen.settled
            with contextlib.suppress(TimeoutError):
                flaps = any(uplink.losses for uplink in self._memory.uplinks.values())
                pause = SPEAKER_FLAPPING_S if flaps else SPEAKER_SETTLED_S if settled else SPEAKER_S
                pause = SPEAKER_QUICK_S if quick else pause
                async with asyncio.timeout(0 if lost else until_beat(self._clock(), pause)):
                    await news.wait()
            news.clear()
            if await self._speaker.look() != seen:
                self._wake.set()

    async def _end_stopped_speaker(self) -> None:
        """Its death is then seen like any other."""
        while True:
            doubted = self._speaker.end_stopped()
            pause = SPEAKER_STOPPED_AGAIN_S if doubted else SPEAKER_STOPPED_S
            await asyncio.sleep(until_beat(self._clock(), pause))

    async def _full_passes(self) -> None:
        """Look at everything anew, trusting no event; what then has to be mended is told as drift."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FULL_PASS_S):
                    await self._look_now.wait()
            self._look_now.clear()
            await self._full_look()

    async def _keep_logs_small(self) -> None:
        """This process's own, and what BIRD says before it has a log."""
        while True:
            files = [*log_files.own(), self._state / "bird" / "bird.out", self._state / NAMES / "resolver.out"]
            files.append(self._state / GUESTS / "guests.out")
            await asyncio.to_thread(log_files.cut, files)
            if self._captures is not None:
                await asyncio.to_thread(self._captures.collect)
            await asyncio.sleep(log_files.LOOKED_AT_EVERY_S)

    def look_now(self) -> None:
        """Make the next full pass at once."""
        self._look_now.set()

    async def _full_look(self) -> None:
        """Everything that is not read in every pass: containers, speaker, kernel settings, firewall."""
        await asyncio.gather(
            self._observer.look_at_containers(quietly=True), self._speaker.look(), self._observer.measure()
        )
        if not await self._check_rules():
            self._foreign_rules.set()
        wrong = await asyncio.to_thread(self._wrong_inside, dict(self._memory.inside))
        unfit = self._observer.unfit(self._ledger.page)
        self._memory = memory.checked(router_ready=self._is_prepared(), unfit=unfit, wrong=wrong, memory=self._memory)
        self._check_tunnel()
        self._observer.offers.read_anew()
        self._count_drift = True
        self._wake.set()

    def _wrong_inside(self, believed: dict[str, Inside]) -> set[str]:
        return {uid for uid, wanted in believed.items() if not inside.is_right(self._prefix, uid, wanted)}

    async def _check_rules(self) -> bool:
        """False: some could not be judged, since a step changes them just now."""

        def doubt(rules: LoadedRules) -> None:
            self._memory = rules.doubted(self._memory)
            self._count_drift = True

        return await judge(self._rules, lambda: self._memory, self._lanes.busy, doubt)

    async def _watch_rules(self) -> None:
        """Somebody else has changed rules: ours are looked at, and mended by the pass that is woken."""
        while True:
            await self._foreign_rules.wait()
            self._foreign_rules.clear()
            self._meter.doubt()
            if not await self._check_rules():
                self._foreign_rules.set()
            self._wake.set()
            await asyncio.sleep(FOREIGN_RULES_S)

    def _tell(self) -> None:
        page = self._ledger.page
        if (
            page is not None
            and self._clock() - self._began < FIRST_PROBE_S
            and not self._observer.knows_health(page, self._memory)
        ):
            return  # just started: what was found running is about to be asked, and need not look sick meanwhile
        report = self._make_report()
        if self._report is None or replace(report, at=0) != replace(self._report, at=0):
            self._control.changed(hurry=self._report is None or decides(report) != decides(self._report))
        self._report = report

    def _report_now(self) -> Report:
        """For control: what the last pass has told, where that was a moment ago."""
        if self._report is not None and self._clock() - self._report.at < REPORT_AGE_S:
            return self._report
        return self._make_report()

    def _until_heartbeat(self) -> float:
        return until_beat(self._clock(), HEARTBEAT_S)

    def _make_report(self) -> Report:
        speaker = self._speaker.seen
        # before the first look nothing may be said about what the order names
        seen = self._facts or Observed(containers=tuple(self._observer.containers or ()))
        generation = self._facts.order.generation if self._facts else self._ledger.generation
        errors = (
            self._ledger.error,
            self._order_error,
            self._observer.runtime_error,
            self._observer.disk_error,
            self._resolving.troubles(),
            self._guesting.troubles(),
            self._moving.error if self._moving is not None else "",
            speaker.error if speaker else "",
        )
        report = self._retold.report(
            seen, pop=self._pop, host=self._host, generation=generation, at=self._clock(), refused=self._refused,
            drift=self._drift.lines, errors=(*(e for e in errors if e), *self._executor.told()),
            capacity=self._observer.capacity, used_millis=self._observer.used_millis, began=self._began,
        )  # fmt: skip
        # connections of a guest are not in the namespace in which they are counted
        flows = tuple(one for one in self._measured.flows if self._observer.machine_log(one[0]) is None)
        observer = self._observer
        return trimmed(
            replace(
                report, measured=self._measured.millis, flows=flows, machines=observer.machines,
                processor=observer.guest_processor,
            )
        )  # fmt: skip
