"""The scenes as makers print them whose routers no package of Debian has: written by hand after their documentation,
one function for each form. The truth is the scenes'.

Addresses are for documentation; the wording of a form is the maker's.
"""

import json
from collections.abc import Callable
from itertools import count
from textwrap import wrap
from typing import Any

from tests.recorded.routes.scenes import PEERS, ROUTER_AS, SCENES, Announced, Scene, address, prefix

_SHORT = {"IGP": "i", "EGP": "e", "INCOMPLETE": "?"}
_WORDS = {"IGP": "IGP", "EGP": "EGP", "INCOMPLETE": "incomplete"}
_JUNOS = {"IGP": "I", "EGP": "E", "INCOMPLETE": "?"}


def _path(route: Announced) -> str:
    return " ".join(map(str, route.as_path))


def _preference(route: Announced) -> int:
    return 100 if route.local_pref is None else route.local_pref


def _kind(route: Announced) -> str:
    return "internal" if route.internal else "external"


def _best(scene: Scene, maker: str) -> int:
    """Where the best stands among the routes of a scene, from 0."""
    peer, _ = scene.truth(maker)
    return [route.peer for route in scene.routes].index(peer)


def _reflected(route: Announced, sign: str = ", ") -> str:
    return f"Originator: {route.originator}, Cluster list: {sign.join(route.clusters)}" if route.originator else ""


def _since(route: Announced) -> int:
    """Seconds that a route is there: greater numbers announce earlier."""
    return 3600 + route.peer * 61


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def junos_brief(version: int) -> str:
    lines = ["ops@r1> show route", "", "inet.0: 20 destinations, 40 routes (20 active, 0 holddown, 0 hidden)"]
    lines += ["+ = Active Route, - = Last Active, * = Both", ""]
    for scene in SCENES:
        best = _best(scene, "junos")
        order = [scene.routes[best], *(r for r in scene.routes if r is not scene.routes[best])]
        for n, route in enumerate(order):
            named = str(prefix(scene, version)) if n == 0 else ""
            if len(named) > 18:
                lines.append(named)
                named = ""
            med = f", MED {route.med}" if route.med is not None else ""
            source = f", from 10.255.0.{route.peer}" if route.internal else ""
            mark = "*" if n == 0 else " "
            lines.append(
                f"{named:<19}{mark}[BGP/170] {_clock(_since(route))}{med}, localpref {_preference(route)}{source}"
            )
            lines.append(
                f"                      AS path: {_path(route)} {_JUNOS[route.origin]}, validation-state: unverified"
            )
            lines.append(f"                    > to {address(route.peer, version)} via ge-0/0/0.0")
    return "\n".join(lines) + "\n"


def junos_terse(version: int) -> str:
    lines = ["inet.0: 20 destinations, 40 routes (20 active, 0 holddown, 0 hidden)", ""]
    lines.append("A V Destination        P Prf   Metric 1   Metric 2  Next hop        AS path")
    for scene in SCENES:
        best = _best(scene, "junos")
        for n, route in enumerate([scene.routes[best], *(r for r in scene.routes if r is not scene.routes[best])]):
            named = str(prefix(scene, version)) if n == 0 else ""
            med = "" if route.med is None else str(route.med)
            hop = ">" + address(route.peer, version)
            lines.append(
                f"{'*' if n == 0 else ' '} ? {named:<19}B 170 {_preference(route):>10} {med:>10} {hop:<16} "
                f"{_path(route)} {_JUNOS[route.origin]}"
            )
    return "\n".join(lines) + "\n"


