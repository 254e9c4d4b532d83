"""Random internets of 5 to 40 networks and what we announce in them: the input of the comparison, by seed.

Goes out: a `World`, a topology document (as in a topology file) and four announcements of ours with prepends and
communities. Nothing in it is shaped to please the model: networks with routers on several continents, backbones that
are not full meshes, several links between two networks, PoPs with upstreams in other cities, peers as upstreams,
communities of networks on the way. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

import yaml

from anypop.lab import topology_read
from anypop.lab.topology import Topology
from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.routing.actions import Blackhole, Informational
from anypop.routing.dictionary import for_asn, known_asns

OWN_ASN = 64512
PREFIXES = 4  # as many announcements as a topology must have covering prefixes
_CITIES = ("AMS", "LHR", "FRA", "JFK", "LAX", "ORD", "SIN", "NRT", "SYD", "GRU", "JNB")
_MOST_UPSTREAMS = 3
_MOST_VANTAGES = 6

Session = tuple[str, str]  # PoP's city, name of its upstream


@dataclass(frozen=True)
class World:
    """`document`: the topology. `scopes[k]`: how the k-th covering prefix is announced over each session; plain
    where it is silent.
    """

    seed: int
    document: Mapping[str, Any]
    scopes: tuple[Mapping[Session, Scope], ...]

    @cached_property
    def topology(self) -> Topology:
        """Raises `Invalid` where the document cannot be a topology."""
        return topology_read.load(yaml.safe_dump(dict(self.document)), name=f"agreement-{self.seed}")

    def scope(self, k: int) -> dict[tuple[CityCode, str], Scope]:
        """The k-th announcement, with the sessions that there are."""
        there = {(str(pop.city), up.name) for pop in self.topology.own.pops for up in pop.upstreams}
        return {(CityCode(pop), name): scope for (pop, name), scope in self.scopes[k].items() if (pop, name) in there}

    def text(self, k: int | None = None) -> str:
        """The topology as a file, with the k-th announcement (None: all) as comments."""
        said = []
        for number in range(PREFIXES) if k is None else [k]:
            for (pop, name), scope in sorted(self.scope(number).items()):
                words = "withheld" if scope.mode is Mode.WITHHOLD else f"prepend {scope.prepend}, {_spelled(scope)}"
                said.append(f"# announcement {number}: {pop} to {name}: {words}")
        return (
            yaml.safe_dump(dict(self.document), sort_keys=False, default_flow_style=None, width=140)
            + "\n".join(said)
            + "\n"
        )


def _spelled(scope: Scope) -> str:
    every = (*scope.communities, *scope.large_communities)
    return " ".join(":".join(map(str, community)) for community in every) or "no communities"


def world(seed: int, *, ases: int | None = None) -> World:
    """The world of a seed; `ases` fixes the number of networks besides ours (default: 5 to 40, by the seed)."""
    dice = Random(seed)
    count = ases or dice.randint(5, 40)
    asns = [64600 + i if i % 4 else 4_200_000_000 + i for i in range(count)]
    systems = [_system(dice, asn) for asn in asns]
    links = _links(dice, systems)
    pops = _pops(dice, systems)
    dice.shuffle(systems)  # the order gives router ids, which decide ties
    access = dice.sample(systems, min(len(systems), _MOST_VANTAGES))
    vantages = [
        {"name": f"v{i}", "city": dice.choice(system["cities"]), "asn": system["asn"]}
        for i, system in enumerate(access)
    ]
    document = {
        "name": f"agreement-{seed}",
        "ases": systems,
        "links": links,
        "vantages": vantages,
        "anypop": {
            "asn": OWN_ASN,
            "anycast4": [f"198.18.{i}.0/24" for i in range(PREFIXES)],
            "anycast6": [f"2001:db8:a{i}::/48" for i in range(PREFIXES)],
            "pops": pops,
        },
    }
    said = _Vocabulary(systems, links)
    return World(
        seed=seed, document=document, scopes=tuple(_scopes(dice, pops, said, plain=k == 0) for k in range(PREFIXES))
    )


def _system(dice: Random, asn: int) -> dict[str, Any]:
    places = dice.sample(_CITIES, dice.choice((1, 1, 1, 2, 2, 3, 4)))
    system: dict[str, Any] = {"asn": asn, "cities": places}
    if len(places) > 1:
        joined = {(place, dice.choice(places[:i])) for i, place in enumerate(places) if i}
        joined |= {(b, a) for i, a in enumerate(places) for b in places[i + 1 :] if dice.random() < 0.3} - {
            (b, a) for a, b in joined
        }
        system["internal"] = sorted(f"{a}-{b}" for a, b in joined)
    if dice.random() < 0.75:
        system["communities"] = dice.choice(known_asns())
    return system


def _links(dice: Random, systems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Customers stand behind their providers, so nobody is its own provider. Every network is joined to an earlier
    one.
    """
    degree = dice.choice((1.5, 2.5, 4.0))
    found = []
    for i, system in enumerate(systems[1:], start=1):
        others = set(dice.sample(range(i), min(i, 1 + int(dice.expovariate(1 / degree)))))
        for j in sorted(others):
            kind = "customer-provider" if dice.random() < 0.7 else "peer"
            found.append(
                {
                    "a": system["asn"],
                    "b": systems[j]["asn"],
                    "relationship": kind,
                    "at": _meetings(dice, system, systems[j]),
                }
            )
    return found


