"""The scenes as IOS, IOS-XR, NX-OS and EOS print them: entries, tables, and the JSON of EOS."""

import json
from collections.abc import Callable

from tests.recorded.routes.scenes import ROUTER_AS, SCENES, Announced, address, prefix
from tests.recorded.routes.words import (
    SHORT,
    WORDS,
    arista,
    best_of,
    cisco,
    clock,
    extended_of,
    kind_of,
    narrow,
    path_of,
    preference_of,
    reflected_by,
    seconds_of,
)


def ios_entry(version: int) -> str:
    lines = []
    for scene in SCENES:
        best = best_of(scene, "ios")
        total = len(scene.routes)
        lines.append(f"BGP routing table entry for {str(prefix(scene, version)).upper()}, version 7")
        lines += [
            f"Paths: ({total} available, best #{best + 1}, table default)",
            "  Advertised to update-groups:",
            "     1  ",
        ]
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version).upper()
            med = f", metric {route.med}" if route.med is not None else ""
            mark = ", best" if n == best else ""
            lines += ["  Refresh Epoch 1", f"  {path_of(route)}"]
            lines.append(f"    {here} from {here} (10.99.0.{route.peer})")
            lines.append(
                f"      Origin {WORDS[route.origin]}{med}, localpref {preference_of(route)}, valid, "
                f"{kind_of(route)}{mark}"
            )
            lines += [f"      {reflected_by(route)}"] if route.originator else []
            if route.communities:
                lines.append("      Community: " + " ".join(f"{a}:{b}" for a, b in route.communities))
            if extended_of(route, cisco):
                lines.append("      Extended Community: " + extended_of(route, cisco))
            lines.append("      rx pathid: 0, tx pathid: 0")
    return "\n".join(lines) + "\n"


def _cisco_table(version: int, maker: str, mark: Callable[[Announced, bool], str], head: list[str]) -> str:
    lines = [*head, "", "     Network          Next Hop            Metric LocPrf Weight Path"]
    for scene in narrow():
        best = best_of(scene, maker)
        for n, route in enumerate(scene.routes):
            named, hop = str(prefix(scene, version)) if n == 0 else "", address(route.peer, version)
            med = "" if route.med is None else str(route.med)
            preference = "" if route.local_pref is None else str(route.local_pref)
            text = mark(route, n == best)
            if len(named) > 16:
                lines.append(f"{text}{named}")
                text, named = " " * len(text), ""
            text = f"{text}{named:<16} {hop:<16}"
            if len(hop) > 16:
                lines.append(text)
                text = " " * (len(mark(route, False)) + 33)
            lines.append(f"{text}{med:>10}{preference:>7}{0:>7} {path_of(route)} {SHORT[route.origin]}")
    return "\n".join(lines) + "\n"


def ios_table(version: int) -> str:
    head = ["BGP table version is 9, local router ID is 10.99.0.1"]
    return _cisco_table(version, "ios", lambda r, best: f" *{'>' if best else ' '}{'i' if r.internal else ' '} ", head)


def xr_entry(version: int) -> str:
    lines = []
    for scene in SCENES:
        best = best_of(scene, "ios-xr")
        lines += [f"BGP routing table entry for {prefix(scene, version)}", "Versions:"]
        lines += ["  Process           bRIB/RIB  SendTblVer", "  Speaker                 12          12"]
        lines.append(f"Paths: ({len(scene.routes)} available, best #{best + 1})")
        lines.append("  Not advertised to any peer")
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            med = f", metric {route.med}" if route.med is not None else ""
            mark = ", best, group-best" if n == best else ""
            lines += [f"  Path #{n + 1}: Received by speaker 0", "  Not advertised to any peer", f"  {path_of(route)}"]
            lines.append(f"    {here} from {here} ({route.originator or f'10.99.0.{route.peer}'})")
            lines.append(
                f"      Origin {WORDS[route.origin]}{med}, localpref {preference_of(route)}, valid, "
                f"{kind_of(route)}{mark}"
            )
            lines.append(f"      Received Path ID 0, Local Path ID {1 if n == best else 0}, version 12")
            lines += [f"      {reflected_by(route)}"] if route.originator else []
            lines += (
                ["      Extended community: " + extended_of(route, cisco) + " "] if extended_of(route, cisco) else []
            )
    return "\n".join(lines) + "\n"


