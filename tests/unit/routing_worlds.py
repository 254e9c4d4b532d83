"""Random little internets for property tests of the engines. Not a test itself."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from anypop.model.names import CityCode
from anypop.routing.actions import Blackhole, Informational, LocalPreference, SetMed
from anypop.routing.engine.seeds import Policies, Seed
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import Link, Relationships
from anypop.routing.internet.sites import Internet
from anypop.routing.internet.world import build_internet

CITIES = ("LHR", "AMS", "JFK", "LAX", "SIN", "SYD")
# Numbers with dictionaries of every kind, and some without.
ASNS = (174, 209, 1299, 2914, 3257, 3356, 20473, 6939, 64496, 64497)
ORIGIN = 33438
POLICIES = Policies()
STRIPPING = Policies(strips=frozenset({1299, 64496}))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class World:
    internet: Internet
    seeds: tuple[Seed, ...]
    policies: Policies

    def __repr__(self) -> str:
        """Short enough to read in a failure."""
        net = self.internet
        lines = [
            f"{net.name(i)} {word} {net.name(j)}"
            for word, rows in (("provides", net.customers), ("peers", net.peers), ("sibling", net.siblings))
            for i in range(len(net))
            for j in rows.of(i).tolist()
            if word == "provides" or i < j
        ]
        seeds = [
            f"{s.pop} to {net.name(s.site)} customer={s.customer} prepend={s.prepend} {s.communities} key={s.key}"
            for s in self.seeds
        ]
        others = f"strips={sorted(self.policies.strips)} reflectors={sorted(self.policies.reflectors)}"
        others += f" members={sorted(self.policies.members.items())} joined={sorted(self.policies.joined)}"
        return "\n".join(["World", *lines, *seeds, others])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis prints."""
        printer.text(repr(self))


def relationships(rows: list[tuple[int, int, int]]) -> Relationships:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    line = np.arange(1, len(rows) + 1, dtype=np.int64)
    return Relationships(a=table[:, 0].copy(), b=table[:, 1].copy(), kind=table[:, 2].copy(), line=line, file="test")


@st.composite
def worlds(
    draw: st.DrawFn,
    *,
    preferences: bool = True,
    siblings: bool = True,
    communities: bool = True,
    reflectors: bool = False,
) -> World:
    """Customer links go from earlier to later ASes, so there is no loop of providers."""
    asns = draw(st.permutations(ASNS))[: draw(st.integers(2, len(ASNS)))]
    kinds = [Link.PROVIDER, Link.PROVIDER, Link.PEER] + ([Link.SIBLING] if siblings else [])
    rows = []
    for i, a in enumerate(asns):
        for b in asns[i + 1 :]:
            kind = draw(st.sampled_from([None, None, *kinds]))
            if kind is not None:
                rows.append((a, b, int(kind)))
    if not rows:
        rows.append((asns[0], asns[1], int(Link.PROVIDER)))
    places = {asn: tuple(draw(st.lists(st.sampled_from(CITIES), min_size=1, max_size=3, unique=True))) for asn in asns}
    internet = build_internet(
        relationships(rows), Places(cities={a: c for a, c in places.items() if draw(st.booleans()) or len(c) > 1})
    )
    used = sorted(set(internet.asn.tolist()))
    every = [
        entry.numbers
        for asn in used
        for entry in POLICIES.dictionary(asn).concrete(used)
        if not isinstance(entry.action, SetMed | Blackhole | Informational)
        and (preferences or not isinstance(entry.action, LocalPreference))
    ]
    seeds = []
    for index in range(draw(st.integers(1, 4))):
        chosen = draw(st.lists(st.sampled_from(every), max_size=3, unique=True)) if communities else []
        seeds.append(
            Seed(
                pop=CityCode(f"P{draw(st.integers(0, 2))}"),
                upstream=f"u{index}",
                site=draw(st.integers(0, len(internet) - 1)),
                customer=draw(st.booleans()),
                origin=ORIGIN,
                prepend=draw(st.sampled_from([0, 0, 0, 1, 2])),
                communities=tuple(chosen),
                key=draw(st.sampled_from([1, ORIGIN, 4200000000])),
            )
        )
    policies = draw(st.sampled_from([POLICIES, POLICIES, STRIPPING]))
    wide = [(asn, code) for asn, codes in places.items() if asn in used and len(codes) > 2 for code in codes]
    if reflectors and wide:
        policies = replace(policies, reflectors=frozenset(draw(st.lists(st.sampled_from(wide), max_size=6))))
    if reflectors and wide and draw(st.booleans()):
        members = {place: draw(st.integers(1, 3)) for place in wide}
        across = [
            (asn, a, b) for asn, a in wide for other, b in wide if asn == other and members[asn, a] < members[asn, b]
        ]
        some = draw(st.lists(st.sampled_from(across), max_size=6)) if across else []
        joined = frozenset(pair for asn, a, b in some for pair in ((asn, a, b), (asn, b, a)))
        policies = replace(policies, members=members, joined=joined, reflectors=frozenset())
    return World(internet=internet, seeds=tuple(seeds), policies=policies)