def junos_detail(version: int) -> str:
    lines = ["inet.0: 20 destinations, 40 routes (20 active, 0 holddown, 0 hidden)"]
    pad = " " * 16
    reasons = {
        "local preference": "Local Preference",
        "AS path length": "AS path",
        "origin": "Origin",
        "MED": "Not Best in its group - Route Metric or MED comparison",
        "eBGP over iBGP": "Interior > Exterior > Exterior via Interior",
        "oldest route": "Active preferred",
        "router id": "Router ID",
        "cluster list length": "Cluster list length",
    }
    for scene in SCENES:
        number, (_, reason) = len(scene.routes), scene.truth("junos")
        best = _best(scene, "junos")
        lines.append(f"{prefix(scene, version)} ({number} {'entry' if number == 1 else 'entries'}, 1 announced)")
        for n, route in enumerate([scene.routes[best], *(r for r in scene.routes if r is not scene.routes[best])]):
            here = address(route.peer, version)
            states = "Int Ext" if route.internal else "Ext"
            lines.append(f"        {'*' if n == 0 else ' '}BGP    Preference: 170/-{_preference(route) + 1}")
            lines.append(f"{pad}Next hop type: Router, Next hop index: 600")
            lines.append(f"{pad}Source: {here}")
            lines.append(f"{pad}Next hop: {here} via ge-0/0/0.0, selected")
            lines.append(f"{pad}State: <{'Active ' if n == 0 else ''}{states}>")
            if n == 1:
                lines.append(f"{pad}Inactive reason: {reasons[reason]}")
            lines.append(f"{pad}Local AS: {ROUTER_AS} Peer AS: {PEERS[route.peer]}")
            seconds = _since(route)
            age = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            lines.append(f"{pad}Age: {age}" + (f"\tMetric: {route.med}" if route.med is not None else ""))
            flags = "  (Originator)" if route.originator else ""
            lines.append(f"{pad}AS path: {_path(route)} {_JUNOS[route.origin]}{flags}")
            if route.originator:
                lines.append(f"{pad}Cluster list:  {' '.join(route.clusters)}")
                lines.append(f"{pad}Originator ID: {route.originator}")
            words = [f"{a}:{b}" for a, b in route.communities] + [f"large:{a}:{b}:{c}" for a, b, c in route.large]
            lines += [f"{pad}Communities: {' '.join(words)}"] if words else []
            lines += [
                f"{pad}Accepted",
                f"{pad}Localpref: {_preference(route)}",
                f"{pad}Router ID: 10.99.0.{route.peer}",
            ]
    return "\n".join(lines) + "\n"


def junos_json(version: int) -> str:
    def data(value: object) -> list[dict[str, object]]:
        return [{"data": str(value)}]

    rows = []
    for scene in SCENES:
        best, entries = _best(scene, "junos"), []
        for n, route in enumerate(scene.routes):
            entry: dict[str, Any] = {
                "active-tag": data("*" if n == best else " "),
                "protocol-name": data("BGP"),
                "preference": data(170),
                "age": [{"data": "1:00", "attributes": {"junos:seconds": str(_since(route))}}],
                "local-preference": data(_preference(route)),
                "as-path": [{"data": f"{_path(route)} {_JUNOS[route.origin]}", "attributes": {"xmlns": "x"}}],
                "rt-state": data(f"{'Active ' if n == best else ''}{'Int Ext' if route.internal else 'Ext'}"),
                "gateway": data(address(route.peer, version)),
                "peer-id": data(f"10.99.0.{route.peer}"),
                "nh": [{"selected-next-hop": [{"data": None}], "to": data(address(route.peer, version))}],
            }
            if route.med is not None:
                entry["med"] = data(route.med)
            if route.originator:
                entry["originator-id"], entry["cluster-list"] = data(route.originator), data(" ".join(route.clusters))
            if n == best:
                entry["current-active"] = [{"data": None}]
            entries.append(entry)
        rows.append(
            {
                "rt-destination": data(prefix(scene, version)),
                "rt-entry-count": data(len(entries)),
                "rt-entry": entries,
            }
        )
    return json.dumps({"route-information": [{"route-table": [{"table-name": data("inet.0"), "rt": rows}]}]}, indent=1)


def ios_entry(version: int) -> str:
    lines = []
    for scene in SCENES:
        best = _best(scene, "ios")
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
            lines += ["  Refresh Epoch 1", f"  {_path(route)}"]
            lines.append(f"    {here} from {here} (10.99.0.{route.peer})")
            lines.append(
                f"      Origin {_WORDS[route.origin]}{med}, localpref {_preference(route)}, valid, {_kind(route)}{mark}"
            )
            lines += [f"      {_reflected(route)}"] if route.originator else []
            if route.communities:
                lines.append("      Community: " + " ".join(f"{a}:{b}" for a, b in route.communities))
            lines.append("      rx pathid: 0, tx pathid: 0")
    return "\n".join(lines) + "\n"


WIDE = ("origin", "wide")  # their numbers run together in a table with columns of seven characters


def _narrow() -> list[Scene]:
    return [scene for scene in SCENES if scene.name not in WIDE]


