"""The doctor's report for people: causes, repairs, and for the best repair the lines of bird.conf. Pure.

In: a `Diagnosis` and the place of its repairs. Out: lines and tables. What a repair changes, and as which commands, is
the business of `advice.proposals`.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan

from anypop.advice.proposals import Place, bird_lines, blocked, commands, useful
from anypop.cli.catchment.tables import km, percent
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.model.sessions import Announcements
from anypop.routing.catchment.doctor import Diagnosis
from anypop.routing.catchment.repairs import Gain, Repair
from anypop.routing.catchment.strays import Cause


def report(found: Diagnosis, place: Place, *, most: int, graph: str, far_km: float) -> list[Shown]:
    """Everything, the worst cause first."""
    prediction, member = found.prediction, found.strays.member
    networks = len(set(prediction.internet.group[member].tolist()))
    every = len(prediction.internet.asns)
    head = (
        f"{networks:,} of {every:,} networks ({percent(float(prediction.weight[member].sum()))}) land more than "
        f"{far_km:,.0f} km"
    )
    shown: list[Shown] = [f"{head} beyond their nearest PoP, on {graph}"]
    if isnan(prediction.mean_extra_km):
        shown.append("no network is in a known place: who lands far from home cannot be told without --footprint FILE")
    for number, (cause, repairs) in enumerate(zip(found.strays.causes, found.repairs, strict=True), 1):
        shown += ["", *_cause(number, cause), *_repairs(number, useful(repairs, most), found, place)]
    if places := useful(found.new_pops, most):
        shown += ["", [("a new PoP, the best place first (counted as if it were somebody's nearest already)", "bold")]]
        shown.append(_table("new", places, prediction.announcements, place))
    if any(useful(repairs, most) for repairs in found.repairs) and place.workload:
        shown += [
            "",
            "'anypop doctor --apply 1.1' makes that repair, one PoP after another, and takes it back when the outcome "
            "differs",
        ]
    return shown


def _cause(number: int, cause: Cause) -> Iterator[Shown]:
    yield [(f"{number}. {cause.sentence}", "bold")]
    far = cause.suffering / cause.weight if cause.weight else 0.0
    homes = ", ".join(cause.homes[:3])
    yield (
        f"   {cause.networks:,} networks, {percent(cause.weight)} of everybody, {km(far)} too far on average; at home "
        f"in {homes}"
    )


def _repairs(number: int, repairs: Sequence[Repair], found: Diagnosis, place: Place) -> Iterator[Shown]:
    if not repairs:
        yield "   no repair mends more than it harms"
        return
    yield _table(str(number), repairs, found.prediction.announcements, place)
    before = found.prediction.announcements
    for rank, repair in enumerate(repairs, 1):
        for line in commands(repair, before, place.workload):
            yield [(f"   {number}.{rank}  ", "bold"), (line, "")]
        if rank == 1:  # of the others, `-o json` has the lines too
            yield from _configuration(bird_lines(repair, before, place))


def _table(number: str, repairs: Sequence[Repair], before: Announcements, place: Place) -> Table:
    columns = [
        Column(head="  "),
        Column(head="REPAIR"),
        Column(head="KIND", drop=4),
        Column(head="GAIN", right=True),
        Column(head="BETWEEN", right=True),
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
            repair.kind,
            percent(repair.gain.expected) if repair.gain is not None else "",
            _between(repair.gain),
            (f"{repair.mended:,}", "green"),
            (f"{repair.harmed:,}", "yellow" if repair.harmed else ""),
            f"{repair.unsure:,}",
            km(-repair.gain_km, signed=True),
            "; ".join(filter(None, (blocked(repair, before, place), repair.note))),
        ]
        for rank, repair in enumerate(repairs, 1)
    ]
    return Table(columns=columns, rows=rows)


def _between(gain: Gain | None) -> str:
    return f"{100 * gain.low:.1f} to {100 * gain.high:.1f} %" if gain is not None else ""


def _configuration(found: Mapping[str, Sequence[str]]) -> Iterator[Shown]:
    """The lines of bird.conf, once for all PoPs where they are the same."""
    same: dict[tuple[str, ...], list[str]] = {}
    for pop, lines in found.items():
        same.setdefault(tuple(lines), []).append(pop)
    for told, pops in same.items():
        yield f"        bird.conf at {' and '.join(pops)}:"
        yield from ([(f"        {line}", "green" if line[0] == "+" else "red")] for line in told)
