"""When is a lab ready? When every session between its routers is up, and every router knows each vantage that policy
lets it know.

After the daemons were started. What each AS must know follows from the relationships alone (valley-free reach,
Gao-Rexford), so the answer is exact, also for a topology in which some networks cannot reach each other.
"""

import re
from collections.abc import Collection
from pathlib import Path

from anypop.host import birdc
from anypop.lab.address import VANTAGES4, VANTAGES6, LabPlan, Router
from anypop.lab.daemons import control_socket
from anypop.lab.routers import sessions
from anypop.lab.topology import FAMILIES, Habit, LinkKind, Topology
from anypop.lab.until import until
from anypop.model.errors import WorldError

_UNREADY_SHOWN = 3


def reach(topology: Topology, family: int = 4) -> dict[int, frozenset[int]]:
    """For each AS: the ASes whose prefixes of one family it learns, itself among them."""
    servers = {system.asn for system in topology.ases if Habit.ROUTE_SERVER in system.habits}
    providers: dict[int, set[int]] = {system.asn: set() for system in topology.ases}
    customers: dict[int, set[int]] = {system.asn: set() for system in topology.ases}
    peers: dict[int, set[int]] = {system.asn: set() for system in topology.ases}
    siblings: dict[int, set[int]] = {system.asn: set() for system in topology.ases}
    for link in topology.links:
        if family not in link.families:
            continue
        if link.kind is LinkKind.SIBLING:
            siblings[link.a].add(link.b)
            siblings[link.b].add(link.a)
        elif link.kind is LinkKind.PEER:
            peers[link.a].add(link.b)
            peers[link.b].add(link.a)
        else:
            providers[link.a].add(link.b)
            customers[link.b].add(link.a)
    knows: dict[int, set[int]] = {system.asn: set() for system in topology.ases}
    for origin in knows:
        upward = _closure({origin}, providers, siblings)
        across = upward | {peer for asn in upward for peer in peers[asn]}
        across |= {peer for asn in across & servers for peer in peers[asn]}
        for asn in _closure(across, customers, siblings):
            knows[asn].add(origin)
    return {asn: frozenset(known) for asn, known in knows.items()}


def _closure(start: set[int], *steps: dict[int, set[int]]) -> set[int]:
    found, edge = set(start), set(start)
    while edge:
        edge = {further for asn in edge for step in steps for further in step[asn]} - found
        found |= edge
    return found


def settle(plan: LabPlan, folder: Path, *, timeout_s: float, but: Collection[str] = ()) -> None:
    """Wait until every router is ready. Raises `WorldError` that names those that are not. `but`: routers that are not
    BIRD's, which their neighbours answer for.
    """
    known = {family: reach(plan.topology, family) for family in FAMILIES}
    expected = {
        router.name: _expectation(plan, router, {family: found[router.asn] for family, found in known.items()})
        for router in plan.routers
        if router.name not in but
    }
    waiting = dict.fromkeys(expected, "has not been asked yet")

    def ready() -> bool:
        for name in list(waiting):
            waiting[name] = _lack(folder, name, *expected[name])
            if not waiting[name]:
                del waiting[name]
        if not waiting:  # one that was ready early may have lost something while others came up
            waiting.update({name: lack for name in expected if (lack := _lack(folder, name, *expected[name]))})
        return not waiting

    try:
        until(ready, timeout_s=timeout_s, what="the lab's routers", every_s=0.05)
    except WorldError as error:
        shown = "; ".join(f"{name}: {lack}" for name, lack in list(waiting.items())[:_UNREADY_SHOWN])
        raise WorldError(
            error.what, f"{error.why}; {len(waiting)} of {len(plan.routers)} are not ready: {shown}"
        ) from error


def _expectation(
    plan: LabPlan, router: Router, known: dict[int, frozenset[int]]
) -> tuple[frozenset[str], tuple[int, ...]]:
    """The sessions that must be up, and for each family how many prefixes of vantages must be known."""
    wanted = frozenset(f"{s.name}_v{family}" for s in sessions(plan, router) if not s.pop for family in s.families)
    return wanted, tuple(sum(host.asn in known[family] for host in plan.vantages) for family in FAMILIES)


def _lack(folder: Path, name: str, wanted: frozenset[str], routes: tuple[int, ...]) -> str:
    """What a router lacks, in words; nothing when it is ready."""
    counts = [
        f"show route table master{family} where net ~ [{network}{{{length},{length}}}] primary count"
        for family, network, length in ((4, VANTAGES4, 24), (6, VANTAGES6, 48))
    ]
    try:
        text = birdc.ask(control_socket(folder, name), "show protocols", *counts)
    except WorldError as error:
        return error.why
    up = {line.split()[0] for line in text.splitlines() if line.split()[-1:] == ["Established"]}
    if wanted - up:
        return f"session {min(wanted - up)} is not up ({len(wanted - up)} of {len(wanted)})"
    found = [int(count) for count in re.findall(r"^(\d+) of \d+ routes", text, flags=re.MULTILINE)]
    if len(found) != len(routes):
        return "does not say how many prefixes of vantages it knows"
    for family, count, most in zip(FAMILIES, found, routes, strict=True):
        if count < most:
            return f"knows {count} of {most} IPv{family} prefixes of vantages"
    return ""