def _cisco_table(version: int, maker: str, mark: Callable[[Announced, bool], str], head: list[str]) -> str:
    lines = [*head, "", "     Network          Next Hop            Metric LocPrf Weight Path"]
    for scene in _narrow():
        best = _best(scene, maker)
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
            lines.append(f"{text}{med:>10}{preference:>7}{0:>7} {_path(route)} {_SHORT[route.origin]}")
    return "\n".join(lines) + "\n"


def ios_table(version: int) -> str:
    head = ["BGP table version is 9, local router ID is 10.99.0.1"]
    return _cisco_table(version, "ios", lambda r, best: f" *{'>' if best else ' '}{'i' if r.internal else ' '} ", head)


def xr_entry(version: int) -> str:
    lines = []
    for scene in SCENES:
        best = _best(scene, "ios-xr")
        lines += [f"BGP routing table entry for {prefix(scene, version)}", "Versions:"]
        lines += ["  Process           bRIB/RIB  SendTblVer", "  Speaker                 12          12"]
        lines.append(f"Paths: ({len(scene.routes)} available, best #{best + 1})")
        lines.append("  Not advertised to any peer")
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            med = f", metric {route.med}" if route.med is not None else ""
            mark = ", best, group-best" if n == best else ""
            lines += [f"  Path #{n + 1}: Received by speaker 0", "  Not advertised to any peer", f"  {_path(route)}"]
            lines.append(f"    {here} from {here} ({route.originator or f'10.99.0.{route.peer}'})")
            lines.append(
                f"      Origin {_WORDS[route.origin]}{med}, localpref {_preference(route)}, valid, {_kind(route)}{mark}"
            )
            lines.append(f"      Received Path ID 0, Local Path ID {1 if n == best else 0}, version 12")
            lines += [f"      {_reflected(route)}"] if route.originator else []
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
        best, (_, reason) = _best(scene, "nx-os"), scene.truth("nx-os")
        lines.append(f"BGP routing table entry for {prefix(scene, version)}, version 12")
        lines.append(f"Paths: ({len(scene.routes)} available, best #{best + 1})")
        lines += ["Flags: (0x8000001a) (high32 00000000) on xmit-list, is in urib, is best urib route, is in HW", ""]
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            why = (
                "is best path" if n == best else f"not best reason: {reasons[reason]}" if len(scene.routes) == 2 else ""
            )
            lines += ["  Advertised path-id 1"] if n == best else []
            lines.append(f"  Path type: {_kind(route)}, path is valid, {why or 'not best'}, no labeled nexthop")
            lines.append(f"  AS-Path: {_path(route)} , path sourced external to AS")
            lines.append(f"    {here} (metric 0) from {here} (10.99.0.{route.peer})")
            med = "MED not set" if route.med is None else f"MED {route.med}"
            lines.append(f"      Origin {_WORDS[route.origin]}, {med}, localpref {_preference(route)}, weight 0")
            lines += (
                [f"      Originator: {route.originator} Cluster list: {' '.join(route.clusters)} "]
                if route.originator
                else []
            )
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
        best = _best(scene, "eos")
        lines += [f"BGP routing table entry for {prefix(scene, version)}", f" Paths: {len(scene.routes)} available"]
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            lines += [f"  {_path(route)}", f"    {here} from {here} (10.99.0.{route.peer})"]
            med = 0 if route.med is None else route.med
            lines.append(
                f"      Origin {route.origin}, metric {med}, localpref {_preference(route)}, IGP metric 0, weight 0, "
                "tag 0"
            )
            mark = ", best" if n == best else ""
            lines.append(f"      Received {_clock(_since(route))} ago, valid, {_kind(route)}{mark}")
            lines += [f"      {_reflected(route, ' ')}"] if route.originator else []
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
        best = _best(scene, "eos")
        for n, route in enumerate(scene.routes):
            tail = f" Or-ID: {route.originator} C-LST: {' '.join(route.clusters)}" if route.originator else ""
            med = 0 if route.med is None else route.med
            lines.append(
                f" * {'>' if n == best else ' '}      {prefix(scene, version)!s:<22} "
                f"{address(route.peer, version):<21} {med:<7} -          {_preference(route):<7} 0       "
                f"{_path(route)} {_SHORT[route.origin]}{tail}"
            )
    return "\n".join(lines) + "\n"