def _meetings(dice: Random, a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    pairs = [(x, y) for x in a["cities"] for y in b["cities"]]
    near = [pair for pair in pairs if pair[0] == pair[1]]
    chosen = set(dice.sample(near or pairs, min(len(near or pairs), dice.choice((1, 1, 2, 3)))))
    if dice.random() < 0.2:
        chosen.add(dice.choice(pairs))
    return sorted(x if x == y else f"{x}-{y}" for x, y in chosen)


def _pops(dice: Random, systems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pops = []
    routers = [(system["asn"], place) for system in systems for place in system["cities"]]
    for i, place in enumerate(dice.sample(_CITIES, dice.randint(1, 5))):
        near = [router for router in routers if router[1] == place]
        chosen = dice.sample(near, min(len(near), dice.randint(1, _MOST_UPSTREAMS)))
        if not chosen or dice.random() < 0.2:
            chosen = sorted({*chosen, dice.choice(routers)})[:_MOST_UPSTREAMS]
        upstreams = [
            {
                "name": f"u{n}",
                "asn": asn,
                "city": at,
                "kind": dice.choice(("transit", "transit", "transit", "peer", "ixp")),
            }
            for n, (asn, at) in enumerate(chosen)
        ]
        pops.append(
            {"city": place, "external4": f"198.19.{i}.0/24", "external6": f"2001:db8:b{i}::/48", "upstreams": upstreams}
        )
    return pops


class _Vocabulary:
    """The communities that somebody acts on, by who it is and by the kind of action; none that drop traffic."""

    def __init__(self, systems: list[dict[str, Any]], links: list[dict[str, Any]]) -> None:
        self.neighbours: dict[int, set[int]] = {system["asn"]: set() for system in systems}
        for link in links:
            self.neighbours[link["a"]].add(link["b"])
            self.neighbours[link["b"]].add(link["a"])
        self.entries: dict[int, dict[str, list[tuple[int, ...]]]] = {}
        for system in systems:
            kinds: dict[str, list[tuple[int, ...]]] = {}
            for entry in for_asn(system.get("communities", 0)).concrete(sorted(self.neighbours[system["asn"]])):
                if not isinstance(entry.action, Blackhole | Informational):
                    kinds.setdefault(type(entry.action).__name__, []).append(entry.value)
            self.entries[system["asn"]] = kinds

    def choose(self, dice: Random, upstream: int) -> tuple[int, ...]:
        """A community that the upstream understands, or mostly a network behind it: most others would never have an
        effect.
        """
        near = sorted(self.neighbours[upstream])
        reached = dice.choice([upstream, upstream, *near, dice.choice(sorted(self.entries))])
        kinds = self.entries[reached]
        return dice.choice(kinds[dice.choice(sorted(kinds))])


def _scopes(dice: Random, pops: list[dict[str, Any]], said: _Vocabulary, *, plain: bool) -> dict[Session, Scope]:
    """How one prefix is announced. At least one session is not withheld."""
    sessions = {(pop["city"], upstream["name"]): upstream["asn"] for pop in pops for upstream in pop["upstreams"]}
    kept = dice.choice(sorted(sessions))
    found = {}
    for session, upstream in sessions.items() if not plain else []:
        if session != kept and dice.random() < 0.15:
            found[session] = Scope(mode=Mode.WITHHOLD)
            continue
        chosen = {said.choose(dice, upstream) for _ in range(dice.choice((0, 1, 1, 2, 4)))}
        found[session] = Scope(
            prepend=dice.choice((0, 0, 1, 2, 3)),
            communities=tuple(sorted((c[0], c[1]) for c in chosen if len(c) == 2)),
            large_communities=tuple(sorted((c[0], c[1], c[2]) for c in chosen if len(c) == 3)),
        )
    return found
