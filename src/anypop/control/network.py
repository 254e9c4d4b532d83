"""The operator's network document: what may replace what is there.

In: a parsed `Network`. Out: the `alter` step for `Core.change`. It refuses what is wrong in itself (a city twice, prefixes that overlap)
and what would leave instances without their PoP.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from anypop.control.core import Alter
from anypop.control.refusals import Precondition
from anypop.control.state import State
from anypop.model.announce import Prefix
from anypop.model.errors import Invalid, Problem
from anypop.model.network import Network, Pop


def change_network(wanted: Network) -> Alter:
    """Put `wanted` in place. Raises `Invalid` at once; the step raises `Precondition` when a PoP that has instances would vanish."""
    problems = [*_names(wanted), *_prefixes(wanted)]
    if problems:
        raise Invalid(problems)

    def alter(state: State, now: float) -> State:
        if wanted == state.network:
            return state
        cities = {pop.city for pop in wanted.pops}
        used = Counter(p.slot.pop for p in state.slots.values()) + Counter(t.slot.pop for t in state.tombstones.values())
        left = {city: count for city, count in sorted(used.items()) if city not in cities}
        if left:
            told = ", ".join(f"{city} ({count} instances)" for city, count in left.items())
            raise Precondition(f"these PoPs still have instances: {told}; take the cities out of the workloads' targets first")
        return replace(state, network=wanted)

    return alter


def _names(network: Network) -> Iterator[Problem]:
    if not 0 < network.asn < 1 << 32:
        yield Problem(path="asn", message="must be an AS number, 1 to 4294967295")
    seen: set[str] = set()
    for index, pop in enumerate(network.pops):
        path = f"pops[{index}]"
        if not pop.city.isalnum() or pop.city != pop.city.upper():
            yield Problem(path=f"{path}.city", message="must be a city code in capital letters, such as LHR")
        if pop.city in seen:
            yield Problem(path=f"{path}.city", message=f"{pop.city} is there already")
        seen.add(pop.city)
        names = Counter(upstream.name for upstream in pop.upstreams)
        for number, upstream in enumerate(pop.upstreams):
            if names[upstream.name] > 1:
                yield Problem(path=f"{path}.upstreams[{number}].name", message=f"{upstream.name} is there twice")


def _prefixes(network: Network) -> Iterator[Problem]:
    """No two of our prefixes may share an address: an address has one owner."""
    owned: list[tuple[str, Prefix]] = [(f"anycast4[{i}]", p) for i, p in enumerate(network.anycast4)]
    owned += [(f"anycast6[{i}]", p) for i, p in enumerate(network.anycast6)]
    for index, pop in enumerate(network.pops):
        owned += [(f"pops[{index}].{name}", prefix) for name, prefix in _external(pop)]
    for (_, a), (path, b) in combinations(owned, 2):
        if a.version == b.version and a.overlaps(b):
            yield Problem(path=path, message=f"{b} overlaps {a}")


def _external(pop: Pop) -> list[tuple[str, Prefix]]:
    return [("external4", pop.external4), ("external6", pop.external6)]