def eos_json(version: int) -> str:
    entries = {}
    for scene in SCENES:
        best = _best(scene, "eos")
        paths = [
            {
                "asPathEntry": {"asPathType": _kind(r).capitalize(), "asPath": f"{_path(r)} {_SHORT[r.origin]}"},
                "med": 0 if r.med is None else r.med,
                "localPreference": _preference(r),
                "weight": 0,
                "reasonNotBestpath": "noReason",
                "nextHop": address(r.peer, version),
                "routeType": {"valid": True, "active": n == best, "ecmp": False},
                "routeDetail": {
                    "origin": {"IGP": "Igp", "EGP": "Egp", "INCOMPLETE": "Incomplete"}[r.origin],
                    "peerEntry": {"peerRouterId": f"10.99.0.{r.peer}", "peerAddr": address(r.peer, version)},
                    "communityList": [f"{a}:{b}" for a, b in r.communities],
                    **({"originator": r.originator, "clusterList": " ".join(r.clusters)} if r.originator else {}),
                },
            }
            for n, r in enumerate(scene.routes)
        ]
        entries[str(prefix(scene, version))] = {"totalPaths": len(paths), "bgpRoutePaths": paths}
    return json.dumps({"vrfs": {"default": {"routerId": "10.99.0.1", "bgpRouteEntries": entries}}}, indent=2)


def bird3(version: int) -> str:
    lines = ["BIRD 3.0.1 ready.", f"Table master{version}:"]
    for scene in SCENES:
        best = _best(scene, "bird")
        for n, route in enumerate([scene.routes[best], *(r for r in scene.routes if r is not scene.routes[best])]):
            named = str(prefix(scene, version)) if n == 0 else ""
            here = address(route.peer, version)
            metric = "/0" if route.internal else ""
            lines.append(
                f"{named:<20} unicast [peer{route.peer} 2026-11-24 12:00:00{f' from {here}' if route.internal else ''}]"
                f"{' *' if n == 0 else ''} (100{metric}) [AS{route.as_path[-1]}{_SHORT[route.origin]}]"
            )
            lines += [f"\tvia {here} on eth0", "\tpreference: 100", f"\tfrom: {here}", "\tsource: BGP"]
            lines += [f"\tbgp_origin: {route.origin.capitalize() if route.origin == 'INCOMPLETE' else route.origin}"]
            lines += [f"\tbgp_path: {_path(route)}", f"\tbgp_next_hop: {here}"]
            lines += [f"\tbgp_med: {route.med}"] if route.med is not None else []
            lines.append(f"\tbgp_local_pref: {_preference(route)}")
            lines += (
                ["\tbgp_community: " + " ".join(f"({a},{b})" for a, b in route.communities)]
                if route.communities
                else []
            )
            if route.originator:
                lines += [f"\tbgp_originator_id: {route.originator}", f"\tbgp_cluster_list: {' '.join(route.clusters)}"]
            lines.append("\tInternal route handling values: 0L 11G 0S id 1")
    return "\n".join(lines) + "\n"


_SROS_HEAD = """===============================================================================
 BGP Router ID:10.99.0.1        AS:64500       Local AS:64500
===============================================================================
 Legend -
 Status codes  : u - used, s - suppressed, h - history, d - decayed, * - valid
                 l - leaked, x - stale, > - best, b - backup, p - purge
 Origin codes  : i - IGP, e - EGP, ? - incomplete

===============================================================================
BGP IPv4 Routes
===============================================================================
"""


def sros_table(version: int) -> str:
    lines = [_SROS_HEAD.rstrip(), f"{'Flag  Network':<57}{'LocalPref':<12}MED"]
    lines += [f"{'      Nexthop (Router)':<57}{'Path-Id':<12}IGP Cost", f"{'      As-Path':<69}Label", "-" * 79]
    for scene in SCENES:
        best = _best(scene, "sros")
        for n, route in enumerate(scene.routes):
            flags = f"{'u*>' if n == best else '*'}{_SHORT[route.origin]}"
            preference = "None" if route.local_pref is None else str(route.local_pref)
            med = "None" if route.med is None else str(route.med)
            lines.append(f"{flags:<6}{prefix(scene, version)!s:<51}{preference:<12}{med}")
            lines.append(f"      {address(route.peer, version):<51}{'None':<12}0")
            first, *more = wrap(_path(route), 62)
            lines += [f"      {first:<63}-", *(f"      {line}" for line in more)]
    return "\n".join([*lines, "-" * 79, "Routes : 27", "=" * 79]) + "\n"


