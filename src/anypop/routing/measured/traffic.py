"""What the PoPs' own traffic tells of a catchment: the networks (/24, /48) that came in at each PoP in, observations
out. Pure.

As of addresses that were pinged, one observation for each AS: the PoP where most of its networks came in. The caller
knows the AS of a network.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from anypop.routing.catchment.observations import Told
from anypop.routing.measured.verfploeter import observations

VANTAGE = "traffic: "


def read(
    landed: Mapping[str, Iterable[str]], *, asn_of_prefix: Callable[[str], int | None], at: float
) -> Told:  # fmt: skip
    """`landed`: by PoP; `at`: when, in seconds since the epoch."""
    pops_of: defaultdict[str, set[str]] = defaultdict(set)
    counted: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for pop, sources in landed.items():
        for source in sources:
            pops_of[source].add(pop)
    nameless = 0
    for source, pops in pops_of.items():
        asn = asn_of_prefix(source)
        if asn is None:
            nameless += 1
        else:
            counted[asn].update(pops)
    return Told(
        observations=observations(counted, at=at, vantage=VANTAGE + "{} of {} networks"),
        notes=tuple(_notes(nameless, sum(len(p) > 1 for p in pops_of.values()), counted.values())),
    )


def _notes(nameless: int, split: int, counted: Iterable[Counter[str]]) -> Iterator[str]:
    if nameless:
        yield f"{nameless:,} of the networks have no AS that is known"
    if split:
        yield f"{split:,} of the networks came in at several PoPs: each counts at all of them"
    if several := sum(len(pops) > 1 for pops in counted):
        yield f"{several:,} AS landed in several PoPs: each counts where most of its networks did"
