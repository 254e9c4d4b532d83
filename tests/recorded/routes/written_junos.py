"""The scenes as Junos prints them: plain, terse, detailed and as JSON."""

import json
from typing import Any

from tests.recorded.routes.scenes import PEERS, ROUTER_AS, SCENES, address, prefix
from tests.recorded.routes.words import JUNOS, best_of, clock, extended_of, path_of, preference_of, seconds_of, target


def junos_brief(version: int) -> str:
    lines = ["ops@r1> show route", "", "inet.0: 20 destinations, 40 routes (20 active, 0 holddown, 0 hidden)"]
    lines += ["+ = Active Route, - = Last Active, * = Both", ""]
    for scene in SCENES:
        best = best_of(scene, "junos")
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
                f"{named:<19}{mark}[BGP/170] {clock(seconds_of(route))}{med}, localpref {preference_of(route)}{source}"
            )
            lines.append(
                f"                      AS path: {path_of(route)} {JUNOS[route.origin]}, validation-state: unverified"
            )
            lines.append(f"                    > to {address(route.peer, version)} via ge-0/0/0.0")
    return "\n".join(lines) + "\n"


def junos_terse(version: int) -> str:
    lines = ["inet.0: 20 destinations, 40 routes (20 active, 0 holddown, 0 hidden)", ""]
    lines.append("A V Destination        P Prf   Metric 1   Metric 2  Next hop        AS path")
    for scene in SCENES:
        best = best_of(scene, "junos")
        for n, route in enumerate([scene.routes[best], *(r for r in scene.routes if r is not scene.routes[best])]):
            named = str(prefix(scene, version)) if n == 0 else ""
            med = "" if route.med is None else str(route.med)
            hop = ">" + address(route.peer, version)
            lines.append(
                f"{'*' if n == 0 else ' '} ? {named:<19}B 170 {preference_of(route):>10} {med:>10} {hop:<16} "
                f"{path_of(route)} {JUNOS[route.origin]}"
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
        best = best_of(scene, "junos")
        lines.append(f"{prefix(scene, version)} ({number} {'entry' if number == 1 else 'entries'}, 1 announced)")
        for n, route in enumerate([scene.routes[best], *(r for r in scene.routes if r is not scene.routes[best])]):
            here = address(route.peer, version)
            states = "Int Ext" if route.internal else "Ext"
            lines.append(f"        {'*' if n == 0 else ' '}BGP    Preference: 170/-{preference_of(route) + 1}")
            lines.append(f"{pad}Next hop type: Router, Next hop index: 600")
            lines.append(f"{pad}Source: {here}")
            lines.append(f"{pad}Next hop: {here} via ge-0/0/0.0, selected")
            lines.append(f"{pad}State: <{'Active ' if n == 0 else ''}{states}>")
            if n == 1:
                lines.append(f"{pad}Inactive reason: {reasons[reason]}")
            lines.append(f"{pad}Local AS: {ROUTER_AS} Peer AS: {PEERS[route.peer]}")
            seconds = seconds_of(route)
            age = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            lines.append(f"{pad}Age: {age}" + (f"\tMetric: {route.med}" if route.med is not None else ""))
            flags = "  (Originator)" if route.originator else ""
            lines.append(f"{pad}AS path: {path_of(route)} {JUNOS[route.origin]}{flags}")
            if route.originator:
                lines.append(f"{pad}Cluster list:  {' '.join(route.clusters)}")
                lines.append(f"{pad}Originator ID: {route.originator}")
            words = [f"{a}:{b}" for a, b in route.communities] + [f"large:{a}:{b}:{c}" for a, b, c in route.large]
            words += extended_of(route, target).split()
            lines += [f"{pad}Communities: {' '.join(words)}"] if words else []
            lines += [
                f"{pad}Accepted",
                f"{pad}Localpref: {preference_of(route)}",
                f"{pad}Router ID: 10.99.0.{route.peer}",
            ]
    return "\n".join(lines) + "\n"


def junos_json(version: int) -> str:
    def data(value: object) -> list[dict[str, object]]:
        return [{"data": str(value)}]

    rows = []
    for scene in SCENES:
        best, entries = best_of(scene, "junos"), []
        for n, route in enumerate(scene.routes):
            entry: dict[str, Any] = {
                "active-tag": data("*" if n == best else " "),
                "protocol-name": data("BGP"),
                "preference": data(170),
                "age": [{"data": "1:00", "attributes": {"junos:seconds": str(seconds_of(route))}}],
                "local-preference": data(preference_of(route)),
                "as-path": [{"data": f"{path_of(route)} {JUNOS[route.origin]}", "attributes": {"xmlns": "x"}}],
                "rt-state": data(f"{'Active ' if n == best else ''}{'Int Ext' if route.internal else 'Ext'}"),
                "gateway": data(address(route.peer, version)),
                "peer-id": data(f"10.99.0.{route.peer}"),
                "nh": [{"selected-next-hop": [{"data": None}], "to": data(address(route.peer, version))}],
            }
            if route.med is not None:
                entry["med"] = data(route.med)
            if route.originator:
                entry["originator-id"], entry["cluster-list"] = data(route.originator), data(" ".join(route.clusters))
            if extended_of(route, target):
                words = [{"data": word} for word in extended_of(route, target).split()]
                entry["communities"] = [{"extended-community": words}]
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
