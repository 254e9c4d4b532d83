"""Predictions, differences and evaluations as tables for people. Pure.

In: `Prediction`, `Diff`, `Evaluation`. Out: `Table`s and sentences; as plain data they are `advice.answers`. Shares are
parts of the weight of all networks; "sure" is the share of a group that no tie can change, or the mean chance of its
answers where they were learnt from measurements.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan

from anypop.advice.next_measured import Asked
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.routing.actions import Region
from anypop.routing.catchment.diff import Diff
from anypop.routing.catchment.evaluate import Calibration, Evaluation
from anypop.routing.catchment.predict import Confidence, Prediction, Row, Share

_STYLES = {
    Confidence.PINNED: "bold green",
    Confidence.SINGLE: "green",
    Confidence.TIE: "yellow",
    Confidence.NO_ROUTE: "bold red",
}


def percent(share: float) -> str:
    """`46.8 %`; a trace stays visible."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def km(value: float | None, *, signed: bool = False) -> str:
    if value is None or isnan(value):
        return "-"
    return f"{value:+,.0f} km" if signed else f"{value:,.0f} km"


def prediction(found: Prediction, *, biggest: int, graph: str, countries: int = 10) -> list[Shown]:
    """The whole answer: by PoP, by region, by country, the biggest networks."""
    counted = "NETWORKS" if len(found.internet.asns) == len(found.internet) else "PLACES"
    by_country = [share for share in found.by_country() if share.name]
    mean = found.mean_extra_km
    far = (
        "in unknown places, so no distances (--footprint FILE)"
        if isnan(mean)
        else f"{km(mean)} beyond the nearest PoP on average"
    )
    shown: list[Shown] = [f"{_count(found)} on {graph}; {far}", ""]
    shown += [shares(found.by_pop(), "POP", empty="no route", counted=counted), ""]
    shown += [
        shares([_named(share) for share in found.by_region()], "REGION", empty="unknown place", counted=counted),
        "",
    ]
    if by_country:
        shown += [shares(by_country[:countries], "COUNTRY", empty="", counted=counted), ""]
    return [*shown, rows(found.biggest(biggest))] if biggest else shown[:-1]


def _count(found: Prediction) -> str:
    networks, sites = len(found.internet.asns), len(found.internet)
    return f"{networks:,} networks" + (f" at {sites:,} places" if sites != networks else "")


def _named(share: Share) -> Share:
    if share.name not in tuple(Region):
        return share
    return Share(
        name=Region(share.name).says, sites=share.sites, weight=share.weight, sure=share.sure, extra_km=share.extra_km
    )


def shares(found: Iterable[Share], head: str, *, empty: str, counted: str = "NETWORKS") -> Table:
    """`counted`: what the numbers count, networks or (where big ones are split) their places."""
    columns = [
        Column(head=head),
        Column(head="SHARE", right=True),
        Column(head=counted, right=True),
        Column(head="SURE", right=True, drop=2),
        Column(head="BEYOND NEAREST", right=True, drop=1),
    ]
    lines: list[list[Cell]] = [
        [share.name or empty, percent(share.weight), f"{share.sites:,}", percent(share.sure), km(share.extra_km)]
        for share in found
    ]
    return Table(columns=columns, rows=lines, empty="no networks")


