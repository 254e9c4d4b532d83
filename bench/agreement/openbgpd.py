"""A router of a world run by OpenBGPD: its configuration, its daemon, and what it holds.

As `frr`, with two differences of OpenBGPD's own: it has no word for a missing MED, and on Linux it is not asked to
forward anything here.
"""

import json
import pwd
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
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

_SOON_S = 30.0


def start(router: Router, sessions: Sequence[RouterSession], habits: frozenset[Habit], home: Path) -> None:
    home.mkdir()
    file = home / "openbgpd.conf"
    file.write_text("\n".join(_configuration(router, sessions, habits, home)) + "\n")
    file.chmod(0o600)  # it refuses what others may read
    # where it locks itself in; its package makes it when it starts the service, which it did not here
    Path(pwd.getpwnam("_openbgpd").pw_dir).mkdir(exist_ok=True)
    argv = netns.command(router.netns, "bgpd", "-d", "-f", str(file))
    process.spawn(argv, pid_file=home / "openbgpd.pid", log=home / "openbgpd.log")
    until(_socket(home).exists, timeout_s=_SOON_S, what="start OpenBGPD")


def held(
    router: Router, sessions: Sequence[RouterSession], prefixes: Sequence[Prefix], home: Path
) -> Iterator[Candidate]:
    """All routes for these prefixes; `protocol` is the session."""
    names = {s.neighbour[family // 2 - 2]: f"{s.name}_v{family}" for s in sessions for family in s.families}
    argv = ["bgpctl", "-s", str(_socket(home)), "-j", "show", "rib", "detail"]
    said = json.loads(process.run(netns.command(router.netns, *argv), timeout_s=_SOON_S) or "{}")
    for route in said.get("rib", ()):
        found = _candidate(route, names)
        # it shows what it refuses, too: a path with itself in it
        if found.prefix in prefixes and router.asn not in found.as_path:
            yield found


def _socket(home: Path) -> Path:
    return home / "openbgpd.sock"


def _candidate(route: dict[str, Any], names: dict[str, str]) -> Candidate:
    return Candidate(
        prefix=ip_network(route["prefix"]),
        as_path=numbers(route["aspath"]),
        local_pref=route["localpref"],
        med=route["metric"],
        ebgp=True,
        protocol=names[route["neighbor"]["remote_addr"]],
        communities=pairs(route.get("communities", ())),
        large_communities=triples(route.get("large_communities", ())),
        extended_communities=extended(route.get("extended_communities", ())),
        best=bool(route.get("best")),
    )


def _configuration(
    router: Router, sessions: Sequence[RouterSession], habits: frozenset[Habit], home: Path
) -> Iterator[str]:
    asn, marks = router.asn, f"large-community delete {router.asn}:1:*"
    yield f"AS {asn}"
    yield f"router-id {router.loopback4}"
    yield f'socket "{_socket(home)}"'
    yield "fib-update no"
    yield "holdtime 30"
    yield "connect-retry 1"
    yield f"rde med compare {'always' if Habit.COMPARES_MED_ALWAYS in habits else 'strict'}"
    for session in sessions:
        for family in session.families:
            here, there = session.local[family // 2 - 2], session.neighbour[family // 2 - 2]
            yield f"neighbor {there} {{"
            yield f" remote-as {session.asn}"
            yield f" local-address {here}"
            if int(ip_address(here)) > int(ip_address(there)):
                yield " passive"  # after two ends have met half-way it waits 30 s; all others try each second
            yield " enforce neighbor-as no"  # a route server does not stand in its paths
            yield from (f" announce IPv{one} {'unicast' if one == family else 'none'}" for one in (4, 6))
            yield "}"
    yield "deny from any"
    yield "deny to any"
    yield f"match from any set {{ {marks} }}"
    for session in sessions:
        number, preference = CLASSES[session.relationship]
        who = f"{{ {', '.join(session.neighbour[family // 2 - 2] for family in session.families)} }}"
        yield f"allow from {who}"
        yield f"match from {who} set {{ localpref {preference}, large-community {asn}:1:{number} }}"
        known = f" large-community {asn}:1:1" if session.relationship is not Relationship.CUSTOMER else ""
        yield f"allow to {who}{known}"
        if session.relationship is Relationship.PEER:
            yield f"deny to {who} community NO_PEER"
        yield f"deny to {who} AS {session.asn}"  # as `frr` has it, for GoBGP
    if Habit.STRIPS_COMMUNITIES in habits:
        yield "match to any set { community delete *:*, large-community delete *:*:*, ext-community delete * * }"
    yield f"match to any set {{ {marks} }}"
