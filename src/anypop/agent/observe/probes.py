"""Probes: each container that runs is asked on its own schedule, and its health follows by `judge.health`.

In: the containers that run (`set`), deaths. Out: a verdict per instance and family, liveness failures, and a call to
`wake` whenever one of them changes. What is announced is what is asked: each family has its own address, its own
questions and its own health. Health belongs to a process: another probe, other ports for the same process change how
it is asked, not what is known of it. While a container has never answered it is asked quickly, so that its start is
not delayed by its period; so is a guest from the moment on at which its network refuses. Judges by local evidence only.
"""

import asyncio
import errno
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol as Shape

from anypop.agent.beat import slot_of, until_beat
from anypop.agent.decide.elements import FamilyVerdict, Key, ProbeVerdict
from anypop.agent.guests.word import Word
from anypop.agent.observe.ask import ask
from anypop.agent.observe.by_word import BY_WORD, HANGS, ByWord
from anypop.agent.observe.kept_socket import KeptSocket
from anypop.agent.observe.rounds import Rounds
from anypop.host import process
from anypop.judge.health import Event, Health, Stage, Thresholds, after
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.reasons import Reason
from anypop.model.workload import Container, Probe, ProbeKind, Protocol

QUICK_S = 0.01
QUICK_FOR_S = 2.0  # most start within this; a slow one is then asked each second at least
# Of a guest whose network refuses: it serves a moment later, and has taken long to come so far.
REFUSED = os.strerror(errno.ECONNREFUSED)
REFUSING_S = 0.1
REFUSING_FOR_S = 10.0
# Where no probe is declared: who answers is asked each second. Once there is a doubt the next question follows as soon
# as the last one may have been answered, so that three of them find what hangs within 2 s; who is to come back is asked
# each half second.
DEFAULT = Probe(kind=ProbeKind.TCP, period_s=1, timeout_s=0.3, success_threshold=1, failure_threshold=3)
DOUBT_S, BACK_S = 0.3, 0.5
# A virtual machine without a port: whether its guest's network answers. One that is translated is slower to do so.
PING = Probe(kind=ProbeKind.PING, period_s=1, timeout_s=1, success_threshold=1, failure_threshold=3)
STOPPED = "the process is stopped"
TOGETHER_S = 0.05

RunInside = Callable[[Key, tuple[str, ...], float], Awaitable[int]]
"""Runs a command in a container, for so many seconds at most; gives its exit code."""


Place = tuple[Key, int]
"""A container and the family in which it is asked; 0: in none (it runs a command, or there is nothing to ask)."""