def sros_detail(version: int) -> str:
    lines = [_SROS_HEAD.rstrip()]
    for scene in SCENES:
        best = _best(scene, "sros")
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            med = "None" if route.med is None else str(route.med)
            preference = "None" if route.local_pref is None else str(route.local_pref)
            words = " ".join(f"{a}:{b}" for a, b in route.communities)
            lines += ["-" * 79, "Original Attributes", "", f"Network        : {prefix(scene, version)}"]
            lines += [f"Nexthop        : {here}", "Path Id        : None", f"From           : {here}"]
            lines += [f"Res. Nexthop   : {here}", f"Local Pref.    : {preference:<22} Interface Name : to-peer"]
            lines += [f"Atomic Aggr.   : Not Atomic             MED            : {med}"]
            lines += ["AIGP Metric    : None                   IGP Cost       : 0"]
            lines += [f"Community      : {words or 'No Community Members'}"]
            lines += [f"Cluster        : {' '.join(route.clusters) or 'No Cluster Members'}"]
            lines += [f"Originator Id  : {route.originator or 'None':<22} Peer Router Id : 10.99.0.{route.peer}"]
            origin = "Incomplete" if route.origin == "INCOMPLETE" else route.origin
            lines += [f"Flags          : {'Used Valid Best' if n == best else 'Valid'} {origin}"]
            lines += [f"Route Source   : {_kind(route).capitalize()}", f"AS-Path        : {_path(route)}"]
            lines += ["Route Tag      : 0", f"Neighbor-AS    : {route.as_path[0]}", "Last Modified  : 01h02m03s", ""]
    return "\n".join(lines) + "\n"


def vrp_entry(version: int) -> str:
    reasons = {
        "local preference": "Local_Pref",
        "AS path length": "AS-Path",
        "origin": "Origin",
        "MED": "MED",
        "eBGP over iBGP": "peer type",
        "router id": "router ID",
        "cluster list length": "Cluster List",
    }
    lines = []
    for scene in SCENES:
        best, (_, reason) = _best(scene, "vrp"), scene.truth("vrp")
        lines += ["", " BGP local router ID : 10.99.0.1", f" Local AS number : {ROUTER_AS}"]
        lines.append(f" Paths:   {len(scene.routes)} available, 1 best, 1 select, 0 best-external, 0 add-path")
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            lines += [f" BGP routing table entry information of {prefix(scene, version)}:"]
            lines += [f" From: {here} (10.99.0.{route.peer})", f" Route Duration: 0d01h0{route.peer % 10}m03s"]
            lines += [
                " Direct Out-interface: GigabitEthernet0/0/0",
                f" Original nexthop: {here}",
                " Qos information : 0x0",
            ]
            if route.communities:
                lines.append(" Community: " + ", ".join(f"<{a}:{b}>" for a, b in route.communities))
            med = f", MED {route.med}" if route.med is not None else ""
            preference = f", localpref {route.local_pref}" if route.local_pref is not None else ""
            why = ", best, select, pre 255" if n == best else ", pre 255"
            if n != best and len(scene.routes) == 2:
                why += f", not preferred for {reasons[reason]}"
            lines.append(
                f" AS-path {_path(route)}, origin {_WORDS[route.origin].lower()}{med}{preference}, pref-val 0, valid, "
                f"{_kind(route)}{why}"
            )
            if route.originator:
                lines += [f" Originator: {route.originator}", f" Cluster list: {', '.join(route.clusters)}"]
            lines.append(" Not advertised to any peer yet")
    return "\n".join(lines) + "\n"


def vrp_table(version: int) -> str:
    lines = [" BGP Local router ID is 10.99.0.1 ", " Total Number of Routes: 27"]
    lines += ["      Network            NextHop        MED        LocPrf    PrefVal Path/Ogn", ""]
    for scene in _narrow():
        best = _best(scene, "vrp")
        for n, route in enumerate(scene.routes):
            med = "" if route.med is None else str(route.med)
            preference = "" if route.local_pref is None else str(route.local_pref)
            named = str(prefix(scene, version)) if n == 0 else ""
            status = f"*{'>' if n == best else ' '}{'i' if route.internal else ' '}"
            lines.append(
                f" {status}  {named:<18} {address(route.peer, version):<15} {med:<10} {preference:<10} {0:<6} "
                f"{_path(route)}{_SHORT[route.origin]}"
            )
    return "\n".join(lines) + "\n"


