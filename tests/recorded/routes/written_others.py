"""The scenes as BIRD 3, SR OS, VRP and RouterOS print them."""

from itertools import count
from textwrap import wrap

from tests.recorded.routes.scenes import ROUTER_AS, SCENES, address, prefix
from tests.recorded.routes.words import (
    SHORT,
    WORDS,
    best_of,
    extended_of,
    huawei,
    kind_of,
    narrow,
    path_of,
    preference_of,
    target,
)


def bird3(version: int) -> str:
    lines = ["BIRD 3.0.1 ready.", f"Table master{version}:"]
    for scene in SCENES:
        best = best_of(scene, "bird")
        for n, route in enumerate([scene.routes[best], *(r for r in scene.routes if r is not scene.routes[best])]):
            named = str(prefix(scene, version)) if n == 0 else ""
            here = address(route.peer, version)
            metric = "/0" if route.internal else ""
            lines.append(
                f"{named:<20} unicast [peer{route.peer} 2026-11-24 12:00:00{f' from {here}' if route.internal else ''}]"
                f"{' *' if n == 0 else ''} (100{metric}) [AS{route.as_path[-1]}{SHORT[route.origin]}]"
            )
            lines += [f"\tvia {here} on eth0", "\tpreference: 100", f"\tfrom: {here}", "\tsource: BGP"]
            lines += [f"\tbgp_origin: {route.origin.capitalize() if route.origin == 'INCOMPLETE' else route.origin}"]
            lines += [f"\tbgp_path: {path_of(route)}", f"\tbgp_next_hop: {here}"]
            lines += [f"\tbgp_med: {route.med}"] if route.med is not None else []
            lines.append(f"\tbgp_local_pref: {preference_of(route)}")
            lines += (
                ["\tbgp_community: " + " ".join(f"({a},{b})" for a, b in route.communities)]
                if route.communities
                else []
            )
            pieces = ["(" + ", ".join(word.split(":")) + ")" for word in route.extended]
            lines += ["\tbgp_ext_community: " + " ".join(pieces)] if pieces else []
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
        best = best_of(scene, "sros")
        for n, route in enumerate(scene.routes):
            flags = f"{'u*>' if n == best else '*'}{SHORT[route.origin]}"
            preference = "None" if route.local_pref is None else str(route.local_pref)
            med = "None" if route.med is None else str(route.med)
            lines.append(f"{flags:<6}{prefix(scene, version)!s:<51}{preference:<12}{med}")
            lines.append(f"      {address(route.peer, version):<51}{'None':<12}0")
            first, *more = wrap(path_of(route), 62)
            lines += [f"      {first:<63}-", *(f"      {line}" for line in more)]
    return "\n".join([*lines, "-" * 79, "Routes : 27", "=" * 79]) + "\n"


def sros_detail(version: int) -> str:
    lines = [_SROS_HEAD.rstrip()]
    for scene in SCENES:
        best = best_of(scene, "sros")
        for n, route in enumerate(scene.routes):
            here = address(route.peer, version)
            med = "None" if route.med is None else str(route.med)
            preference = "None" if route.local_pref is None else str(route.local_pref)
            words = " ".join([*(f"{a}:{b}" for a, b in route.communities), *extended_of(route, target).split()])
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
            lines += [f"Route Source   : {kind_of(route).capitalize()}", f"AS-Path        : {path_of(route)}"]
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
        best, (_, reason) = best_of(scene, "vrp"), scene.truth("vrp")
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
            if extended_of(route, huawei):
                lines.append(" Ext-Community: " + extended_of(route, huawei, ", "))
            med = f", MED {route.med}" if route.med is not None else ""
            preference = f", localpref {route.local_pref}" if route.local_pref is not None else ""
            why = ", best, select, pre 255" if n == best else ", pre 255"
            if n != best and len(scene.routes) == 2:
                why += f", not preferred for {reasons[reason]}"
            lines.append(
                f" AS-path {path_of(route)}, origin {WORDS[route.origin].lower()}{med}{preference}, pref-val 0, valid, "
                f"{kind_of(route)}{why}"
            )
            if route.originator:
                lines += [f" Originator: {route.originator}", f" Cluster list: {', '.join(route.clusters)}"]
            lines.append(" Not advertised to any peer yet")
    return "\n".join(lines) + "\n"


def vrp_table(version: int) -> str:
    lines = [" BGP Local router ID is 10.99.0.1 ", " Total Number of Routes: 27"]
    lines += ["      Network            NextHop        MED        LocPrf    PrefVal Path/Ogn", ""]
    for scene in narrow():
        best = best_of(scene, "vrp")
        for n, route in enumerate(scene.routes):
            med = "" if route.med is None else str(route.med)
            preference = "" if route.local_pref is None else str(route.local_pref)
            named = str(prefix(scene, version)) if n == 0 else ""
            status = f"*{'>' if n == best else ' '}{'i' if route.internal else ' '}"
            lines.append(
                f" {status}  {named:<18} {address(route.peer, version):<15} {med:<10} {preference:<10} {0:<6} "
                f"{path_of(route)}{SHORT[route.origin]}"
            )
    return "\n".join(lines) + "\n"


def routeros7(version: int) -> str:
    lines = ["Flags: X - disabled, F - filtered, U - unreachable, A - active; ", "c - connect, s - static, b - bgp"]
    for scene in SCENES:
        best = best_of(scene, "routeros")
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
            if extended_of(route, huawei):
                words += f" .ext-communities={extended_of(route, lambda *w: ':'.join(w), ',')}"
            lines.append(f'       bgp.peer-cache-id=*2800002 .as-path="{path_of(route).replace(" ", ",")}"{words} ')
            preference = f".local-pref={route.local_pref} " if route.local_pref is not None else ""
            med = f".med={route.med} " if route.med is not None else ""
            lines.append(f"       {preference}{med}.atomic-aggregate=no .origin={WORDS[route.origin].lower()} ")
            lines += ["       debug.fwp-ptr=0x20242300 ", ""]
    return "\n".join(lines) + "\n"


def routeros6(version: int) -> str:
    lines = ["Flags: X - disabled, A - active, D - dynamic, C - connect, S - static, r - rip, b - bgp, o - ospf "]
    number = count()
    for scene in SCENES:
        best = best_of(scene, "routeros")
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
                f'        bgp-as-path="{path_of(route).replace(" ", ",")}" {preference}{med}bgp-origin='
                f"{WORDS[route.origin].lower()} received-from=peer{route.peer} "
            )
            lines.append("")
    return "\n".join(lines) + "\n"