def nxos_entry(version: int) -> str:
    reasons = {
        "local preference": "Local Pref",
        "AS path length": "AS Path",
        "origin": "Origin",
        "MED": "MED",
        "eBGP over iBGP": "Internal path",
        "oldest route": "newer EBGP path",
        "router id": "Router Id",
        "cluster list length": "RR Cluster Length",
    }
    lines = [f"BGP routing table information for VRF default, address family IPv{version} Unicast"]
    for scene in SCENES:
        best, (_, reason) = best_of(scene, "nx-os"), scene.truth("nx-os")
        lines.append(f"BGP routing table entry for {prefix(scene, version)}, version 12")
        lines.append(f"Paths: ({len(scene.routes)} available, best #{best + 1})")
        lines += ["Flags: (0x8000001a) (high32 00000000) on xmit-list, is in urib, is best urib route, is in HW", ""]
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            why = (
                "is best path" if n == best else f"not best reason: {reasons[reason]}" if len(scene.routes) == 2 else ""
            )
            lines += ["  Advertised path-id 1"] if n == best else []
            lines.append(f"  Path type: {kind_of(route)}, path is valid, {why or 'not best'}, no labeled nexthop")
            lines.append(f"  AS-Path: {path_of(route)} , path sourced external to AS")
            lines.append(f"    {here} (metric 0) from {here} (10.99.0.{route.peer})")
            med = "MED not set" if route.med is None else f"MED {route.med}"
            lines.append(f"      Origin {WORDS[route.origin]}, {med}, localpref {preference_of(route)}, weight 0")
            lines += (
                [f"      Originator: {route.originator} Cluster list: {' '.join(route.clusters)} "]
                if route.originator
                else []
            )
            if extended_of(route, cisco):
                lines += ["      Extcommunity: ", *(f"          {cisco(*w.split(':'))}" for w in route.extended[:6])]
            lines.append("")
        lines += ["  Path-id 1 not advertised to any peer", ""]
    return "\n".join(lines) + "\n"


def nxos_table(version: int) -> str:
    head = ["BGP routing table information for VRF default, address family IPv4 Unicast"]
    head += ["Status: s-suppressed, x-deleted, S-stale, d-dampened, h-history, *-valid, >-best"]
    head += ["Path type: i-internal, e-external, c-confed, l-local, a-aggregate, r-redist, I-injected"]
    return _cisco_table(
        version, "nx-os", lambda r, best: f"   *{'>' if best else ' '}{'i' if r.internal else 'e'}", head
    )


def eos_entry(version: int) -> str:
    lines = [
        "BGP routing table information for VRF default",
        f"Router identifier 10.99.0.1, local AS number {ROUTER_AS}",
    ]
    for scene in SCENES:
        best = best_of(scene, "eos")
        lines += [f"BGP routing table entry for {prefix(scene, version)}", f" Paths: {len(scene.routes)} available"]
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            lines += [f"  {path_of(route)}", f"    {here} from {here} (10.99.0.{route.peer})"]
            med = 0 if route.med is None else route.med
            lines.append(
                f"      Origin {route.origin}, metric {med}, localpref {preference_of(route)}, IGP metric 0, weight 0, "
                "tag 0"
            )
            mark = ", best" if n == best else ""
            lines.append(f"      Received {clock(seconds_of(route))} ago, valid, {kind_of(route)}{mark}")
            lines += [f"      {reflected_by(route, ' ')}"] if route.originator else []
            lines += ["      Extended Community: " + extended_of(route, arista)] if extended_of(route, cisco) else []
            lines.append("      Rx SAFI: Unicast")
    return "\n".join(lines) + "\n"


def eos_table(version: int) -> str:
    lines = [
        "BGP routing table information for VRF default",
        f"Router identifier 10.99.0.1, local AS number {ROUTER_AS}",
        "",
    ]
    lines.append("          Network                Next Hop              Metric  AIGP       LocPref Weight  Path")
    for scene in SCENES:
        best = best_of(scene, "eos")
        for n, route in enumerate(scene.routes):
            tail = f" Or-ID: {route.originator} C-LST: {' '.join(route.clusters)}" if route.originator else ""
            med = 0 if route.med is None else route.med
            lines.append(
                f" * {'>' if n == best else ' '}      {prefix(scene, version)!s:<22} "
                f"{address(route.peer, version):<21} {med:<7} -          {preference_of(route):<7} 0       "
                f"{path_of(route)} {SHORT[route.origin]}{tail}"
            )
    return "\n".join(lines) + "\n"


def eos_json(version: int) -> str:
    entries = {}
    for scene in SCENES:
        best = best_of(scene, "eos")
        paths = [
            {
                "asPathEntry": {"asPathType": kind_of(r).capitalize(), "asPath": f"{path_of(r)} {SHORT[r.origin]}"},
                "med": 0 if r.med is None else r.med,
                "localPreference": preference_of(r),
                "weight": 0,
                "reasonNotBestpath": "noReason",
                "nextHop": address(r.peer, version),
                "routeType": {"valid": True, "active": n == best, "ecmp": False},
                "routeDetail": {
                    "origin": {"IGP": "Igp", "EGP": "Egp", "INCOMPLETE": "Incomplete"}[r.origin],
                    "peerEntry": {"peerRouterId": f"10.99.0.{r.peer}", "peerAddr": address(r.peer, version)},
                    "communityList": [f"{a}:{b}" for a, b in r.communities],
                    "extCommunityList": extended_of(r, arista).split(),
                    **({"originator": r.originator, "clusterList": " ".join(r.clusters)} if r.originator else {}),
                },
            }
            for n, r in enumerate(scene.routes)
        ]
        entries[str(prefix(scene, version))] = {"totalPaths": len(paths), "bgpRoutePaths": paths}
    return json.dumps({"vrfs": {"default": {"routerId": "10.99.0.1", "bgpRouteEntries": entries}}}, indent=2)