def routeros7(version: int) -> str:
    lines = ["Flags: X - disabled, F - filtered, U - unreachable, A - active; ", "c - connect, s - static, b - bgp"]
    for scene in SCENES:
        best = _best(scene, "routeros")
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            active = n == best
            lines.append(
                f" {'Ab' if active else ' b'}   afi=ip{version} contribution={'active' if active else 'candidate'} "
                f"dst-address={prefix(scene, version)} routing-table=main "
            )
            lines.append(f"       gateway={here} immediate-gw={here}%ether1 distance={200 if route.internal else 20} ")
            lines.append(f'       scope=40 target-scope=30 belongs-to="bgp-IP-{here}" ')
            words = f" .communities={','.join(f'{a}:{b}' for a, b in route.communities)}" if route.communities else ""
            lines.append(f'       bgp.peer-cache-id=*2800002 .as-path="{_path(route).replace(" ", ",")}"{words} ')
            preference = f".local-pref={route.local_pref} " if route.local_pref is not None else ""
            med = f".med={route.med} " if route.med is not None else ""
            lines.append(f"       {preference}{med}.atomic-aggregate=no .origin={_WORDS[route.origin].lower()} ")
            lines += ["       debug.fwp-ptr=0x20242300 ", ""]
    return "\n".join(lines) + "\n"


def routeros6(version: int) -> str:
    lines = ["Flags: X - disabled, A - active, D - dynamic, C - connect, S - static, r - rip, b - bgp, o - ospf "]
    number = count()
    for scene in SCENES:
        best = _best(scene, "routeros")
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            preference = f"bgp-local-pref={route.local_pref} " if route.local_pref is not None else ""
            med = f"bgp-med={route.med} " if route.med is not None else ""
            lines.append(
                f"{next(number):>2} {'ADb' if n == best else ' Db'}  dst-address={prefix(scene, version)} "
                f"gateway={here} gateway-status={here} reachable via  ether1 "
            )
            lines.append(f"        distance={200 if route.internal else 20} scope=40 target-scope=10 ")
            lines.append(
                f'        bgp-as-path="{_path(route).replace(" ", ",")}" {preference}{med}bgp-origin='
                f"{_WORDS[route.origin].lower()} received-from=peer{route.peer} "
            )
            lines.append("")
    return "\n".join(lines) + "\n"


FORMS: dict[str, tuple[str, Callable[[int], str], tuple[int, ...]]] = {
    "junos-brief": ("junos", junos_brief, (4, 6)),
    "junos-terse": ("junos", junos_terse, (4,)),
    "junos-detail": ("junos", junos_detail, (4, 6)),
    "junos-json": ("junos", junos_json, (4, 6)),
    "ios-entry": ("ios", ios_entry, (4, 6)),
    "ios-table": ("ios", ios_table, (4, 6)),
    "ios-xr-entry": ("ios-xr", xr_entry, (4, 6)),
    "nx-os-entry": ("nx-os", nxos_entry, (4, 6)),
    "nx-os-table": ("nx-os", nxos_table, (4, 6)),
    "eos-entry": ("eos", eos_entry, (4, 6)),
    "eos-table": ("eos", eos_table, (4,)),
    "eos-json": ("eos", eos_json, (4, 6)),
    "bird3-all": ("bird", bird3, (4, 6)),
    "sros-table": ("sros", sros_table, (4, 6)),
    "sros-detail": ("sros", sros_detail, (4, 6)),
    "vrp-entry": ("vrp", vrp_entry, (4, 6)),
    "vrp-table": ("vrp", vrp_table, (4,)),
    "routeros7-detail": ("routeros", routeros7, (4, 6)),
    "routeros6-detail": ("routeros", routeros6, (4,)),
}


def texts() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """All written texts by name: their maker, what they say, and the scenes that they leave out."""
    return {
        f"{form}-v{version}": (maker, write(version), WIDE if form in ("ios-table", "nx-os-table", "vrp-table") else ())
        for form, (maker, write, versions) in FORMS.items()
        for version in versions
    }
