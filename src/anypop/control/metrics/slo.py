"""How well an anycast address leads people to where it should: what vantages saw, kept as numbers.

In: where each vantage landed, and in which PoP it should. Out: for each workload and vantage whether it did, how much
longer its way is, and how often it changed; and which share of them each PoP should have. Nothing is stored: a store of
metrics makes the history of it. It asks nobody.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from anypop.model.cities import distance_km, find_city
from anypop.model.names import CityCode, WorkloadId
from anypop.model.rollout import Landing

OBJECTIVE = 0.95  # the share of vantages that should land where they should
LIGHT_KM_S = 200_000.0  # in fibre


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Of one vantage. `pop`: where it landed last (None: nowhere); `expected`: where it should. `flips`: changes from
    one PoP to another so far.
    """

    vantage: str
    expected: CityCode
    pop: CityCode | None
    extra_s: float
    flips: int = 0

    @property
    def landed(self) -> bool:
        return self.pop == self.expected


@dataclass(slots=True)
class Objective:
    """Of all workloads with an anycast address, by workload and vantage."""

    seen: dict[WorkloadId, dict[str, Seen]] = field(default_factory=dict)
    at: dict[WorkloadId, float] = field(default_factory=dict)

    def saw(
        self, workload: WorkloadId, landings: Iterable[Landing], expected: Mapping[str, CityCode],
        cities: Mapping[str, CityCode], *, at: float,
    ) -> None:  # fmt: skip
        """One look. A vantage that could not ask tells nothing, and what it saw before does not count any more. Where
        nobody gets an answer nothing is served, which is another matter than where people land.
        """
        before, now = self.seen.get(workload, {}), dict[str, Seen]()
        looked = list(landings)
        served = any(one.answered for one in looked)
        for one in looked:
            if not served or not one.asked or one.vantage not in expected:
                continue
            made = Seen(
                vantage=one.vantage,
                expected=expected[one.vantage],
                pop=one.pop if one.answered else None,
                extra_s=extra_s(cities[one.vantage], one.pop, expected[one.vantage]),
            )
            was = before.get(one.vantage)
            flipped = was is not None and None not in (was.pop, made.pop) and was.pop != made.pop
            now[one.vantage] = replace(made, flips=(was.flips if was is not None else 0) + flipped)
        self.seen[workload], self.at[workload] = now, at

    def keep(self, workloads: Iterable[WorkloadId]) -> None:
        """Forget all others."""
        wanted = set(workloads)
        for gone in self.seen.keys() - wanted:
            del self.seen[gone], self.at[gone]

    def shares(self, workload: WorkloadId) -> Mapping[CityCode, float]:
        """Which share of the vantages each PoP should have."""
        seen = self.seen.get(workload, {})
        counted = Counter(one.expected for one in seen.values())
        return {pop: number / len(seen) for pop, number in sorted(counted.items())}

    def each(self) -> Iterator[tuple[WorkloadId, Seen]]:
        for workload, seen in sorted(self.seen.items()):
            for _, one in sorted(seen.items()):
                yield workload, one


def extra_s(city: CityCode, landed: CityCode | None, expected: CityCode) -> float:
    """How much longer there and back takes light to where one landed than to where one should; never less than 0."""
    here, there, right = find_city(city), find_city(landed) if landed else None, find_city(expected)
    if here is None or there is None or right is None:
        return 0.0
    return max(0.0, 2 * (distance_km(here, there) - distance_km(here, right)) / LIGHT_KM_S)
