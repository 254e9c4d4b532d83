"""Networks that a host was reached from: what its kernel's sample of connections tells control.

In: nothing. Out: `Sources`, as an agent gives it, and what of it no honest agent sends. A network is a /24 (IPv4) or a
/48 (IPv6) and nothing finer: no address of anybody is in it.
"""

from dataclasses import dataclass

from anypop.model.announce import Prefix
from anypop.model.errors import Problem

LENGTHS = {4: 24, 6: 48}
MOST_SOURCES = 4096  # in one message: 100 KB; also what a host remembers of one of our prefixes between two
LEAST_OF = 100  # one of at least so many connections is looked at
MOST_OF = 1_000_000
SHORTEST_LOOK_S, LONGEST_LOOK_S = 1.0, 3600.0
_LONGEST_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFrom:
    """Networks that came in for one covering prefix of ours."""

    prefix: Prefix
    sources: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All of them were seen in the last `for_s` seconds. With none, the host says that it looks."""

    for_s: float
    seen: tuple[SeenFrom, ...] = ()


def excess(told: Sources) -> list[Problem]:
    """What is too much, or too fine, with the path of its field."""
    if not 0 <= told.for_s <= _LONGEST_S:
        return [Problem(path="for_s", message=f"must be a number of seconds, 0 to {_LONGEST_S:.0f}")]
    if sum(len(one.sources) for one in told.seen) > MOST_SOURCES or len(told.seen) > MOST_SOURCES:
        return [Problem(path="seen", message=f"has more than {MOST_SOURCES} networks")]
    return [
        Problem(path=f"seen[{at}].sources", message=f"must be networks of IPv{one.prefix.version}, as long as a /"
                f"{LENGTHS[one.prefix.version]}")
        for at, one in enumerate(told.seen)
        if any(s.version != one.prefix.version or s.prefixlen != LENGTHS[s.version] for s in one.sources)
    ]  # fmt: skip
