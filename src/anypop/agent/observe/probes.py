"""Probes: each container that runs is asked on its own schedule, and its health follows by `judge.health`.

In: the containers that run (`set`), deaths. Out: a verdict per instance, liveness failures, and a call to `wake`
whenever one of them changes. Health belongs to a process: another probe, other ports for the same process change how
it is asked, not what is known of it. While a container has never answered it is asked quickly, so that its start is
not delayed by its period. Judges by local evidence only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from anypop.agent.decide.elements import Key, ProbeVerdict
from anypop.agent.observe.ask import ask
from anypop.judge.health import Event, Health, Stage, Thresholds, after
from anypop.model.announce import Address
from anypop.model.reasons import Reason
from anypop.model.workload import Container, Probe, ProbeKind, Protocol

QUICK_S = 0.01
QUICK_FOR_S = 2.0  # most start within this; a slow one is then asked each second at least
DEFAULT = Probe(kind=ProbeKind.TCP, period_s=1, timeout_s=1, success_threshold=1, failure_threshold=3)

RunInside = Callable[[Key, tuple[str, ...], float], Awaitable[int]]
"""Runs a command in a container, for so many seconds at most; gives its exit code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A container that runs: `pid` tells one life of it from the next. `found`: it ran before this agent did. `link`:
    the interface that leads to it.
    """

    container: Container
    address: Address
    pid: int
    found: bool
    link: str = ""


def readiness_of(container: Container) -> Probe | None:
    """The container's probe; without one, a TCP connection to its first TCP port; without a port None: to run is to
    be healthy.
    """
    if container.readiness is not None:
        return container.readiness
    port = next((p.port for p in container.ports if p.protocol is Protocol.TCP), None)
    if port is None:
        return None
    return Probe(kind=DEFAULT.kind, port=port, period_s=DEFAULT.period_s, timeout_s=DEFAULT.timeout_s)


_NEW = Health()
_PASSED = ProbeVerdict(healthy=True, reason=Reason.PROBE_PASSED)


class Probes:
    """All probes of a host. `clock` gives seconds since the epoch."""

    def __init__(self, *, wake: Callable[[], None], clock: Callable[[], float], run_inside: RunInside) -> None:
        self._wake = wake
        self._clock = clock
        self._run_inside = run_inside
        self._targets: dict[Key, Target] = {}
        self._begun: dict[Key, float] = {}
        self._readiness: dict[Key, asyncio.Task[None]] = {}
        self._liveness: dict[Key, asyncio.Task[None]] = {}
        self._health: dict[Key, Health] = {}
        self._said: dict[Key, str] = {}
        self.liveness_failed: set[Key] = set()

    def set(self, targets: Mapping[Key, Target]) -> None:
        """Probe exactly these. One with a new pid is a new process: asked from the beginning. One with the same pid
        keeps its health, also where it is to be asked in another way from now on.
        """
        for key, target in list(self._targets.items()):
            now = targets.get(key)
            if now is None or now.pid != target.pid:
                self._drop(key)
            elif now != target:
                self._change(key, target, now)
        for key, target in targets.items():
            if key not in self._targets:
                self._begin(key, target)

    def died(self, key: Key) -> None:
        """Its process is gone: that is known at once, whatever the probes last said."""
        self._move(key, Event.DEATH, Thresholds())
        self._drop(key)

    def forget(self, uid: str) -> None:
        for key in [k for k in (*self._targets, *self._health) if k[0] == uid]:
            self._drop(key)
            self._health.pop(key, None)
            self._said.pop(key, None)

    def verdict(self, uid: str, containers: Iterable[str]) -> ProbeVerdict:
        """The worst of an instance's containers: one that is not healthy, else one that is not known, else healthy."""
        all_ = [(self._health.get((uid, name), _NEW), self._said.get((uid, name), "")) for name in containers]
        for wanted in (False, None):
            for health, said in all_:
                if health.healthy is wanted:
                    return ProbeVerdict(healthy=wanted, reason=health.reason, message=said)
        return _PASSED

    def close(self) -> None:
        for key in list(self._targets):
            self._drop(key)

    def _begin(self, key: Key, target: Target) -> None:
        self._targets[key] = target
        self._begun[key] = self._clock()
        before = self._health.get(key)
        if target.found and before is None:
            self._health[key] = Health(stage=Stage.UNKNOWN)
        else:
            before = before or _NEW
            self._health[key] = Health(falls=before.falls, fell_at=before.fell_at, cool_until=before.cool_until)
        self._ask_readiness(key, target)
        self._ask_liveness(key, target, delayed=True)

    def _change(self, key: Key, before: Target, target: Target) -> None:
        """The same process is to be asked otherwise."""
        self._targets[key] = target
        moved = before.address != target.address
        if moved or readiness_of(before.container) != readiness_of(target.container):
            _cancel(self._readiness, key)
            self._ask_readiness(key, target)
        if moved or before.container.liveness != target.container.liveness:
            _cancel(self._liveness, key)
            # a delay is for the start of a process; one that has answered has started
            self._ask_liveness(key, target, delayed=self._health[key].stage is Stage.PENDING)

    def _ask_readiness(self, key: Key, target: Target) -> None:
        probe = readiness_of(target.container)
        if probe is not None:
            self._readiness[key] = asyncio.create_task(self._keep_asking(key, target, probe))
            return
        if self._health[key].stage is Stage.UNHEALTHY:  # nothing that it failed counts any more
            self._health[key] = replace(self._health[key], stage=Stage.PENDING, row=0, last=None)
        self._move(key, Event.SUCCESS, Thresholds())
        if self._health[key].stage is Stage.COOLING:
            self._readiness[key] = asyncio.create_task(self._cool(key))

    def _ask_liveness(self, key: Key, target: Target, *, delayed: bool) -> None:
        probe = target.container.liveness
        if probe is not None:
            self._liveness[key] = asyncio.create_task(self._watch_life(key, target, probe, delayed=delayed))

    def _drop(self, key: Key) -> None:
        self._targets.pop(key, None)
        self._begun.pop(key, None)
        self.liveness_failed.discard(key)
        _cancel(self._readiness, key)
        _cancel(self._liveness, key)

    def _rest_of_delay_s(self, key: Key, probe: Probe) -> float:
        return max(0.0, self._begun[key] + probe.initial_delay_s - self._clock())

    async def _keep_asking(self, key: Key, target: Target, probe: Probe) -> None:
        thresholds = Thresholds(rise=max(1, probe.success_threshold), fall=max(1, probe.failure_threshold))
        if self._health[key].stage is Stage.PENDING:
            await asyncio.sleep(self._rest_of_delay_s(key, probe))
        begun = self._clock()
        while True:
            trouble = await ask(probe, target.address, self._runs(key), target.link)
            self._said[key] = trouble or ""
            self._move(key, Event.FAILURE if trouble else Event.SUCCESS, thresholds)
            await asyncio.sleep(_pause(probe, self._health[key], self._clock() - begun))

    async def _cool(self, key: Key) -> None:
        """To run is to be healthy, once it has cooled down."""
        while self._health[key].stage is Stage.COOLING:
            await asyncio.sleep(max(QUICK_S, self._health[key].cool_until - self._clock()))
            self._move(key, Event.SUCCESS, Thresholds())

    async def _watch_life(self, key: Key, target: Target, probe: Probe, *, delayed: bool) -> None:
        """A liveness probe: fails `failure_threshold` times in a row, then the container is to be restarted."""
        if delayed:
            await asyncio.sleep(self._rest_of_delay_s(key, probe))
        failures = 0
        while True:
            trouble = await ask(probe, target.address, self._runs(key), target.link)
            failures = failures + 1 if trouble else 0
            if failures >= max(1, probe.failure_threshold) and key not in self.liveness_failed:
                self._said[key] = trouble or ""
                self.liveness_failed.add(key)
                self._move(key, Event.DEATH, Thresholds())  # out of traffic at once: it is about to be stopped
                self._wake()
            await asyncio.sleep(max(probe.period_s, QUICK_S))

    def _runs(self, key: Key) -> Callable[[tuple[str, ...], float], Awaitable[int]]:
        return lambda command, timeout_s: self._run_inside(key, command, timeout_s)

    def _move(self, key: Key, event: Event, thresholds: Thresholds) -> None:
        before = self._health.get(key, _NEW)
        self._health[key] = after(before, event, thresholds, self._clock())
        if self._health[key].stage is not before.stage:
            self._wake()


def _pause(probe: Probe, health: Health, running_s: float) -> float:
    """Until the next question: its period, or less while it has never answered."""
    period = max(probe.period_s, QUICK_S)
    if health.stage in (Stage.PENDING, Stage.UNKNOWN):
        return min(period, QUICK_S if running_s < QUICK_FOR_S else 1.0)
    return period


def _cancel(tasks: dict[Key, asyncio.Task[None]], key: Key) -> None:
    task = tasks.pop(key, None)
    if task is not None:
        task.cancel()