def rows(found: Iterable[Row]) -> Table:
    """Single networks: one line for those of a network's places that get the same answer."""
    columns = [
        Column(head="NETWORK"),
        Column(head="IN", maybe=True),
        Column(head="POP"),
        Column(head="CONFIDENCE"),
        Column(head="CHANCE", right=True, maybe=True),
        Column(head="BEYOND NEAREST", right=True, maybe=True),
        Column(head="SHARE", right=True, drop=2),
        Column(head="AS PATH", drop=1),
    ]
    lines: list[list[Cell]] = []
    same: dict[tuple[object, ...], list[Row]] = {}
    for row in found:
        same.setdefault((row.asn, row.pop, row.confidence, row.ties), []).append(row)
    for places in same.values():
        row = places[0]
        style = "" if row.pop is None or row.nearest is None else "green" if row.pop == row.nearest else "bold yellow"
        sure = row.confidence.value + (f" {'/'.join(row.ties)}" if row.confidence is Confidence.TIE else "")
        path = " ".join(map(str, row.path)) or "-"
        lines.append(
            [
                f"AS{row.asn}",
                " ".join(filter(None, (place.city for place in places[:3])))
                + (f" +{len(places) - 3}" if len(places) > 3 else "")
                or "-",
                (row.pop or "-", style if all(place.nearest == row.nearest for place in places) else ""),
                (sure, _STYLES[row.confidence]),
                percent(row.chance) if row.chance is not None else "-",
                km(_mean(place.extra_km for place in places)),
                percent(sum(place.weight for place in places)),
                path,
            ]
        )
    return Table(columns=columns, rows=lines, empty="no networks")


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def difference(found: Diff) -> list[Shown]:
    """Who moves where, and who is better off."""
    columns = [
        Column(head="FROM"),
        Column(head="TO"),
        Column(head="NETWORKS", right=True),
        Column(head="SHARE", right=True, drop=1),
        Column(head="DISTANCE", right=True),
        Column(head="SURE", right=True, drop=2),
    ]
    lines: list[list[Cell]] = [
        [
            move.before or "no route",
            (move.after or "no route", "" if move.after else "bold red"),
            f"{move.networks:,}",
            percent(move.weight),
            (km(move.km, signed=True), "green" if move.km < 0 else "yellow"),
            percent(move.sure),
        ]
        for move in found.moves
    ]
    return [
        found.sentence,
        "",
        Table(columns=columns, rows=lines, empty="no network moves"),
        f"{found.stay:,} networks stay; {percent(found.winners)} come nearer, {percent(found.losers)} go further"
        + (f", {percent(found.lost)} lose their route" if found.lost else ""),
    ]


def to_ask(found: Iterable[Asked], probes: Mapping[int, Sequence[int]] | None) -> list[Shown]:
    """The networks to measure next, in order. `probes`: those that stand in each network, where it is known."""
    columns = [
        Column(head="NETWORK"),
        Column(head="IN", maybe=True),
        Column(head="NOW"),
        Column(head="CHANCE", right=True),
        Column(head="STANDS FOR", right=True, drop=1),
        Column(head="DECIDES", right=True),
        Column(head="PROBES", maybe=True),
    ]
    rows: list[list[Cell]] = []
    for one in found:
        there = (probes or {}).get(one.asn, ())
        rows.append(
            [
                f"AS{one.asn}",
                one.city or "-",
                one.pop,
                percent(one.chance),
                percent(one.stands_for),
                percent(one.decides),
                " ".join(map(str, there[:3])) + (f" +{len(there) - 3}" if len(there) > 3 else "") or "-",
            ]
        )
    return [Table(columns=columns, rows=rows, empty="no network can be asked")]


def evaluation(found: Evaluation) -> list[Shown]:
    """Accuracy beside its baseline, all over and by class of confidence."""
    columns = [
        Column(head="CLASS"),
        Column(head="NETWORKS", right=True),
        Column(head="ACCURACY", right=True),
        Column(head="BASELINE", right=True),
        Column(head="BALANCED", right=True),
        Column(head="BASELINE", right=True),
        Column(head="LOG LOSS", right=True, maybe=True),
        Column(head="ALWAYS", drop=1),
    ]
    lines: list[list[Cell]] = [
        [
            (score.name, "bold" if score is found.overall else ""),
            f"{score.networks:,}",
            percent(score.accuracy),
            percent(score.baseline),
            percent(score.balanced),
            percent(score.balanced_baseline),
            f"{score.loss:.3f}" if score.loss is not None else "-",
            score.baseline_pop,
        ]
        for score in (found.overall, *found.by_confidence, *([found.vote] if found.vote is not None else []))
    ]
    wrong = [
        f"  {predicted or 'no route'} was predicted, {truth} was measured: {number:,}"
        for predicted, truth, number in found.confusion
        if predicted != truth
    ]
    missing = (
        [f"measurements of networks that the prediction does not have: {found.unmatched:,}"] if found.unmatched else []
    )
    likely: list[Shown] = (
        [
            f"answers differ by {percent(found.calibration.error)} on average from how often they say to be right",
            _calibration(found.calibration),
        ]
        if found.calibration is not None
        else []
    )
    return [
        Table(columns=columns, rows=lines),
        "the baseline is what guessing the biggest measured PoP for everybody scores"
        + ("; vote is where most measured customers of the same providers land" if found.vote is not None else ""),
        *missing,
        *likely,
        *(["wrong:", *wrong[:20]] if wrong else []),
    ]


def _calibration(found: Calibration) -> Table:
    columns = [Column(head="SAID", right=True), Column(head="RIGHT", right=True), Column(head="NETWORKS", right=True)]
    rows: list[list[Cell]] = [[percent(c.said), percent(c.right), f"{c.networks:,}"] for c in found.classes]
    return Table(columns=columns, rows=rows)
