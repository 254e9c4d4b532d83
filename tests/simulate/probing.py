"""Health on a simulated host: the agent's own book of it (`Probes`), with questions that cost no time of ours.

In: the containers that run, what their programs answer, probes that lie. Out: verdicts, by the agent's own rules. A
question is asked as long as its answer can change anything: who is healthy and answers is not asked until that changes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from anypop.agent.decide.elements import Key
from anypop.agent.observe.probes import Place, Probes, Target, _pause, _questions
from anypop.judge.health import Event, Stage, Thresholds
from anypop.model.workload import Probe
from tests.simulate.invariants import comes_back_slower_than_it_fell

if TYPE_CHECKING:
    from tests.simulate.host import Host

_SETTLED = {
    (Stage.PENDING, Event.FAILURE),
    (Stage.HEALTHY, Event.SUCCESS),
    (Stage.UNHEALTHY, Event.FAILURE),
}


class SimulatedProbes(Probes):
    """See the module. One of one life of the agent."""

    def __init__(self, host: "Host", wake: Callable[[], None]) -> None:
        async def never(*_: object) -> int:
            raise AssertionError("nothing is run inside")

        super().__init__(wake=wake, clock=host.clock, run_inside=never)
        self._host = host
        self._asking: set[Place] = set()
        self._falls: dict[Place, list[float]] = {}
        self._row: dict[Place, int] = {}
        self._fell_by_failures: set[Place] = set()
        self.over = False

    def again(self, uid: str) -> None:
        """What it answers has changed: every question is asked until that is known."""
        for key, target in self._targets.items():
            if key[0] == uid:
                self._ask_readiness(key, target)

    def knows(self, uid: str, version: int | None = None) -> bool | None:
        """Whether it is known to answer: in that family, or in any. One that is asked in none (0) is so in all."""
        found = [h.healthy for (key, v), h in self._health.items() if key[0] == uid and (version in (None, v) or not v)]
        return True if True in found else None if not found or None in found else False

    def _ask_readiness(self, key: Key, target: Target) -> None:
        questions = _questions(target.container)
        for version in self._asked[key]:
            place = (key, version)
            if place not in self._asking:
                self._asking.add(place)
                delay = 0.0 if questions else 0.001
                self._host.world.after(delay, lambda place=place: self._ask_once(place, target.pid))  # type: ignore[misc]

    def _ask_liveness(self, key: Key, target: Target, *, delayed: bool) -> None:
        assert target.container.liveness is None, "not simulated"

    def _ask_once(self, place: Place, pid: int) -> None:
        key, version = place
        self._asking.discard(place)
        target = self._targets.get(key)
        if self.over or target is None or target.pid != pid:
            return
        questions = _questions(target.container)
        probe = (
            questions[0]
            if questions
            else Probe(kind=target.container.readiness.kind)
            if target.container.readiness
            else None
        )
        lies = self._host.probes_lie
        well = True if not questions else self._host.answers(key[0], version) if lies is None else lies
        thresholds = (
            Thresholds(rise=max(1, probe.success_threshold), fall=max(1, probe.failure_threshold))
            if probe is not None
            else Thresholds()
        )
        event = Event.SUCCESS if well else Event.FAILURE
        self._said[place] = "" if well else "connection refused"
        before = self._health[place].healthy
        self._move(place, event, thresholds)
        health = self._health[place]
        self._note(place, before, health.healthy, event, thresholds)
        if (health.stage, event) in _SETTLED:
            return
        own = target.container.readiness is None
        pause = _pause(probe, health, 0.0, own=own) if probe is not None else 0.5
        if health.stage is Stage.COOLING and well:
            pause = max(pause, health.cool_until - self._clock() + 0.01)
        self._asking.add(place)
        self._host.world.after(pause, lambda: self._ask_once(place, pid))

    def _note(self, place: Place, before: bool | None, now: bool | None, event: Event, needed: Thresholds) -> None:
        """The same facts beside the book, for the invariant."""
        count = self._row[place] = self._row.get(place, 0) + 1 if event is Event.SUCCESS else 0
        falls = self._falls.setdefault(place, [])
        if before is not False and now is False:
            falls.append(self._clock())
            self._fell_by_failures.add(place)
        elif before is False and now is True:
            slow = needed.rise + needed.fall if place in self._fell_by_failures else 1
            comes_back_slower_than_it_fell(falls, count, slow, self._clock())
            self._fell_by_failures.discard(place)

    def _begin(self, key: Key, target: Target) -> None:
        """A new process has failed nothing: one that was restarted by an order has not died either."""
        self._fell_by_failures -= {p for p in self._fell_by_failures if p[0] == key}
        super()._begin(key, target)

    def died(self, key: Key) -> None:
        for place in (p for p in self._health if p[0] == key):
            if self._health[place].healthy is not False:
                self._falls.setdefault(place, []).append(self._clock())
            self._fell_by_failures.discard(place)
            self._row[place] = 0
        super().died(key)
        self._asking = {p for p in self._asking if p[0] != key}

    def damps(self, uid: str) -> bool:
        """Whether it fell so often that it comes back late."""
        return any(p[0][0] == uid and h.cool_until > self._clock() for p, h in self._health.items())
