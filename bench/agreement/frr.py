"""A router of a world run by FRR: its configuration, its daemons, and what it holds.

It has one city and no dictionary of its own: the rules by which networks are customers, peers and providers of each
other, the well-known communities, MED in its network's way. Comes in a router with its sessions, goes out what
`running` asks of any router.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anypop.host import netns, process
from anypop.lab.address import Router
from anypop.lab.routers import RouterSession
from anypop.lab.topology import Habit
from anypop.lab.until import until
from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Relationship
from bench.agreement.classes import CLASSES, extended, numbers, pairs, triples

_LIB = Path("/usr/lib/frr")
_SOON_S = 30.0


def start(router: Router, sessions: Sequence[RouterSession], habits: frozenset[Habit], home: Path) -> None:
    """Zebra, which has next hops, and bgpd."""
    home.mkdir()
    shutil.chown(home, "frr", "frr")
    (home / "zebra.conf").write_text("")
    lines = [*_policies(router, sessions, habits), *_configuration(router, sessions, habits)]
    (home / "bgpd.conf").write_text("\n".join(lines) + "\n")
    for daemon in ("zebra", "bgpd"):
        argv = [
            str(_LIB / daemon), "-f", str(home / f"{daemon}.conf"), "-i", str(home / f"{daemon}.own"),
            "-z", str(home / "zserv"), "--vty_socket", str(home), "-A", "127.0.0.1",
        ]  # fmt: skip
        process.spawn(netns.command(router.netns, *argv), pid_file=home / f"{daemon}.pid", log=home / f"{daemon}.log")
        # bgpd tries again only after ten seconds where zebra is not there yet
        until((home / "zserv").exists, timeout_s=_SOON_S, what="start zebra")


def held(
    router: Router, sessions: Sequence[RouterSession], prefixes: Sequence[Prefix], home: Path
) -> Iterator[Candidate]:
    """All routes for these prefixes; `protocol` is the session."""
    for family, words in ((4, "ipv4"), (6, "ipv6")):
        names = {s.neighbour[family // 2 - 2]: f"{s.name}_v{family}" for s in sessions}
        for prefix in prefixes:
            if prefix.version == family:
                for path in _says(router, home, f"show bgp {words} unicast {prefix} json").get("paths", ()):
                    yield Candidate(
                        prefix=prefix,
                        as_path=numbers(path["aspath"]["string"]),
                        local_pref=path["locPrf"],
                        med=path.get("metric", 0),
                        ebgp=True,
                        protocol=names[path["peer"]["peerId"]],
                        communities=pairs(path.get("community", {}).get("list", ())),
                        large_communities=triples(path.get("largeCommunity", {}).get("string", "").split()),
                        extended_communities=extended(path.get("extendedCommunity", {}).get("string", "").split()),
                        best=bool(path.get("bestpath", {}).get("overall")),
                    )


def _says(router: Router, home: Path, command: str) -> Any:
    argv = netns.command(router.netns, "vtysh", "--vty_socket", str(home), "-c", command)
    return json.loads(process.run(argv, timeout_s=_SOON_S) or "{}")


def _policies(router: Router, sessions: Sequence[RouterSession], habits: frozenset[Habit]) -> Iterator[str]:
    """Before whoever uses them: a map that comes later counts from five seconds on, and until then nothing is taken in.
    What came meanwhile is asked for again, and OpenBGPD does not answer that.
    """
    yield f"bgp large-community-list standard customers permit {router.asn}:1:1"
    yield "bgp community-list standard nopeer permit 65535:65284"
    for number in (1, 2, 3):
        yield f"bgp large-community-list standard marks permit {router.asn}:1:{number}"
    for session in sessions:
        number, preference = CLASSES[session.relationship]
        yield f"route-map from-{session.name} permit 10"
        yield " set large-comm-list marks delete"
        yield " on-match next"
        yield f"route-map from-{session.name} permit 20"
        yield f" set large-community {router.asn}:1:{number} additive"
        yield f" set local-preference {preference}"
        yield from _leaving(session, habits)


def _configuration(router: Router, sessions: Sequence[RouterSession], habits: frozenset[Habit]) -> Iterator[str]:
    yield f"router bgp {router.asn}"
    yield f" bgp router-id {router.loopback4}"
    yield " no bgp ebgp-requires-policy"
    yield " no bgp default ipv4-unicast"
    yield " bgp bestpath compare-routerid"  # else the oldest wins
    yield " bgp deterministic-med"
    if Habit.COMPARES_MED_ALWAYS in habits:
        yield " bgp always-compare-med"
    if Habit.MISSING_MED_IS_WORST in habits:
        yield " bgp bestpath med missing-as-worst"
    for session in sessions:
        for family in session.families:
            address = session.neighbour[family // 2 - 2]
            yield f" neighbor {address} remote-as {session.asn}"
            yield f" neighbor {address} timers 10 30"
            yield f" neighbor {address} timers connect 1"
            yield f" neighbor {address} advertisement-interval 0"
    for family in (4, 6):
        yield f" address-family ipv{family} unicast"
        for session in sessions:
            if family in session.families:
                address = session.neighbour[family // 2 - 2]
                yield f"  neighbor {address} activate"
                yield f"  neighbor {address} send-community all"
                yield f"  neighbor {address} route-map from-{session.name} in"
                yield f"  neighbor {address} route-map to-{session.name} out"
        yield " exit-address-family"
    yield "exit"


def _leaving(session: RouterSession, habits: frozenset[Habit]) -> Iterator[str]:
    name = f"route-map to-{session.name}"
    # GoBGP 3.10 keeps what it heard before when a path with itself in it comes instead
    yield f"bgp as-path access-list round-{session.asn} permit _{session.asn}_"
    yield f"{name} deny 5"
    yield f" match as-path round-{session.asn}"
    if session.relationship is Relationship.PEER:
        yield f"{name} deny 10"
        yield " match community nopeer"
    yield f"{name} permit 20"
    if session.relationship is not Relationship.CUSTOMER:
        yield " match large-community customers"
    if Habit.STRIPS_COMMUNITIES in habits:
        yield " set community none"
        yield " set large-community none"
        yield " set extcommunity none"
    else:
        yield " set large-comm-list marks delete"
