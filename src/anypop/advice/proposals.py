"""What the doctor proposes, as data: causes, and for each repair its commands and its exact change of configuration.
Pure.

In: a graph with what we announce, and the place where a repair would be made (the network and the workload's prefixes,
where they are known). Out: a `Diagnosis`, and plain data as `-o json` and the API give it. A repair has the number of
its cause and its own: `1.2`. How a bird.conf is written is the agent's business: who asks brings the function.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from anypop.advice.graph import Graph
from anypop.advice.question import refuse_unknown
from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.model.network import Network
from anypop.model.scopes import community_text, scope_data
from anypop.model.sessions import Announcements
from anypop.routing.catchment.doctor import Change, Diagnosis, Repair, diagnose

# The bird.conf of a PoP of the network that announces these prefixes with these scopes, by the upstreams' names.
Render = Callable[[Network, CityCode, Sequence[str], Mapping[str, Scope]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a repair would be made. `network` None: only a plan file is known. `prefixes`: the workload's covering
    prefixes. `render`: writes the bird.conf of a PoP.
    """

    workload: str = ""
    network: Network | None = None
    prefixes: tuple[str, ...] = ()
    render: Render | None = None


def diagnosed(graph: Graph, now: Announcements, *, causes: int, far_km: float) -> Diagnosis:
    """So many of the worst causes, each with all repairs that were tried. Raises `Invalid` for sessions that the graph
    does not have.
    """
    refuse_unknown(graph, now)
    return diagnose(graph.engine, now, weights=graph.weights, far_km=far_km, most_causes=causes)


def useful(repairs: Sequence[Repair], most: int) -> list[Repair]:
    """Those that mend more than they harm, as ranked by the doctor: the best first, among equals the smallest."""
    return [repair for repair in repairs if repair.cured and repair.score > 0][:most]


def chosen(found: Diagnosis, number: str, most: int) -> Repair | None:
    """The repair that a number means: `1.2`, or `1` for the best one of cause 1."""
    cause, _, rank = number.partition(".")
    if not (cause.isdigit() and (rank or "1").isdigit()):
        return None
    index, place = int(cause) - 1, int(rank or 1) - 1
    if not 0 <= index < len(found.repairs):
        return None
    repairs = useful(found.repairs[index], most)
    return repairs[place] if 0 <= place < len(repairs) else None


def commands(repair: Repair, before: Announcements, workload: str) -> list[str]:
    """The command lines that make it, one for all PoPs that get the same scope towards an upstream of the same name."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for change in repair.changes:
        if change.added:
            grouped.setdefault((change.says, ""), [])
            continue
        grouped.setdefault((_words(change, before), change.upstream), []).append(change.pop)
    lines = []
    for (words, upstream), pops in grouped.items():
        if not pops:
            lines.append(words)
            continue
        verb, _, rest = words.partition(" ")
        lines.append(
            f"anypop announce {verb} {workload or 'WORKLOAD'} "
            f"--pop {','.join(pops)} --upstream {upstream} {rest}".strip()
        )
    return lines


def _words(change: Change, before: Announcements) -> str:
    index = before.find(change.pop, change.upstream)
    old = before.sessions[index].scope if index is not None else Scope()
    if change.scope.mode is Mode.WITHHOLD:
        return "withhold"
    more = [community for community in change.scope.every_community if community not in old.every_community]
    if more:
        return " ".join(["scope", *(f"--community {community_text(c)}" for c in more)])
    return f"prepend --count {change.scope.prepend}"


def bird_lines(repair: Repair, before: Announcements, place: Place) -> dict[str, list[str]]:
    """Per PoP, the lines of its bird.conf that come (+) and go (-). None where no network is known."""
    if place.network is None or place.render is None:
        return {}
    after = {(change.pop, change.upstream): change.scope for change in repair.changes}
    found: dict[str, list[str]] = {}
    for pop in dict.fromkeys(change.pop for change in repair.changes if not change.added):
        old = {s.upstream: s.scope for s in before.sessions if s.pop == pop}
        new = {name: after.get((pop, name), scope) for name, scope in old.items()}
        texts = [
            place.render(place.network, pop, place.prefixes, scopes).replace("\t", "").splitlines()
            for scopes in (old, new)
        ]
        told = difflib.unified_diff(texts[0], texts[1], n=0, lineterm="")
        lines = (line for line in told if not line.startswith(("+++", "---", "@@")))
        found[pop] = [f"{line[0]} {line[1:]}" for line in lines if "anypop_digest" not in line]
    return found


def data(found: Diagnosis, place: Place, *, most: int, graph: str) -> dict[str, Any]:
    """The report as JSON."""
    before = found.prediction.announcements
    member = found.strays.member
    return {
        "graph": graph,
        "workload": place.workload or None,
        "networks": len(found.prediction.internet.asns),
        "strays": len(set(found.prediction.internet.group[member].tolist())),
        "stray_weight": float(found.prediction.weight[member].sum()),
        "causes": [
            {
                "number": str(number),
                "sentence": cause.sentence,
                "asn": cause.asn,
                "region": cause.region or None,
                "landed": cause.landed,
                "nearest": cause.nearest,
                "homes": list(cause.homes),
                "refused": cause.refused,
                "networks": cause.networks,
                "weight": cause.weight,
                "suffering_km": round(cause.suffering, 3),
                "sessions": [
                    {"pop": before.sessions[i].pop, "upstream": before.sessions[i].upstream} for i in cause.sessions
                ],
                "repairs": [
                    {"number": f"{number}.{rank}", **repair_data(repair, before, place)}
                    for rank, repair in enumerate(useful(repairs, most), 1)
                ],
            }
            for number, (cause, repairs) in enumerate(zip(found.strays.causes, found.repairs, strict=True), 1)
        ],
    }


def repair_data(repair: Repair, before: Announcements, place: Place) -> dict[str, Any]:
    return {
        "kind": repair.kind,
        "title": repair.title,
        "changes": [
            {"pop": c.pop, "upstream": c.upstream, "asn": c.asn, "scope": scope_data(c.scope), "added": c.added}
            for c in repair.changes
        ],
        "cured": repair.cured,
        "mended": repair.mended,
        "harmed": repair.harmed,
        "unsure": repair.unsure,
        "mended_weight": repair.mended_weight,
        "harmed_weight": repair.harmed_weight,
        "gain_km": None if isnan(repair.gain_km) else round(repair.gain_km, 1),
        "note": repair.note or None,
        "commands": commands(repair, before, place.workload),
        "bird_conf": bird_lines(repair, before, place),
    }
