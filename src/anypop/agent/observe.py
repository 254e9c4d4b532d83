"""Probes: each container that runs is asked on its own schedule, and its health follows by `judge.health`.

In: the containers that run (`set`), deaths. Out: a verdict per instance, liveness failures, and a call to `wake` whenever one of them
changes. While a container has never answered it is asked quickly, so that its start is not delayed by its period. Judges by local
evidence only.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anypop.agent.observed import Verdict
from anypop.agent.probing import RunInside, ask
from anypop.judge.health import Event, Health, Stage, Thresholds, after
from anypop.model.announce import Address
from anypop.model.reasons import Reason
from anypop.model.workload import Container, Probe, ProbeKind, Protocol

QUICK_S = 0.01
QUICK_FOR_S = 2.0  # most start within this; a slow one is then asked each second at least
DEFAULT = Probe(kind=ProbeKind.TCP, period_s=1, timeout_s=1, success_threshold=1, failure_threshold=3)

Key = tuple[str, str]
"""uid and container name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A container that runs: `pid` tells one life of it from the next. `found`: it ran before this agent did."""

    container: Container
    address: Address
    pid: int
    found: bool


def readiness_of(container: Container) -> Probe | None:
    """The container's probe; without one, a TCP connection to its first TCP port; without a port None: to run is to be healthy."""
    if container.readiness is not None:
        return container.readiness
    port = next((p.port for p in container.ports if p.protocol is Protocol.TCP), None)
    if port is None:
        return None
    return Probe(kind=DEFAULT.kind, port=port, period_s=DEFAULT.period_s, timeout_s=DEFAULT.timeout_s)


class Prober:
    """All probes of a PoP. `run_inside(uid, container)` gives the way to run a command there; `clock` gives seconds since the epoch."""

    def __init__(self, *, wake: Callable[[], None], clock: Callable[[], float], run_inside: Callable[[Key], RunInside]) -> None:
        self._wake = wake
        self._clock = clock
        self._run_inside = run_inside
        self._targets: dict[Key, Target] = {}
        self._tasks: dict[Key, list[asyncio.Task[None]]] = {}
        self._health: dict[Key, Health] = {}
        self._said: dict[Key, str] = {}
        self.liveness_failed: set[Key] = set()

    def set(self, targets: Mapping[Key, Target]) -> None:
        """Probe exactly these. One with a new pid is a new process: asked from the beginning."""
        for key, target in list(self._targets.items()):
            if targets.get(key) != target:
                self._drop(key)
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

    def verdict(self, uid: str, containers: tuple[str, ...]) -> Verdict:
        """The worst of an instance's containers: one that is not healthy, else one that is not known, else healthy."""
        all_ = [(self._health.get((uid, name), Health()), self._said.get((uid, name), "")) for name in containers]
        for wanted in (False, None):
            for health, said in all_:
                if health.healthy is wanted:
                    return Verdict(healthy=wanted, reason=health.reason, message=said)
        return Verdict(healthy=True, reason=Reason.PROBE_PASSED)

    def close(self) -> None:
        for key in list(self._targets):
            self._drop(key)

    def _begin(self, key: Key, target: Target) -> None:
        self._targets[key] = target
        before = self._health.get(key, Health())
        if target.found and key not in self._health:
            self._health[key] = Health(stage=Stage.UNKNOWN)
        else:
            self._health[key] = Health(falls=before.falls, fell_at=before.fell_at, cool_until=before.cool_until)
        readiness, liveness = readiness_of(target.container), target.container.liveness
        tasks = self._tasks.setdefault(key, [])
        if readiness is None:
            self._move(key, Event.SUCCESS, Thresholds())
        else:
            tasks.append(asyncio.create_task(self._keep_asking(key, target, readiness)))
        if liveness is not None:
            tasks.append(asyncio.create_task(self._watch_life(key, target, liveness)))

    def _drop(self, key: Key) -> None:
        self._targets.pop(key, None)
        self.liveness_failed.discard(key)
        for task in self._tasks.pop(key, []):
            task.cancel()

    async def _keep_asking(self, key: Key, target: Target, probe: Probe) -> None:
        thresholds = Thresholds(rise=max(1, probe.success_threshold), fall=max(1, probe.failure_threshold))
        if not target.found:
            await asyncio.sleep(probe.initial_delay_s)
        begun = self._clock()
        while True:
            trouble = await ask(probe, target.address, self._run_inside(key))
            self._said[key] = trouble or ""
            self._move(key, Event.FAILURE if trouble else Event.SUCCESS, thresholds)
            await asyncio.sleep(_pause(probe, self._health[key], self._clock() - begun))

    async def _watch_life(self, key: Key, target: Target, probe: Probe) -> None:
        """A liveness probe: fails `failure_threshold` times in a row, then the container is to be restarted."""
        await asyncio.sleep(probe.initial_delay_s)
        failures = 0
        while True:
            trouble = await ask(probe, target.address, self._run_inside(key))
            failures = failures + 1 if trouble else 0
            if failures >= max(1, probe.failure_threshold) and key not in self.liveness_failed:
                self._said[key] = trouble or ""
                self.liveness_failed.add(key)
                self._move(key, Event.DEATH, Thresholds())  # out of traffic at once: it is about to be stopped
                self._wake()
            await asyncio.sleep(max(probe.period_s, QUICK_S))

    def _move(self, key: Key, event: Event, thresholds: Thresholds) -> None:
        before = self._health.get(key, Health())
        self._health[key] = after(before, event, thresholds, self._clock())
        if self._health[key].stage is not before.stage:
            self._wake()


def _pause(probe: Probe, health: Health, running_s: float) -> float:
    """Until the next question: its period, or less while it has never answered."""
    period = max(probe.period_s, QUICK_S)
    if health.stage in (Stage.PENDING, Stage.UNKNOWN):
        return min(period, QUICK_S if running_s < QUICK_FOR_S else 1.0)
    return period
