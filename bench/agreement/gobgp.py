"""A router of a world run by GoBGP: its configuration, its daemon, and what it holds.

As `frr`, with two differences of GoBGP's own: it forwards nothing, and it does not act on NO_EXPORT and NO_ADVERTISE by
itself, so its operator's policy does (RFC 1997).

A known fault of version 3.10 (`filterpath` in pkg/server/server.go; later versions withdraw): whoever stands in the
path of its new best route is told neither that route nor that the older one is over, and keeps the older one until the
session begins anew.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anypop.host import netns, process
from anypop.lab.address import Router
from anypop.lab.routers import RouterSession
from anypop.lab.topology import Habit
from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Relationship
from bench.agreement.classes import CLASSES, extended, triples

_PORT = 50051
_SOON_S = 30.0
_AS_PATH, _MED, _LOCAL_PREF, _COMMUNITIES, _EXTENDED, _LARGE = 2, 4, 5, 8, 16, 32  # types of path attributes (IANA)


def start(router: Router, sessions: Sequence[RouterSession], habits: frozenset[Habit], home: Path) -> None:
    home.mkdir()
    (home / "gobgp.json").write_text(json.dumps(_configuration(router, sessions, habits), indent=1))
    argv = [
        "gobgpd", "-t", "json", "-f", str(home / "gobgp.json"), "--api-hosts", f"127.0.0.1:{_PORT}", "--disable-stdlog",
    ]  # fmt: skip
    process.spawn(netns.command(router.netns, *argv), pid_file=home / "gobgp.pid", log=home / "gobgp.log")


def held(
    router: Router, sessions: Sequence[RouterSession], prefixes: Sequence[Prefix], home: Path
) -> Iterator[Candidate]:
    """All routes for these prefixes; `protocol` is the session."""
    del home
    for family in (4, 6):
        names = {s.neighbour[family // 2 - 2]: f"{s.name}_v{family}" for s in sessions}
        argv = netns.command(router.netns, "gobgp", "global", "rib", "-a", f"ipv{family}", "-j")
        rib = json.loads(process.run(argv, timeout_s=_SOON_S) or "{}")
        for prefix in prefixes:
            for route in rib.get(str(prefix), ()):
                yield _candidate(prefix, route, names)


def renew(router: Router, session: RouterSession, family: int) -> None:
    """Begin a session anew."""
    argv = ["gobgp", "neighbor", session.neighbour[family // 2 - 2], "reset"]
    process.run(netns.command(router.netns, *argv), timeout_s=_SOON_S)


def word_of(value: Mapping[str, Any]) -> str:
    """An extended community in FRR's words. A long AS number is two numbers with a point between them (RFC 5396)."""
    names = {2: "rt", 3: "soo"}
    head, _, tail = str(value.get("value", "")).rpartition(":")
    if value["type"] == 2:
        high, _, low = head.partition(".")
        head = str((int(high) << 16) + int(low)) if low else head
    return f"{names.get(value['subtype'], 'unknown')}:{head}:{tail}"


def _candidate(prefix: Prefix, route: dict[str, Any], names: dict[str, str]) -> Candidate:
    told = {attribute["type"]: attribute for attribute in route["attrs"]}
    large = [f"{c['ASN']}:{c['LocalData1']}:{c['LocalData2']}" for c in told.get(_LARGE, {}).get("value", ())]
    return Candidate(
        prefix=prefix,
        as_path=tuple(n for segment in told[_AS_PATH].get("as_paths", ()) for n in segment["asns"]),
        local_pref=told[_LOCAL_PREF]["value"],
        med=told.get(_MED, {}).get("metric", 0),
        ebgp=True,
        protocol=names[route["neighbor-ip"]],
        communities=tuple((n >> 16, n & 0xFFFF) for n in told.get(_COMMUNITIES, {}).get("communities", ())),
        large_communities=triples(large),
        extended_communities=extended(map(word_of, told.get(_EXTENDED, {}).get("value", ()))),
        best=bool(route.get("best")),
    )


def _configuration(router: Router, sessions: Sequence[RouterSession], habits: frozenset[Habit]) -> dict[str, Any]:
    neighbours = [
        {
            "config": {"neighbor-address": s.neighbour[family // 2 - 2], "peer-as": s.asn},
            "timers": {
                "config": {
                    "hold-time": 30,
                    "keepalive-interval": 10,
                    "connect-retry": 1,
                    "idle-hold-time-after-reset": 1,
                }
            },
            "transport": {"config": {"local-address": s.local[family // 2 - 2]}},
            "afi-safis": [{"config": {"afi-safi-name": f"ipv{family}-unicast"}}],
        }
        for s in sessions
        for family in s.families
    ]
    marks = [f"{router.asn}:1:{number}" for number in (1, 2, 3)]
    return {
        "global": {
            "config": {"as": router.asn, "router-id": str(router.loopback4)},
            "route-selection-options": {
                "config": {
                    "always-compare-med": Habit.COMPARES_MED_ALWAYS in habits,
                    "external-compare-router-id": True,
                }
            },
            "apply-policy": {
                "config": {
                    "import-policy-list": ["from"],
                    "default-import-policy": "reject-route",
                    "export-policy-list": ["to"],
                    "default-export-policy": "reject-route",
                }
            },
        },
        "neighbors": neighbours,
        "defined-sets": {
            "neighbor-sets": [
                {
                    "neighbor-set-name": s.name,
                    "neighbor-info-list": [s.neighbour[family // 2 - 2] for family in s.families],
                }
                for s in sessions
            ],
            "bgp-defined-sets": {
                "community-sets": [
                    {"community-set-name": "nopeer", "community-list": ["65535:65284"]},
                    {"community-set-name": "kept", "community-list": ["65535:65281", "65535:65282"]},
                ],
                "large-community-sets": [{"large-community-set-name": "customers", "large-community-list": [marks[0]]}],
            },
        },
        "policy-definitions": [
            {"name": "from", "statements": [_entering(router, s, marks) for s in sessions]},
            {"name": "to", "statements": [part for s in sessions for part in _leaving(s, marks)]},
        ],
    }


def _large(option: str, words: list[str]) -> dict[str, Any]:
    return {"options": option, "set-large-community-method": {"communities-list": words}}


def _entering(router: Router, session: RouterSession, marks: list[str]) -> dict[str, Any]:
    number, preference = CLASSES[session.relationship]
    return {
        "name": f"from-{session.name}",
        "conditions": {"match-neighbor-set": {"neighbor-set": session.name}},
        "actions": {
            "route-disposition": "accept-route",
            "bgp-actions": {"set-local-pref": preference, "set-large-community": _large("add", [marks[number - 1]])},
        },
    }


def _leaving(session: RouterSession, marks: list[str]) -> Iterator[dict[str, Any]]:
    who = {"match-neighbor-set": {"neighbor-set": session.name}}
    refused = ["kept", "nopeer"] if session.relationship is Relationship.PEER else ["kept"]
    for name in refused:
        yield {
            "name": f"{name}-{session.name}",
            "conditions": {**who, "bgp-conditions": {"match-community-set": {"community-set": name}}},
            "actions": {"route-disposition": "reject-route"},
        }
    told: dict[str, Any] = {**who}
    if session.relationship is not Relationship.CUSTOMER:
        told["bgp-conditions"] = {"match-large-community-set": {"large-community-set": "customers"}}
    yield {
        "name": f"to-{session.name}",
        "conditions": told,
        "actions": {
            "route-disposition": "accept-route",
            "bgp-actions": {"set-large-community": _large("remove", marks)},
        },
    }