class Ways(Shape):
    """Leads questions to an address over one link, whatever else has the address."""

    def open(self, link: str, address: Address, via: Address) -> None: ...

    def doubt(self, link: str, address: Address) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A container that runs: `pid` tells one life of it from the next. `found`: it ran before this agent did;
    `started`: its startup probe is known to have been answered. `link`: the interface that leads to it; `announced`:
    the addresses that clients ask, one for each family, each with the private one that it is behind. Without any,
    `address` is asked.
    """

    container: Container
    address: Address
    pid: int
    found: bool
    link: str = ""
    announced: tuple[tuple[Address, Address], ...] = ()
    started: bool = False


def readiness_of(container: Container) -> Probe | None:
    """The container's probe; without one, a TCP connection to each port of `ports_of`; without a port None: to run is
    to be healthy. A virtual machine runs long before its guest does, so it is asked for an echo then.
    """
    if container.readiness is not None:
        return container.readiness
    ports = ports_of(container)
    if container.machine is not None:
        return replace(PING, kind=DEFAULT.kind, port=ports[0]) if ports else PING
    if not ports:
        return None
    return Probe(kind=DEFAULT.kind, port=ports[0], period_s=DEFAULT.period_s, timeout_s=DEFAULT.timeout_s)


def ports_of(container: Container) -> tuple[int, ...]:
    """Where a container without a probe is asked: at each TCP port that is open to all, or at its first."""
    tcp = [p for p in container.ports if p.protocol is Protocol.TCP]
    return tuple(p.port for p in tcp if p.open_to_all) or tuple(p.port for p in tcp[:1])


def _questions(container: Container) -> tuple[Probe, ...]:
    """All must be answered well."""
    probe = readiness_of(container)
    if probe is None or container.readiness is not None:
        return (probe,) if probe is not None else ()
    return tuple(replace(probe, port=port) for port in ports_of(container)) or (probe,)


def _addresses(target: Target) -> dict[int, Address]:
    """What is asked, by family."""
    found: dict[int, Address] = {}
    for address in [a for a, _ in target.announced] or [target.address]:
        found.setdefault(address.version, address)
    return found


def _address(target: Target, version: int) -> Address:
    """What is asked in a family; 0: in none."""
    return _addresses(target).get(version, target.address)


def _families(target: Target) -> tuple[int, ...]:
    questions = _questions(target.container)
    return (0,) if not questions or questions[0].kind is ProbeKind.EXEC else tuple(_addresses(target))


_NEW = Health()


class Probes:
    """All probes of a host. `clock` gives seconds since the epoch; `ways`: how questions find their link."""

    def __init__(
        self, *, wake: Callable[[], None], clock: Callable[[], float], run_inside: RunInside, ways: Ways | None = None
    ) -> None:
        self._wake = wake
        self._clock = clock
        self._run_inside = run_inside
        self._ways = ways
        self._targets: dict[Key, Target] = {}
        self._begun: dict[Key, float] = {}
        self._slots: dict[Key, int] = {}
        self._stopped: dict[Key, tuple[float, bool]] = {}
        self._asked: dict[Key, tuple[int, ...]] = {}
        self._unasked: set[Key] = set()
        self._readiness: dict[Place, asyncio.Task[None]] = {}
        self._liveness: dict[Place, asyncio.Task[None]] = {}
        self._starting: dict[Place, asyncio.Task[None]] = {}
        self.started: set[tuple[Key, int]] = set()
        self._health: dict[Place, Health] = {}
        self._said: dict[Place, str] = {}
        self._by_word, self._rounds = ByWord(), Rounds(clock)
        self.word_of: Callable[[str], Word | None] = lambda _: None
        """What is known by word of the guest of an instance."""
        self._ever: set[Place] = set()
        self.liveness_failed: set[Key] = set()
        self.took_s: dict[Key, dict[int, float]] = {}
        """How long the last answers took, by container and family."""

    def set(self, targets: Mapping[Key, Target]) -> None:
        """Probe exactly these. One with a new pid is a new process: asked from the beginning. One with the same pid
        keeps its health, also where it is to be asked in another way from now on.
        """
        for key, target in list(self._targets.items()):
            now = targets.get(key)
            if now is None or now.pid != target.pid:
                self._drop(key)
            elif now is not target and now != target:
                self._change(key, target, now)
        for key, target in targets.items():
            if key not in self._targets:
                self._begin(key, target)

    def died(self, key: Key) -> None:
        """Its process is gone: that is known at once, whatever the probes last said."""
        for version in self._asked.get(key, (0,)):
            self._move((key, version), Event.DEATH, Thresholds())
        self._drop(key)

    def forget(self, uid: str) -> None:
        for key in [k for k in (*self._targets, *self._asked) if k[0] == uid]:
            self._drop(key)
            for version in self._asked.pop(key, ()):
                self._health.pop((key, version), None)
                self._ever.discard((key, version))
                self._said.pop((key, version), None)

    def verdict(self, uid: str, containers: Iterable[str]) -> ProbeVerdict:
        """In each family the worst of an instance's containers; for the whole instance the best of its families."""
        keys = [(uid, name) for name in containers]
        asked = sorted({version for key in keys for version in self._asked.get(key, ()) if version})
        families = tuple(self._in_family(keys, version) for version in asked or (0,))
        best = next(f for wanted in (True, None, False) for f in families if f.healthy is wanted)
        troubles = {f.message: f for f in families if f.healthy is not True and f.message}
        message = "; ".join(f"IPv{f.version}: {f.message}" for f in troubles.values() if f.version)
        if best.healthy is not True and len(troubles) == 1:
            message = best.message or message  # the same in all
        message = message or best.message
        return ProbeVerdict(
            healthy=best.healthy, reason=best.reason, message=message, families=families if asked else ()
        )

    def _in_family(self, keys: Sequence[Key], version: int) -> FamilyVerdict:
        """The worst of them: one that is not healthy, else one that is not known, else healthy."""
        all_ = [self._known(key, version) for key in keys]
        for wanted in (False, None):
            for health, said in all_:
                if health.healthy is wanted:
                    ever = all((key, version) in self._ever or (key, 0) in self._ever for key in keys)
                    return FamilyVerdict(version=version, healthy=wanted, reason=health.reason, message=said, ever=ever)
        unasked = all(key in self._unasked for key in keys)
        reason = Reason.NOT_ASKED if unasked else Reason.PROBE_PASSED
        by_word = BY_WORD if any(said == BY_WORD for _, said in all_) else ""
        return FamilyVerdict(version=version, healthy=True, reason=reason, message=by_word)

    def _known(self, key: Key, version: int) -> tuple[Health, str]:
        """How a container is in a family; one that is asked in none is so in all."""
        asked = self._asked.get(key, ())
        place = (key, version if version in asked else 0)
        if version and asked and version not in asked and 0 not in asked:
            return _NEW, ""
        return self._health.get(place, _NEW), self._said.get(place, "")

    def close(self) -> None:
        for key in list(self._targets):
            self._drop(key)

    def _keep(self, key: Key, target: Target) -> None:
        self._targets[key] = target
        self._unasked.discard(key)
        if not _questions(target.container):
            self._unasked.add(key)

    def _begin(self, key: Key, target: Target) -> None:
        self._slots[key] = slot_of(len(self._targets))
        self._keep(key, target)
        self._begun[key] = self._clock()
        self._asked[key] = _families(target)
        for version in self._asked[key]:
            before = self._health.get((key, version))
            if target.found and before is None:
                self._health[key, version] = Health(stage=Stage.UNKNOWN)
            else:
                before = before or _NEW
                self._health[key, version] = Health(
                    falls=before.falls, fell_at=before.fell_at, cool_until=before.cool_until
                )
        self._go(key, target)

    def _go(self, key: Key, target: Target) -> None:
        """From the beginning: nothing else is asked before the startup probe is answered."""
        probe = target.container.startup
        if probe is None or target.started or (key, target.pid) in self.started:
            self._ask_readiness(key, target)
            self._ask_liveness(key, target, delayed=True)
        else:
            self._starting[key, 0] = asyncio.create_task(self._start_up(key, target, probe))

    def _change(self, key: Key, before: Target, target: Target) -> None:
        """The same process is to be asked otherwise."""
        self._keep(key, target)
        if (key, 0) in self._starting:
            _cancel(self._starting, (key, 0))
            self._ask_elsewhere(key, target)
            self._go(key, target)
            return
        if target.container.startup is not None:  # declared for one that has started
            self.started.add((key, target.pid))
        moved = replace(before, container=target.container, started=target.started) != target
        if moved or _questions(before.container) != _questions(target.container):
            for version in self._asked[key]:
                _cancel(self._readiness, (key, version))
            self._ask_elsewhere(key, target)
            self._ask_readiness(key, target)
        if moved or before.container.liveness != target.container.liveness:
            _cancel(self._liveness, (key, 0))
            # a delay is for the start of a process; one that has answered has started
            self._ask_liveness(key, target, delayed=self._all_pending(key))

    def _ask_elsewhere(self, key: Key, target: Target) -> None:
        """In the families in which it is to be asked now."""
        was, self._asked[key] = self._asked[key], _families(target)
        for version in set(self._asked[key]) - set(was):
            self._health[key, version] = self._health[key, was[0]]  # what it answered before, it answered

    def _all_pending(self, key: Key) -> bool:
        return all(self._health[key, version].stage is Stage.PENDING for version in self._asked[key])

    def _ask_readiness(self, key: Key, target: Target) -> None:
        questions = _questions(target.container)
        for version in self._asked[key]:
            place = (key, version)
            if questions:
                self._readiness[place] = asyncio.create_task(self._keep_asking(place, target, questions))
                continue
            if self._health[place].stage is Stage.UNHEALTHY:  # nothing that it failed counts any more
                self._health[place] = replace(self._health[place], stage=Stage.PENDING, row=0, last=None)
            self._move(place, Event.SUCCESS, Thresholds())
            if self._health[place].stage is Stage.COOLING:
                self._readiness[place] = asyncio.create_task(self._cool(place))

    def _ask_liveness(self, key: Key, target: Target, *, delayed: bool) -> None:
        probe = target.container.liveness
        if probe is not None:
            self._liveness[key, 0] = asyncio.create_task(self._watch_life(key, target, probe, delayed=delayed))

    def _drop(self, key: Key) -> None:
        target = self._targets.pop(key, None)
        if target is not None:
            self.started.discard((key, target.pid))
        self._unasked.discard(key)
        self._by_word.forget(key)
        self.took_s.pop(key, None)
        self._begun.pop(key, None)
        self._slots.pop(key, None)
        self.liveness_failed.discard(key)
        for version in self._asked.get(key, ()):
            _cancel(self._readiness, (key, version))
        _cancel(self._liveness, (key, 0))
        _cancel(self._starting, (key, 0))

    def _rest_of_delay_s(self, key: Key, probe: Probe) -> float:
        return max(0.0, self._begun[key] + probe.initial_delay_s - self._clock())

    async def _keep_asking(self, place: Place, target: Target, questions: Sequence[Probe]) -> None:
        address = _address(target, place[1])
        connects = all(question.kind is ProbeKind.TCP for question in questions)
        kept = [KeptSocket(address, question.port, target.link) for question in questions] if connects else []
        try:
            with process.StoppedOrNot(target.pid) as looked_at:
                await self._ask_on(place, target, questions, kept, looked_at)
        finally:
            for one in kept:
                one.close()

    async def _ask_on(
        self, place: Place, target: Target, questions: Sequence[Probe], kept: Sequence[KeptSocket],
        looked_at: process.StoppedOrNot,
    ) -> None:  # fmt: skip
        """`kept`: a socket for each question, where all of them are for connections."""
        probe, key, address = questions[0], place[0], _address(target, place[1])
        thresholds = Thresholds(rise=max(1, probe.success_threshold), fall=max(1, probe.failure_threshold))
        if self._health[place].stage is Stage.PENDING:
            await asyncio.sleep(self._rest_of_delay_s(key, probe))
        begun, declared, clock = self._clock(), target.container.readiness is not None, asyncio.get_running_loop().time
        refused_at: float | None = None

        def is_stopped() -> bool:
            # the kernel takes connections for a process that is stopped, until its queue is full
            return not declared and self._is_stopped(key, looked_at)

        def still_well() -> bool:
            health = self._health[place]
            return bool(kept) and health.stage is Stage.HEALTHY and health.last is Event.SUCCESS

        def answers() -> bool:
            return still_well() and not is_stopped() and all(self._connects(*place, one) for one in kept)

        while True:
            asked_at = clock()
            trouble = STOPPED if is_stopped() else None
            for question in questions:
                trouble = trouble or await self._ask(key, target, question, address)
            self._said[place] = trouble or ""
            if not declared and probe.kind is ProbeKind.PING:
                trouble = await self._trouble_by_word(place, target, trouble)
            self._move(place, Event.FAILURE if trouble else Event.SUCCESS, thresholds)
            now, took_s = self._clock(), clock() - asked_at
            if refused_at is None and target.container.machine is not None and trouble and REFUSED in trouble:
                refused_at = now
            refuses = refused_at is not None and now - refused_at < REFUSING_FOR_S
            own = not declared and target.container.machine is None
            pause_s, slot = _pause(probe, self._health[place], now - begun, own=own, refuses=refuses), self._slots[key]
            if still_well():  # until a doubt it is asked together with others
                await self._rounds.until_no(answers, pause_s, slot)
                continue
            if declared:
                pause_s = until_beat(now, pause_s, slot)
            else:  # a question that nobody answers puts off the next one no further
                pause_s = max(QUICK_S, until_beat(now - took_s, pause_s, slot) - took_s)
            await asyncio.sleep(pause_s)

    async def _trouble_by_word(self, place: Place, target: Target, echo: str | None) -> str | None:
        """The trouble of an echo that nobody has asked for: none where the guest's word stands for it. One that hangs
        for long is to begin anew.
        """
        key = place[0]
        word = self.word_of(key[0])
        trouble = await self._by_word.trouble(key, word, echo, target.link, target.address)
        self._said[place] = trouble or ""
        hangs = word is not None and trouble == HANGS and self._by_word.is_to_begin_anew(key, word)
        if hangs and key not in self.liveness_failed:
            self._fail(key, HANGS)
        return None if trouble == BY_WORD else trouble

    def _is_stopped(self, key: Key, process_of_it: process.StoppedOrNot) -> bool:
        """Looked at once for all families, which are asked at one moment."""
        now = time.perf_counter()
        at, found = self._stopped.get(key, (0.0, False))
        if now - at > TOGETHER_S:
            found = process_of_it.is_stopped()
            self._stopped[key] = now, found
        return found

    def _connects(self, key: Key, version: int, kept: KeptSocket) -> bool:
        """Whether it answers by the socket that is kept for it, as it did the last time: it has its way then."""
        asked_at = time.perf_counter()
        if not kept.connects():
            return False
        self.took_s.setdefault(key, {})[version] = time.perf_counter() - asked_at
        return True

    async def _ask(self, key: Key, target: Target, probe: Probe, address: Address) -> str | None:
        """One question at one address, over the instance's own link."""
        via = dict(target.announced).get(address)
        over = self._ways if probe.kind is not ProbeKind.EXEC and via is not None and target.link else None
        try:
            if over is not None and via is not None:
                over.open(target.link, address, via)
            asked_at = time.perf_counter()
            trouble = await ask(probe, address, self._runs(key), target.link)
            if trouble is None:
                self.took_s.setdefault(key, {})[address.version] = time.perf_counter() - asked_at
        except (WorldError, OSError) as error:
            trouble = f"no way to {address}: {error}"
        if trouble:
            self.took_s.get(key, {}).pop(address.version, None)
        if trouble and over is not None:
            over.doubt(target.link, address)
        return trouble

    async def _cool(self, place: Place) -> None:
        """To run is to be healthy, once it has cooled down."""
        while self._health[place].stage is Stage.COOLING:
            await asyncio.sleep(max(QUICK_S, self._health[place].cool_until - self._clock()))
            self._move(place, Event.SUCCESS, Thresholds())

    async def _start_up(self, key: Key, target: Target, probe: Probe) -> None:
        """Until it answers once in some family. It has as long as its failures may take; then it is to be restarted."""
        await asyncio.sleep(self._rest_of_delay_s(key, probe))
        clock = asyncio.get_running_loop().time
        begun = clock()
        while trouble := await self._ask_in_some(key, target, probe):
            if clock() - begun >= max(1, probe.failure_threshold) * max(probe.period_s, QUICK_S):
                self._fail(key, f"startup probe: {trouble}")
                return
            quick = QUICK_S if clock() - begun < QUICK_FOR_S and probe.kind is not ProbeKind.EXEC else 1.0
            await asyncio.sleep(min(max(probe.period_s, QUICK_S), quick))
        self._starting.pop((key, 0), None)
        self.started.add((key, target.pid))
        self._ask_readiness(key, target)
        self._ask_liveness(key, target, delayed=True)
        self._wake()

    async def _ask_in_some(self, key: Key, target: Target, probe: Probe) -> str | None:
        """One that answers in one family lives."""
        addresses = tuple(_addresses(target).values()) if probe.kind is not ProbeKind.EXEC else (target.address,)
        for address in addresses:
            if (trouble := await self._ask(key, target, probe, address)) is None:
                return None
        return trouble

    def _fail(self, key: Key, trouble: str) -> None:
        """It is to be restarted: out of traffic at once."""
        self.liveness_failed.add(key)
        for version in self._asked[key]:
            self._said[key, version] = trouble
            self._move((key, version), Event.DEATH, Thresholds())
        self._wake()

    async def _watch_life(self, key: Key, target: Target, probe: Probe, *, delayed: bool) -> None:
        """A liveness probe: fails `failure_threshold` times in a row, then the container is to be restarted."""
        if delayed:
            await asyncio.sleep(self._rest_of_delay_s(key, probe))
        failures = 0
        while True:
            trouble = await self._ask_in_some(key, target, probe)
            failures = failures + 1 if trouble else 0
            if failures >= max(1, probe.failure_threshold) and key not in self.liveness_failed:
                self._fail(key, trouble or "")
            await asyncio.sleep(until_beat(self._clock(), max(probe.period_s, QUICK_S), self._slots[key]))

    def _runs(self, key: Key) -> Callable[[tuple[str, ...], float], Awaitable[int]]:
        return lambda command, timeout_s: self._run_inside(key, command, timeout_s)

    def _move(self, place: Place, event: Event, thresholds: Thresholds) -> None:
        if event is Event.SUCCESS and place[0] in self.liveness_failed:
            return  # it is about to be ended, however well it answers meanwhile
        before = self._health.get(place, _NEW)
        if event is Event.SUCCESS is before.last and before.stage is Stage.HEALTHY:
            return  # as it is; of all that is asked this is what happens mostly
        self._health[place] = after(before, event, thresholds, self._clock())
        if self._health[place].stage is Stage.HEALTHY:
            self._ever.add(place)
        if self._health[place].stage is not before.stage:
            self._wake()


def _pause(probe: Probe, health: Health, running_s: float, *, own: bool, refuses: bool = False) -> float:
    """Until the next question: its period, or less while it has never answered. `own`: nobody has declared it, so how
    soon we know more is our own affair.
    """
    period = max(probe.period_s, QUICK_S)
    if health.stage in (Stage.PENDING, Stage.UNKNOWN):
        return min(period, QUICK_S if running_s < QUICK_FOR_S else REFUSING_S if refuses else 1.0)
    if own and health.stage is not Stage.HEALTHY:
        return min(period, BACK_S)
    return min(period, DOUBT_S) if own and health.last is Event.FAILURE else period


def _cancel(tasks: dict[Place, asyncio.Task[None]], place: Place) -> None:
    task = tasks.pop(place, None)
    if task is not None:
        task.cancel()
