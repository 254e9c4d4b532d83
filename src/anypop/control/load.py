"""What the instances of targets use that follow their load, by what hosts have told; and what stands in the way of
having more or fewer of them: rollouts, drains, dials, hosts that say nothing.

In: control's state and the time. Out: a `Look` for each target in each PoP. What is not known is told as that. Pure.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anypop.control.state import Declaration, Placed, State
from anypop.judge.verdict import is_fresh
from anypop.model.dial import WHOLE
from anypop.model.drain import DrainKind
from anypop.model.names import CityCode, HostName
from anypop.model.report import InstanceReport, Phase
from anypop.model.rollout import RolloutKind
from anypop.model.scaling import Scaled
from anypop.model.workload import Target, Workload
from anypop.plan.dials import keeps
from anypop.plan.life import starts_within_s, taken
from anypop.plan.scaling import STARTS_S, Look, ordinals_of

_OfHost = tuple[Mapping[str, InstanceReport], Mapping[str, int], Mapping[str, int]]


@dataclass(slots=True)
class Told:
    """What hosts have told, each read once."""

    state: State
    now: float
    _told: dict[HostName, _OfHost | None] = field(default_factory=dict)

    def of(self, host: HostName) -> _OfHost | None:
        """Of its incarnations, and of those that are measured their use and their connections; None: it says nothing
        that may be believed.
        """
        if host not in self._told:
            received = self.state.reports.get(host)
            if received is None or not is_fresh(received, self.now):
                self._told[host] = None
            else:
                report = received.report
                self._told[host] = (
                    {i.uid: i for i in report.instances}, dict(report.measured), dict(report.flows)
                )  # fmt: skip
        return self._told[host]


class Load:
    """One workload at the time of a look."""

    def __init__(self, told: Told, declared: Declaration) -> None:
        self.told, self.state, self.now = told, told.state, told.now
        self.workload: Workload = declared.workload
        self.lives: dict[tuple[str, CityCode], dict[int, list[Placed]]] = defaultdict(dict)
        self.cities: set[CityCode] = set()
        self.silent: dict[CityCode, HostName] = {}
        for placed in self.state.incarnations_of(declared.id).values():
            life = placed.incarnation
            self.lives[life.target, life.pop].setdefault(life.ordinal, []).append(placed)
            self.cities.add(life.pop)
            if told.of(life.host) is None:
                self.silent[life.pop] = min(life.host, self.silent.get(life.pop, life.host))
        self.thresholds: dict[tuple[str, int], int] = {}
        self.starts_s = max(STARTS_S, starts_within_s(self.workload))

    def look(self, target: Target, city: CityCode, was: Scaled) -> Look:
        """Who of a target serves in a city, and what they use."""
        slots, wanted = self.lives.get((target.name, city), {}), ordinals_of(target, was)
        count = len(wanted)
        loads: list[float] = []  # of those that serve
        others = 0.0
        starting = unwell = 0
        blind: list[str] = []
        not_ready: set[int] = set()
        for ordinal in wanted:
            lives = slots.get(ordinal)
            if lives is None:
                not_ready.add(ordinal)
                continue
            ready = [p for p in lives if self._is_ready(p)]
            known = [load for p in lives if (load := self._load(target, p)) is not None]
            name = str(lives[-1].incarnation.name)
            if any(self.told.of(p.incarnation.host) is None for p in lives):
                blind.append(name)
                unwell += 1
                not_ready.add(ordinal)
            elif not ready:
                not_ready.add(ordinal)
                young = all(self.now < p.created_at + self.starts_s for p in lives)
                starting, unwell = starting + young, unwell + (not young)
                others += sum(known)
            elif known:
                loads.append(sum(known))
            else:
                blind.append(name)
        load = None
        if loads:  # those of which nothing is known use what the others do, as far as anybody knows
            load = sum(loads) * (count - len(not_ready)) / len(loads) + others
        held, frozen = self._in_the_way(city)
        return Look(
            at=self.now,
            least=target.replicas,
            most=target.most,
            load=load,
            starting=starting,
            unwell=unwell,
            unplaced=sum(n not in slots for n in wanted),
            blind=tuple(blind),
            not_ready=frozenset(not_ready),
            held=held,
            frozen=frozen,
            flows=tuple((n, told) for n in wanted if (told := self._flows(slots.get(n, ()))) is not None),
        )

    def _report(self, placed: Placed) -> InstanceReport | None:
        known = self.told.of(placed.incarnation.host)
        return known[0].get(placed.incarnation.uid) if known is not None else None

    def _is_ready(self, placed: Placed) -> bool:
        report = self._report(placed)
        host = placed.incarnation.host
        return report is not None and report.healthy and report.phase is Phase.RUNNING and host not in self.state.lost

    def _load(self, target: Target, placed: Placed) -> float | None:
        """In thresholds of what it was made from."""
        known = self.told.of(placed.incarnation.host)
        millis = known[1].get(placed.incarnation.uid) if known is not None else None
        if millis is None or target.scale is None:
            return None
        revision = placed.incarnation.revision
        threshold = self.thresholds.get((target.name, revision))
        if threshold is None:
            made_from = self.state.revision(self.workload.id, revision)
            asked, _ = taken(made_from.workload if made_from is not None else self.workload)
            threshold = self.thresholds[target.name, revision] = target.scale.threshold(asked)
        return millis / threshold

    def _flows(self, lives: Sequence[Placed]) -> int | None:
        """The open connections of a slot; None: a host does not tell."""
        found = 0
        for placed in lives:
            known = self.told.of(placed.incarnation.host)
            told = known[2].get(placed.incarnation.uid) if known is not None else None
            if told is None:
                return None
            found += told
        return found

    def _in_the_way(self, city: CityCode) -> tuple[str, str]:
        """Why nobody of it may be taken away in a city now, and why nobody may be added there either."""
        state, workload = self.state, self.workload.id
        for drain in state.drains_at(city):
            if drain.kind is DrainKind.POP:
                text = f"{city} is drained"
                return text, text
            if drain.kind is not DrainKind.INSTANCE or drain.workload_id == workload:
                return f"{drain.target} is drained", ""
        rollout = state.rollout_of(workload, RolloutKind.UPDATE)
        if rollout is not None:
            return "an update of it is under way", ""
        for other in sorted(self.cities - {city}):
            if any(d.kind is DrainKind.POP for d in state.drains_at(other)):
                return f"{other} is drained, and its traffic goes elsewhere", ""
        if self.silent:
            where, host = min(self.silent.items())
            return f"{host} in {where} says nothing, and its traffic may come here", ""
        if (kept := keeps(state.dials.values(), city, workload)) < WHOLE:
            return f"{city} is dialled to {kept} %, and what left may come back", ""
        return "", ""
