"""Random internets of 5 to 40 networks and what we announce in them: the input of the comparison, by seed.

Goes out: a `World`, a topology document (as in a topology file) and four announcements of ours with prepends and
communities. Nothing in it is shaped to please the model: networks with routers on several continents, backbones that
are not full meshes, some of them with route reflectors or confederations, several links between two networks, links
with IPv6 alone, siblings, exchanges with a route server, networks that strip communities or compare MED in their own
way, PoPs with upstreams in other cities, peers as upstreams, communities of networks on the way. Each announcement but
the first, which is plain, has a theme: a kind of community that one network near us understands, so that every rule of
the model is tried often. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from random import Random
from typing import Any

import yaml

from anypop.lab import topology_read
from anypop.lab.topology import Habit, Topology
from anypop.model.announce import ExtendedCommunity, Mode, Scope
from anypop.model.names import CityCode
from anypop.model.scopes import community_text
from anypop.routing.actions import (
    EVERYWHERE,
    Blackhole,
    ExportTo,
    Informational,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Prepend,
    SetMed,
)
from anypop.routing.dictionary import for_asn, known_asns, well_known
from anypop.routing.entries import Entry

OWN_ASN = 64512
PREFIXES = 4  # as many announcements as a topology must have covering prefixes
_CITIES = ("AMS", "LHR", "FRA", "JFK", "LAX", "ORD", "SIN", "NRT", "SYD", "GRU", "JNB")
_MOST_UPSTREAMS = 3
_MOST_VANTAGES = 6
_RICH = (209, 3257, 6939)  # dictionaries with MED, large communities and every place
_FIRST_SERVER = 65400  # AS numbers of route servers begin here
_FIRST_MEMBER = 4_210_000_000  # and those of members of confederations here


def _place(entry: Entry) -> Any:
    return getattr(entry.action, "where", EVERYWHERE)


# What the communities of an announcement are about
_THEMES: Mapping[str, Callable[[Entry], bool]] = {
    "med": lambda entry: isinstance(entry.action, SetMed),
    "export-to": lambda entry: isinstance(entry.action, ExportTo),
    "local-preference": lambda entry: isinstance(entry.action, LocalPreference) and not entry.is_well_known,
    "large": lambda entry: len(entry.value) == 3,
    "no-export-to": lambda entry: isinstance(entry.action, NoExportTo) and not entry.is_well_known,
    "keep-in-region": lambda entry: isinstance(entry.action, KeepInRegion),
    "blackhole": lambda entry: isinstance(entry.action, Blackhole),
    "announced": lambda entry: _place(entry).announced,
    "prepend": lambda entry: isinstance(entry.action, Prepend),
    "region": lambda entry: bool(_place(entry).regions),
    **{f"well-known {known.text}": lambda entry, known=known: entry == known for known in well_known()},  # type: ignore[misc]
}

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
        return {
            (CityCode(pop), name): said for (pop, name), said in self.scopes[k].items() if (pop, name) in self._there
        }

    @cached_property
    def _there(self) -> frozenset[Session]:
        return frozenset((str(pop.city), up.name) for pop in self.topology.own.pops for up in pop.upstreams)

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
    return " ".join(map(community_text, scope.every_community)) or "no communities"


def world(seed: int, *, ases: int | None = None) -> World:
    """The world of a seed; `ases` fixes the number of networks besides ours (default: 5 to 40, by the seed)."""
    dice = Random(seed)
    number = ases or dice.randint(5, 40)
    asns = [64600 + i if i % 4 else 4_200_000_000 + i for i in range(number)]
    systems = [_system(dice, asn) for asn in asns]
    links = _links(dice, systems)
    servers, peerings = _exchanges(dice, systems)
    links += peerings
    _reflect(Random(f"reflectors of {seed}"), systems)
    _confederate(Random(f"confederations of {seed}"), systems)
    access = dice.sample(systems, min(len(systems), _MOST_VANTAGES))
    systems += servers
    pops = _pops(dice, systems)
    dice.shuffle(systems)  # the order gives router ids, which decide ties
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
        seed=seed,
        document=document,
        scopes=({}, *(_scopes(dice, pops, said, seed, k) for k in range(1, PREFIXES))),
    )


def _theme(seed: int, k: int) -> str:
    """All of them in turn over the seeds; MED often, since it decides late and has rules of its own."""
    names = (*_THEMES, "med", "med")
    return names[(seed * (PREFIXES - 1) + k) % len(names)]


def _system(dice: Random, asn: int) -> dict[str, Any]:
    places = dice.sample(_CITIES, dice.choice((1, 1, 1, 2, 2, 3, 4)))
    system: dict[str, Any] = {"asn": asn, "cities": places}
    if len(places) > 1:
        joined = {(place, dice.choice(places[:i])) for i, place in enumerate(places) if i}
        joined |= {(b, a) for i, a in enumerate(places) for b in places[i + 1 :] if dice.random() < 0.3} - {
            (b, a) for a, b in joined
        }
        system["internal"] = sorted(f"{a}-{b}" for a, b in joined)
    if dice.random() < 0.85:
        system["communities"] = dice.choice((*known_asns(), *_RICH * 3))
    habits = {Habit.STRIPS_COMMUNITIES: 0.1, Habit.COMPARES_MED_ALWAYS: 0.5, Habit.MISSING_MED_IS_WORST: 0.5}
    system["habits"] = [str(habit) for habit, often in habits.items() if dice.random() < often]
    return system


def _reflect(dice: Random, systems: list[dict[str, Any]]) -> None:
    """Route reflectors, all routers but one at most, in half of the networks of three and more. By dice of its own."""
    for system in systems:
        if len(system["cities"]) > 2 and dice.random() < 0.5:
            system["reflectors"] = dice.sample(system["cities"], dice.randint(1, len(system["cities"]) - 1))


def _confederate(dice: Random, systems: list[dict[str, Any]]) -> None:
    """Confederations of two members or more in most of the networks of three cities and more without reflectors. By
    dice of its own.

    Two members meet along one internal link, and in no circle: where they meet twice, two routers can each prefer what
    the other one handed on (nothing in a member's route says how many members it passed), and it is a matter of
    milliseconds which of two ends they find.
    """
    numbers = count(_FIRST_MEMBER)
    for system in systems:
        links = system.get("internal", [])
        if len(system["cities"]) < 3 or "reflectors" in system or dice.random() < 0.2:
            continue
        cut = dice.sample(links, dice.randint(1, len(system["cities"]) - 1))
        parts = _parts(system["cities"], [link for link in links if link not in cut])
        if len(parts) == len(cut) + 1:
            system["confederation"] = [{"asn": next(numbers), "cities": part} for part in parts]


def _parts(cities: list[str], links: list[str]) -> list[list[str]]:
    """The cities, grouped by what links join."""
    found = [[city] for city in cities]
    for link in links:
        a, b = (next(part for part in found if end in part) for end in link.split("-"))
        if a is not b:
            found.remove(b)
            a += b
    return found


def _exchanges(dice: Random, systems: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Up to two route servers, each in a city where several networks are, and the peerings with them."""
    members = {place: [s for s in systems if place in s["cities"]] for place in _CITIES}
    places = [place for place in _CITIES if len(members[place]) > 1]
    servers: list[dict[str, Any]] = []
    peerings = []
    for asn, place in enumerate(dice.sample(places, min(len(places), dice.choice((0, 0, 0, 1, 2)))), _FIRST_SERVER):
        servers.append({"asn": asn, "cities": [place], "habits": [str(Habit.ROUTE_SERVER)]})
        chosen = dice.sample(members[place], dice.randint(2, min(5, len(members[place]))))
        peerings += [{"a": s["asn"], "b": asn, "relationship": "peer", "at": [place]} for s in chosen]
    return servers, peerings


def _links(dice: Random, systems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Customers stand behind their providers, so nobody is its own provider. Every network is joined to an earlier
    one. Siblings stand side by side, so no customer of one is a provider of the other.
    """
    degree = dice.choice((1.5, 2.5, 4.0))
    found = []
    for i, system in enumerate(systems[1:], start=1):
        others = set(dice.sample(range(i), min(i, 1 + int(dice.expovariate(1 / degree)))))
        for j in sorted(others):
            kind = "customer-provider" if dice.random() < 0.7 else "peer"
            if j == i - 1 and dice.random() < 0.3:
                kind = "sibling"
            at = _meetings(dice, system, systems[j])
            link = {"a": system["asn"], "b": systems[j]["asn"], "relationship": kind, "at": at}
            if dice.random() < 0.12:
                link["family"] = dice.choice((6, 6, 6, 4))
            found.append(link)
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
                "kind": "ixp"
                if _FIRST_SERVER <= asn < _FIRST_SERVER + 2
                else dice.choice(("transit", "transit", "transit", "peer", "ixp")),
            }
            for n, (asn, at) in enumerate(chosen)
        ]
        pops.append(
            {"city": place, "external4": f"198.19.{i}.0/24", "external6": f"2001:db8:b{i}::/48", "upstreams": upstreams}
        )
    return pops


class _Vocabulary:
    """The communities that somebody acts on, by who it is and by the kind of action."""

    def __init__(self, systems: list[dict[str, Any]], links: list[dict[str, Any]]) -> None:
        self.neighbours: dict[int, set[int]] = {system["asn"]: set() for system in systems}
        for link in links:
            self.neighbours[link["a"]].add(link["b"])
            self.neighbours[link["b"]].add(link["a"])
        known: dict[int, list[Entry]] = {
            system["asn"]: [
                entry
                for entry in for_asn(system.get("communities", 0)).concrete(sorted(self.neighbours[system["asn"]]))
                if not isinstance(entry.action, Informational)
            ]
            for system in systems
        }
        self.entries = {asn: [entry for entry in some if not entry.is_extended] for asn, some in known.items()}
        self.extended = {asn: [entry for entry in some if entry.is_extended] for asn, some in known.items()}

    def choose(self, dice: Random, upstream: int) -> tuple[int, ...]:
        """A community that the upstream understands, or mostly a network behind it: most others would never have an
        effect. None that drops traffic, after which there is little to see.
        """
        near = sorted(self.neighbours[upstream])
        reached = dice.choice([upstream, upstream, *near, dice.choice(sorted(self.entries))])
        kinds: dict[str, list[tuple[int, ...]]] = {}
        for entry in self.entries[reached]:
            if not isinstance(entry.action, Blackhole):
                kinds.setdefault(type(entry.action).__name__, []).append(entry.value)
        return dice.choice(kinds[dice.choice(sorted(kinds))])

    def about(self, dice: Random, upstreams: set[int], theme: str) -> list[list[tuple[tuple[int, ...], ...]]]:
        """What fits the theme in the dictionaries of our upstreams and of networks next to one, a list for each; every
        community with what it needs beside it. Of one network alone, but for MED, which is compared among several.
        """
        fits = _THEMES[theme]
        near = upstreams | {other for asn in upstreams for other in self.neighbours[asn]}
        knowing = [asn for asn in sorted(near) if any(map(fits, self.entries[asn]))]
        if theme != "med":
            knowing = dice.sample(knowing, min(len(knowing), 1))
        return [
            [(entry.value, *_beside(dice, self.entries[asn], entry)) for entry in self.entries[asn] if fits(entry)]
            for asn in knowing
        ]


def _extended(
    dice: Random, pops: list[dict[str, Any]], said: _Vocabulary
) -> dict[Session, tuple[ExtendedCommunity, ...]]:
    """On half of the sessions, where one of their upstreams or a network next to it understands any. By dice of its
    own.
    """
    sessions = {(pop["city"], upstream["name"]): upstream["asn"] for pop in pops for upstream in pop["upstreams"]}
    found = {}
    for session, upstream in sessions.items():
        near = [upstream, *sorted(said.neighbours[upstream])]
        known = [entry.numbers for asn in near for entry in said.extended[asn]]
        if known and dice.random() < 0.5:
            found[session] = tuple(
                (a, b, c, d) for a, b, c, d in sorted(set(dice.choices(known, k=dice.choice((1, 1, 2)))))
            )
    return found


def _beside(dice: Random, known: list[Entry], entry: Entry) -> list[tuple[int, ...]]:
    """Sending in spite of something shows only where there is something: not to anybody, not to peers, not there."""
    if not isinstance(entry.action, ExportTo):
        return []
    sets = (Neighbours.ALL, Neighbours.PEERS, Neighbours.CUSTOMERS, Neighbours.PROVIDERS, entry.action.neighbour)
    against = [
        other.value
        for other in known
        if isinstance(other.action, NoExportTo) and other.action.neighbour in sets and not other.is_well_known
    ]
    return [dice.choice(against)] if against else []


def _scopes(dice: Random, pops: list[dict[str, Any]], said: _Vocabulary, seed: int, k: int) -> dict[Session, Scope]:
    """How the k-th prefix is announced. At least one session is not withheld."""
    theme = _theme(seed, k)
    sessions = {(pop["city"], upstream["name"]): upstream["asn"] for pop in pops for upstream in pop["upstreams"]}
    kept = dice.choice(sorted(sessions))
    fitting = said.about(dice, set(sessions.values()), theme)
    found = {}
    for session, upstream in sessions.items():
        if session != kept and dice.random() < 0.15:
            found[session] = Scope(mode=Mode.WITHHOLD)
            continue
        # paths of one length, so that what decides after it shows
        quiet = theme == "med"
        chosen = {said.choose(dice, upstream) for _ in range(0 if quiet else dice.choice((0, 0, 0, 1, 2, 3)))}
        for words in fitting:
            if dice.random() < 0.7:
                chosen |= set(dice.choice(words))
        found[session] = Scope(
            prepend=0 if quiet else dice.choice((0, 0, 1, 2, 3)),
            communities=tuple(sorted((c[0], c[1]) for c in chosen if len(c) == 2)),
            large_communities=tuple(sorted((c[0], c[1], c[2]) for c in chosen if len(c) == 3)),
        )
    more = _extended(Random(f"extended of {seed} {k}"), pops, said)
    return {session: replace(scope, extended_communities=more.get(session, ())) for session, scope in found.items()}
