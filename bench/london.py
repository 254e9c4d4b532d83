"""The London case on a graph as big as the Internet: 3356 sells transit to 209, which is found in the USA alone, and
we announce to 209 there.

A graph without such a link gets it (the public data call the two peers). What the doctor must find stands in the
project's description of the case: the cause at 3356 in Europe, to scope or withdraw 209 at JFK and LAX as the cure,
Los Angeles alone as no cure, and transit from 3356 in Europe as one that hurts more networks than it helps.
"""

from dataclasses import dataclass, replace

import numpy as np

from anypop.model.names import CityCode
from anypop.routing.catchment.doctor import Diagnosis, diagnose
from anypop.routing.catchment.repairs import Repair
from anypop.routing.catchment.sessions import Announcements, Session
from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import Link, Relationships, apply_overrides, read_relationships
from anypop.routing.internet.world import build_internet

_US = ("JFK", "LAX", "ORD", "SEA", "DFW", "ATL")
_CITIES = {
    209: ("JFK", "ORD", "LAX", "SEA"),
    3356: ("LHR", "FRA", "AMS", "JFK", "ORD", "LAX", "SIN", "GRU", "SYD"),
    1299: ("LHR", "FRA", "AMS", "ARN", "JFK", "LAX"),
}
ANNOUNCED = Announcements(
    asn=33438,
    sessions=tuple(
        Session(pop=CityCode(pop), upstream=name, asn=asn)
        for pop, name, asn in (
            ("AMS", "arelion", 1299),
            ("LHR", "arelion", 1299),
            ("JFK", "centurylink", 209),
            ("LAX", "centurylink", 209),
            ("JFK", "arelion", 1299),
            ("LAX", "arelion", 1299),
        )
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The doctor's answer about the cause at 3356 in Europe."""

    diagnosis: Diagnosis
    sentence: str
    repairs: tuple[Repair, ...]


def engine_for_london(links: Relationships, places: Places) -> Engine:
    """The graph with the link that the story turns on, and the places that it needs."""
    customers = set(links.b[(links.a == 209) & (links.kind == Link.PROVIDER)].tolist())
    american = sorted(asn for asn, at in places.cities.items() if len(at) == 1 and at[0] in _US)
    if customers or 209 in links.a or 209 in links.b:
        links = apply_overrides(links, read_relationships(b"3356,209,provider\n", "override", overrides=True))
    else:
        added = american[len(american) // 2 :: 10]
        links = replace(
            links,
            a=np.concatenate([links.a, [3356], np.full(len(added), 209)]),
            b=np.concatenate([links.b, [209], np.array(added)]),
            kind=np.concatenate([links.kind, np.full(1 + len(added), int(Link.PROVIDER))]),
            line=np.concatenate([links.line, np.zeros(1 + len(added), np.int64)]),
        )
    moved = {asn: (_US[asn % len(_US)],) for asn in customers if len(places.of(asn)) == 1}
    return Engine(build_internet(links, Places(cities={**places.cities, **moved, **_CITIES})))


def examine(engine: Engine) -> Findings:
    """Ask the doctor. Raises AssertionError when it does not find what is there."""
    found = diagnose(engine, ANNOUNCED, asn=3356, most_causes=1)
    cause = found.strays.causes[0]
    repairs = found.repairs[0]
    assert (cause.region, cause.landed) == ("EU", "JFK"), cause.sentence
    best = repairs[0]
    assert best.kind in ("scope", "withhold") and {change.pop for change in best.changes} == {"JFK", "LAX"}, best.title
    bought = [repair for repair in repairs if repair.kind == "add upstream" and repair.changes[0].asn == 3356]
    assert bought and all(repair.harmed > best.harmed for repair in bought), [repair.title for repair in bought]
    alone = next(
        repair for repair in repairs if repair.kind == "withhold" and [c.pop for c in repair.changes] == ["LAX"]
    )
    assert alone.cured == 0, alone.title
    return Findings(diagnosis=found, sentence=cause.sentence, repairs=repairs)
