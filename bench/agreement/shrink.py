"""The smallest world that still shows a disagreement: parts are taken away, many at a time and then one by one, while
it stays.

Comes in a world and a question ("do they still disagree?"), goes out a smaller world. What cannot be a topology without
a part keeps it. Pure but for the question.
"""

import copy
from collections.abc import Callable, Collection, Hashable
from dataclasses import replace
from typing import Any

from anypop.model.announce import Mode, Scope
from anypop.model.errors import Invalid
from bench.agreement.worlds import World

Part = tuple[Hashable, ...]


def only(world: World, k: int) -> World:
    """The k-th announcement for every prefix."""
    return replace(world, scopes=(world.scopes[k],) * len(world.scopes))


def shrink(world: World, disagrees: Callable[[World], bool]) -> World:
    """A world of which no single part can go without the disagreement going too."""
    changed = True
    while changed:
        changed = False
        for kind in (
            "as",
            "pop",
            "upstream",
            "link",
            "at",
            "city",
            "internal",
            "reflector",
            "confederation",
            "habit",
            "family",
            "vantage",
            "scope",
            "word",
        ):
            size = max(1, len(_parts(world, kind)) // 2)
            while size:
                at = 0
                while at < len(parts := _parts(world, kind)):
                    smaller = _without(world, parts[at : at + size])
                    if smaller is not None and disagrees(smaller):
                        world, changed = smaller, True
                    else:
                        at += size
                size //= 2
    return world


def _parts(world: World, kind: str) -> list[Part]:
    document = world.document
    found: list[Part] = []
    match kind:
        case "as":
            found = [(kind, system["asn"]) for system in document["ases"]]
        case "pop":
            found = [(kind, pop["city"]) for pop in document["anypop"]["pops"]]
        case "upstream":
            found = [(kind, pop["city"], up["name"]) for pop in document["anypop"]["pops"] for up in pop["upstreams"]]
        case "link":
            found = [(kind, link["a"], link["b"]) for link in document["links"]]
        case "at":
            found = [
                (kind, link["a"], link["b"], at)
                for link in document["links"]
                for at in link["at"]
                if len(link["at"]) > 1
            ]
        case "city":
            found = [
                (kind, system["asn"], code)
                for system in document["ases"]
                for code in system["cities"]
                if len(system["cities"]) > 1
            ]
        case "internal":
            found = [(kind, system["asn"], pair) for system in document["ases"] for pair in system.get("internal", ())]
        case "reflector":
            found = [
                (kind, system["asn"], code) for system in document["ases"] for code in system.get("reflectors", ())
            ]
        case "confederation":
            found = [(kind, system["asn"]) for system in document["ases"] if "confederation" in system]
        case "habit":
            found = [(kind, system["asn"], h) for system in document["ases"] for h in system.get("habits", ())]
        case "family":
            found = [(kind, link["a"], link["b"]) for link in document["links"] if "family" in link]
        case "vantage":
            found = [(kind, vantage["name"]) for vantage in document["vantages"]]
        case "scope":
            found = [(kind, session) for session in sorted(world.scopes[0])]
        case _:
            for session, scope in sorted(world.scopes[0].items()):
                found += [("word", session, community) for community in scope.every_community]
                found += [("word", session, number) for number in range(1, scope.prepend + 1)]
    return found


def _without(world: World, parts: Collection[Part]) -> World | None:
    """The world without these parts and all that hangs on them; None where that is no topology."""
    gone = set(parts)
    document = copy.deepcopy(dict(world.document))
    for system in document["ases"]:
        asn = system["asn"]
        system["cities"] = [code for code in system["cities"] if ("city", asn, code) not in gone]
        pairs = [
            p
            for p in system.get("internal", ())
            if ("internal", asn, p) not in gone and set(p.split("-")) <= set(system["cities"])
        ]
        if "internal" in system:
            system["internal"] = pairs
        if "reflectors" in system:
            left = [code for code in system["reflectors"] if ("reflector", asn, code) not in gone]
            system["reflectors"] = [code for code in left if code in system["cities"]]
        if ("confederation", asn) in gone:
            system.pop("confederation", None)
        for member in system.get("confederation", ()):
            member["cities"] = [code for code in member["cities"] if code in system["cities"]]
        if "habits" in system:
            system["habits"] = [h for h in system["habits"] if ("habit", asn, h) not in gone]
    document["ases"] = [system for system in document["ases"] if ("as", system["asn"]) not in gone]
    cities = {system["asn"]: set(system["cities"]) for system in document["ases"]}
    for link in document["links"]:
        if ("family", link["a"], link["b"]) in gone:
            link.pop("family", None)
        link["at"] = [
            at for at in link["at"] if ("at", link["a"], link["b"], at) not in gone and _stands(cities, link, at)
        ]
    document["links"] = [
        link for link in document["links"] if link["at"] and ("link", link["a"], link["b"]) not in gone
    ]
    document["vantages"] = [
        v for v in document["vantages"] if ("vantage", v["name"]) not in gone and v["city"] in cities.get(v["asn"], ())
    ]
    for pop in document["anypop"]["pops"]:
        pop["upstreams"] = [
            up
            for up in pop["upstreams"]
            if ("upstream", pop["city"], up["name"]) not in gone and up["city"] in cities.get(up["asn"], ())
        ]
    document["anypop"]["pops"] = [
        p for p in document["anypop"]["pops"] if p["upstreams"] and ("pop", p["city"]) not in gone
    ]
    scopes = {
        session: _said(session, scope, gone)
        for session, scope in world.scopes[0].items()
        if ("scope", session) not in gone
    }
    times = len(world.scopes)
    smaller = World(seed=world.seed, document=document, scopes=(scopes,) * times)
    try:
        assert smaller.topology
    except Invalid:
        return None
    return smaller


def _stands(cities: dict[int, set[str]], link: dict[str, Any], at: str) -> bool:
    a, _, b = at.partition("-")
    return a in cities.get(link["a"], ()) and (b or a) in cities.get(link["b"], ())


def _said(session: tuple[str, str], scope: Scope, gone: set[Part]) -> Scope:
    if scope.mode is Mode.WITHHOLD:
        return scope
    return replace(
        scope,
        prepend=sum(("word", session, number) not in gone for number in range(1, scope.prepend + 1)),
        communities=tuple(c for c in scope.communities if ("word", session, c) not in gone),
        large_communities=tuple(c for c in scope.large_communities if ("word", session, c) not in gone),
        extended_communities=tuple(c for c in scope.extended_communities if ("word", session, c) not in gone),
    )
