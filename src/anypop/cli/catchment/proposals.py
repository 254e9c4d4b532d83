"""The doctor's report for people and programs: causes, repairs, and for each repair the exact change of configuration. Pure.

In: a `Diagnosis`, and what control knows (the network, the workload's prefixes) where it was asked. Out: lines and plain data. A repair has
the number of its cause and its own: `1.2`.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from math import isnan
from pathlib import Path
from typing import Any

from anypop.agent.bgp.config import render
from anypop.agent.observed import Export, SpeakerConfig
from anypop.cli.catchment.tables import km, percent
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.model.announce import Mode, Scope
from anypop.model.network import Network
from anypop.model.scopes import community_text, scope_data
from anypop.model.sessions import Announcements
from anypop.routing.catchment.doctor import Change, Diagnosis, Repair
from anypop.routing.catchment.strays import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a repair would be made. `network` None: only a plan file is known. `prefixes`: the workload's covering prefixes."""

    workload: str = ""
    network: Network | None = None
    prefixes: tuple[str, ...] = ()


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
        lines.append(f"anypop announce {verb} {workload or 'WORKLOAD'} --pop {','.join(pops)} --upstream {upstream} {rest}".strip())
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
    """Per PoP, the lines of its bird.conf that come (+) and go (-)."""
    if place.network is None:
        return {}
    after = {(change.pop, change.upstream): change.scope for change in repair.changes}
    found: dict[str, list[str]] = {}
    for pop in dict.fromkeys(change.pop for change in repair.changes if not change.added):
        old = {s.upstream: s.scope for s in before.sessions if s.pop == pop}
        new = {name: after.get((pop, name), scope) for name, scope in old.items()}
        texts = [_rendered(place, pop, scopes).replace("\t", "").splitlines() for scopes in (old, new)]
        told = difflib.unified_diff(texts[0], texts[1], n=0, lineterm="")
        lines = (line for line in told if not line.startswith(("+++", "---", "@@")))
        found[pop] = [f"{line[0]} {line[1:]}" for line in lines if "anypop_digest" not in line]
    return found


def _rendered(place: Place, pop: str, scopes: Mapping[str, Scope]) -> str:
    assert place.network is not None
    site = next(site for site in place.network.pops if site.city == pop)
    exports = tuple(
        Export(
            prefix=ip_network(prefix),
            upstream=upstream.name,
            prepend=scope.prepend,
            communities=scope.communities,
            large_communities=scope.large_communities,
        )
        for upstream in site.upstreams
        for prefix in place.prefixes
        if (scope := scopes.get(upstream.name)) is not None and scope.mode is Mode.ANNOUNCE
    )
    config = SpeakerConfig(asn=place.network.asn, router_id=site.router_id, upstreams=site.upstreams, exports=exports)
    return render(config, log=Path("bird.log"))


def report(found: Diagnosis, place: Place, *, most: int, graph: str, far_km: float) -> list[Shown]:
    """Everything, the worst cause first."""
    prediction, member = found.prediction, found.strays.member
    networks = len(set(prediction.internet.group[member].tolist()))
    every = len(prediction.internet.asns)
    head = f"{networks:,} of {every:,} networks ({percent(float(prediction.weight[member].sum()))}) land more than {far_km:,.0f} km"
    shown: list[Shown] = [f"{head} beyond their nearest PoP, on {graph}"]
    if isnan(prediction.mean_extra_km):
        shown.append("no network is in a known place: who lands far from home cannot be told without --footprint FILE")
    for number, (cause, repairs) in enumerate(zip(found.strays.causes, found.repairs, strict=True), 1):
        shown += ["", *_cause(number, cause), *_repairs(number, useful(repairs, most), found, place)]
    if any(useful(repairs, most) for repairs in found.repairs) and place.workload:
        shown += ["", "'anypop doctor --apply 1.1' makes that repair, one PoP after another, and takes it back when the outcome differs"]
    return shown


def _cause(number: int, cause: Cause) -> Iterator[Shown]:
    yield [(f"{number}. {cause.sentence}", "bold")]
    far = cause.suffering / cause.weight if cause.weight else 0.0
    homes = ", ".join(cause.homes[:3])
    yield f"   {cause.networks:,} networks, {percent(cause.weight)} of everybody, {km(far)} too far on average; at home in {homes}"


def _repairs(number: int, repairs: Sequence[Repair], found: Diagnosis, place: Place) -> Iterator[Shown]:
    columns = [
        Column(head="  "),
        Column(head="REPAIR"),
        Column(head="MENDED", right=True),
        Column(head="HARMED", right=True),
        Column(head="UNSURE", right=True, drop=1),
        Column(head="MEAN", right=True, drop=2),
        Column(head="NOTE", drop=3, maybe=True),
    ]
    rows: list[list[Cell]] = [
        [
            f"   {number}.{rank}",
            repair.title,
            (f"{repair.mended:,}", "green"),
            (f"{repair.harmed:,}", "yellow" if repair.harmed else ""),
            f"{repair.unsure:,}",
            km(-repair.gain_km, signed=True),
            repair.note,
        ]
        for rank, repair in enumerate(repairs, 1)
    ]
    if not rows:
        yield "   no repair mends more than it harms"
        return
    yield Table(columns=columns, rows=rows)
    before = found.prediction.announcements
    for rank, repair in enumerate(repairs, 1):
        for line in commands(repair, before, place.workload):
            yield [(f"   {number}.{rank}  ", "bold"), (line, "")]
        if rank == 1:  # of the others, `-o json` has the lines too
            yield from _configuration(bird_lines(repair, before, place))


def _configuration(found: Mapping[str, Sequence[str]]) -> Iterator[Shown]:
    """The lines of bird.conf, once for all PoPs where they are the same."""
    same: dict[tuple[str, ...], list[str]] = {}
    for pop, lines in found.items():
        same.setdefault(tuple(lines), []).append(pop)
    for told, pops in same.items():
        yield f"        bird.conf at {' and '.join(pops)}:"
        yield from ([(f"        {line}", "green" if line[0] == "+" else "red")] for line in told)


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
                "sessions": [{"pop": before.sessions[i].pop, "upstream": before.sessions[i].upstream} for i in cause.sessions],
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
            {"pop": c.pop, "upstream": c.upstream, "asn": c.asn, "scope": scope_data(c.scope), "added": c.added} for c in repair.changes
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
