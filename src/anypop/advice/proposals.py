"""What the doctor proposes, as data: causes, and for each repair its commands and its exact change of configuration.
Pure.

In: a graph with what we announce, and the place where a repair would be made (the network and the workload's prefixes,
where they are known). Out: a `Diagnosis`, and plain data as `-o json` and the API give it. A repair has the number of
its cause and its own: `1.2`; one that cannot be applied from here says why. How a bird.conf is written is the agent's
business: who asks brings the function.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from anypop.advice.graph import Graph
from anypop.advice.question import predicted, refuse_unknown
from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.model.network import Network
from anypop.model.scopes import community_text, scope_data
from anypop.model.sessions import Announcements
from anypop.routing.catchment.doctor import Diagnosis, diagnose
from anypop.routing.catchment.predict import Confidence, predict
from anypop.routing.catchment.repairs import Change, Repair
from anypop.routing.internet.sites import Float
from anypop.routing.tenant_communities import refusal

# The bird.conf of a PoP of the network that announces these prefixes with these scopes, by the upstreams' names.
Render = Callable[[Network, CityCode, Sequence[str], Mapping[str, Scope]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a repair would be made. `network` None: only a plan file is known. `prefixes`: the workload's covering
    prefixes. `render`: writes the bird.conf of a PoP. `kept`: why who asks may not change how they are announced;
    empty: he may. `tenant`: he is not the operator.
    """

    workload: str = ""
    network: Network | None = None
    prefixes: tuple[str, ...] = ()
    render: Render | None = None
    kept: str = ""
    tenant: bool = False


def diagnosed(graph: Graph, now: Announcements, *, causes: int, far_km: float, repairs: int = 5) -> Diagnosis:
    """So many of the worst causes, each with all repairs that were tried, so many of them with an interval. Raises
    `Invalid` for sessions that the graph does not have.
    """
    refuse_unknown(graph, now)
    return diagnose(
        graph.engine,
        now,
        weights=graph.weights,
        belief=_belief(graph, now),
        far_km=far_km,
        most_causes=causes,
        most_repairs=repairs,
    )


def _belief(graph: Graph, now: Announcements) -> Float | None:
    """Per site the chance that it lands where the graph alone says, by what was measured: now, and under announcements
    of the past. nan where nothing was.
    """
    if not graph.history and not graph.observations:
        return None
    plain = predict(graph.engine, now, weights=graph.weights)
    learnt = predicted(graph, now, now.pops)
    agrees = plain.pop == learnt.pop
    if learnt.chance is None:
        measured = learnt.level == list(Confidence).index(Confidence.PINNED)
        # who has its route from a measured network follows it: there the graph alone is wrong as well
        return np.where(measured | ~agrees, agrees.astype(float), np.nan)
    rest = (1.0 - learnt.chance) / max(1, len(now.pops) - 1)
    return np.where(agrees, learnt.chance, rest)


def useful(repairs: Sequence[Repair], most: int) -> list[Repair]:
    """Those that mend more than they harm, doubts included, as ranked by the doctor: the best first."""
    return [r for r in repairs if r.cured and r.score > 0 and r.gain is not None and r.gain.expected > 0][:most]


def blocked(repair: Repair, before: Announcements, place: Place) -> str:
    """Why it cannot be applied from here, in words; empty: it can."""
    if repair.needs:
        return repair.needs
    for change in repair.changes:
        if rule_of(change, before) is None:
            return f"another workload of the prefix, or a drain, asks for more at {change.pop} to {change.upstream}"
    if place.kept:
        return place.kept
    if place.tenant and place.network is not None:
        for change in repair.changes:
            for community in change.scope.every_community:
                if why := refusal(community, change.asn, place.network.tenant_communities):
                    return why
    return ""


def rule_of(change: Change, before: Announcements) -> Scope | None:
    """The workload's own rule that makes a change: what others ask for on that session is theirs to ask. None: none
    does.
    """
    index = before.find(change.pop, change.upstream)
    return before.sessions[index].rule_for(change.scope) if index is not None else change.scope


def rules_of(repair: Repair, before: Announcements) -> dict[tuple[str, str], Scope]:
    """The rules of a repair that can be applied from here."""
    found = {(change.pop, change.upstream): rule_of(change, before) for change in repair.changes}
    return {key: rule for key, rule in found.items() if rule is not None}


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
        if change.needs:
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
    if change.scope == Scope():
        return "reset"
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
    for pop in dict.fromkeys(change.pop for change in repair.changes if not change.needs):
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
                "repairs": _numbered(str(number), repairs, before, place, most),
            }
            for number, (cause, repairs) in enumerate(zip(found.strays.causes, found.repairs, strict=True), 1)
        ],
        "new_pops": _numbered("new", found.new_pops, before, place, most),
    }


def _numbered(
    cause: str, repairs: Sequence[Repair], before: Announcements, place: Place, most: int
) -> list[dict[str, Any]]:
    return [
        {"number": f"{cause}.{rank}", **repair_data(repair, before, place)}
        for rank, repair in enumerate(useful(repairs, most), 1)
    ]


def repair_data(repair: Repair, before: Announcements, place: Place) -> dict[str, Any]:
    return {
        "kind": repair.kind,
        "title": repair.title,
        "changes": [
            {
                "pop": c.pop,
                "upstream": c.upstream,
                "asn": c.asn,
                "scope": scope_data(rule_of(c, before) or c.scope),
                "added": c.added,
            }
            for c in repair.changes
        ],
        "blocked": blocked(repair, before, place) or None,
        "gain": None if repair.gain is None else round(repair.gain.expected, 6),
        "gain_low": None if repair.gain is None else round(repair.gain.low, 6),
        "gain_high": None if repair.gain is None else round(repair.gain.high, 6),
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
