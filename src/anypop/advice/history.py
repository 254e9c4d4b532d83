"""Announcements of the past and where networks landed under them, kept in a folder; and predictions learnt from it.

In: a folder of NAME.yaml (what was announced: a plan), NAME.csv (observations) and NAME.shares.csv (which share each
PoP got, where that is known); a graph, and announcements that are asked about. Out: a `Prediction` whose answers have
chances. What was measured under exactly the announcements that are asked about is told as measured; the rest is
history. Reads and writes these files and nothing else.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from anypop.advice import plans
from anypop.advice.measurements import as_csv
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode
from anypop.model.sessions import Announcements

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from anypop.advice.graph import Graph
    from anypop.routing.catchment.observations import Observation
    from anypop.routing.catchment.predict import Prediction
    from anypop.routing.engine.propagate import Outcome
    from anypop.routing.inference.parts import Known
    from anypop.routing.internet.sites import Int32


SHARES = ".shares.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One announcement with what was seen under it. `shares`: what each PoP got in all, where that is known."""

    announced: Announcements
    seen: "tuple[Observation, ...]"
    shares: Mapping[str, float] = field(default_factory=dict)


def read(folder: Path) -> tuple[Kept, ...]:
    """All pairs, in the order of their names. Raises `Invalid` with the problems of all files."""
    found: list[Kept] = []
    problems: list[Problem] = []
    try:
        files = sorted(folder.glob("*.yaml"))
        if not folder.is_dir():
            raise Invalid.one(str(folder), "is no folder: 'anypop catchment observe --announced' makes one")
    except OSError as error:
        raise Invalid.one(str(folder), f"cannot be read: {error.strerror}") from error
    for file in files:
        try:
            found.append(read_one(file))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(path=str(file), message=f"cannot be read: {error}"))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(problems)
    return tuple(found)


def keep(
    folder: Path,
    announced: Announcements,
    seen: "Sequence[Observation]",
    *,
    now: float,
    shares: Mapping[str, float] | None = None,
) -> tuple[Path, int]:
    """Add what was seen under these announcements: to the newest where it has the same, else as a new one, called
    by the time `now`, or the first second after it that is free. `shares` take the place of those before. Returns its
    plan file, and how many observations it holds. Each file is replaced as a whole, the plan last: without it nothing
    is there.
    """
    from anypop.routing.measured import shares as of_pops  # noqa: PLC0415 - as below

    with _alone(folder):
        known = sorted(folder.glob("*.yaml"))
        newest = read_one(known[-1]) if known else None
        if newest is not None and same(newest.announced, announced):
            file, old = known[-1], newest.seen
        else:
            file, old = _free(folder, now), ()
        every = tuple(dict.fromkeys([*old, *seen]))
        texts = [(file.with_suffix(".csv"), as_csv(every)), (file, plans.write(announced))]
        if shares:
            texts.insert(0, (file.with_suffix(SHARES), of_pops.write(shares)))
        _write(texts)
    return file, len(every)


def keep_traffic(
    folder: Path, announced: Announcements, seen: "Sequence[Observation]", *, begun: float
) -> tuple[Path, int]:
    """What traffic tells of these announcements, in place of what it told before; what was measured otherwise stays.
    In the newest that has the same, else in a new one, called by the time `begun`. Returns as `keep` does.
    """
    from anypop.routing.measured.traffic import VANTAGE  # noqa: PLC0415 - as below

    with _alone(folder):
        for path in sorted(folder.glob("*.yaml"), reverse=True):
            kept = read_one(path)
            if same(kept.announced, announced):
                file, old = path, [one for one in kept.seen if not one.vantage.startswith(VANTAGE)]
                break
        else:
            file, old = _free(folder, begun), []
        every = tuple(dict.fromkeys([*old, *seen]))
        _write([(file.with_suffix(".csv"), as_csv(every)), (file, plans.write(announced))])
    return file, len(every)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While nobody else writes into the folder, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _free(folder: Path, moment: float) -> Path:
    """A plan file that is not there yet, called by the first second from `moment` on that no other has."""
    at = datetime.fromtimestamp(moment, UTC)
    while (file := folder / f"{at:%Y-%m-%dT%H%M%SZ}.yaml").exists():
        at += timedelta(seconds=1)
    return file


def _write(texts: Sequence[tuple[Path, str]]) -> None:
    """Each as a whole."""
    for path, text in texts:
        new = path.with_name(path.name + ".new")
        new.write_text(text)
        new.rename(path)


def read_one(file: Path) -> Kept:
    """One announcement by its plan file."""
    from anypop.routing.catchment.observations import read_csv  # noqa: PLC0415 - numpy is behind it
    from anypop.routing.measured import shares  # noqa: PLC0415

    seen, parts = file.with_suffix(".csv"), file.with_suffix(SHARES)
    return Kept(
        announced=plans.read(file.read_text(encoding="utf-8"), str(file)),
        seen=read_csv(seen.read_text(encoding="utf-8"), str(seen)) if seen.exists() else (),
        shares=shares.read(parts.read_text(encoding="utf-8"), str(parts), {}) if parts.exists() else {},
    )


def same(a: Announcements, b: Announcements) -> bool:
    """Whether the same is announced to the same neighbours."""
    return _announced(a) == _announced(b)


def _announced(of: Announcements) -> frozenset[object]:
    return frozenset(
        (s.pop, s.asn, s.upstream, s.scope.prepend, frozenset(s.scope.every_community)) for s in of.sessions if s.hears
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known for an answer about announcements. `known`: for those who learn; `pins`: what was measured under
    them; `shares`: what each PoP got under them, where that is known.
    """

    outcome: "Outcome"
    known: "Known"
    pins: Mapping[int, str]
    shares: Mapping[str, float]


def asked(
    graph: "Graph", announcements: Announcements, kept: Sequence[Kept], outcome: "Outcome | None" = None
) -> Asked:
    """All that graph, measurements and history know about these announcements. `outcome`: how they spread, where that
    is known already.
    """
    from anypop.routing.catchment.observations import pins_of  # noqa: PLC0415 - numpy is behind all of these
    from anypop.routing.catchment.predict import landing  # noqa: PLC0415
    from anypop.routing.catchment.sessions import seeds_of  # noqa: PLC0415
    from anypop.routing.inference.history import history_of, indexes  # noqa: PLC0415
    from anypop.routing.inference.infer import known_of  # noqa: PLC0415
    from anypop.routing.inference.traits import traits_of  # noqa: PLC0415

    internet, pops = graph.internet, announcements.pops
    if outcome is None:
        outcome = graph.engine.run(seeds_of(internet, announcements))
    now = [k for k in kept if same(k.announced, announcements)]
    past = [k for k in kept if k not in now]
    pins = {**pins_of(internet, [o for k in now for o in k.seen]), **graph.pins()}
    known = known_of(
        internet,
        pops=pops,
        graph=landing(outcome, pops),
        landed=indexes(internet, pins, pops, pops),
        history=history_of(
            internet,
            [(k.announced.pops, pins_of(internet, k.seen)) for k in past],
            more=pops,
            shares=[k.shares for k in past],
        ),
        traits=traits_of(outcome),
    )
    shares = next((k.shares for k in reversed(now) if k.shares), {})
    return Asked(outcome=outcome, known=known, pins=pins, shares=shares)


def learnt(
    graph: "Graph",
    announcements: Announcements,
    homes: tuple[CityCode, ...],
    kept: Sequence[Kept],
    what: Asked | None = None,
) -> "Prediction":
    """Where everybody lands, by the graph, by what was seen under these announcements, and by history. `what`: as
    `asked` tells it, where that was asked already.
    """
    import numpy as np  # noqa: PLC0415 - as below: for who asks

    from anypop.routing.catchment.predict import judged, site_weights, told  # noqa: PLC0415
    from anypop.routing.inference.infer import infer  # noqa: PLC0415
    from anypop.routing.inference.parts import GRAPH_ALONE  # noqa: PLC0415
    from anypop.routing.measured.shares import calibrated  # noqa: PLC0415

    what = what or asked(graph, announcements, kept)
    pops, landed = announcements.pops, what.known.landed
    found = infer(what.known)
    weight = site_weights(graph.internet, graph.weights)
    plain = judged(what.outcome, announcements, weight=weight, pins=what.pins, homes=homes)
    chances, says = found.chance, found.says
    if what.shares:
        chances = calibrated(chances, pops=pops, weight=weight, shares=what.shares, known=landed >= 0)
        says += "; in all each PoP gets the share that it is known to have"
    best = chances.argmax(axis=1)
    chance = chances[np.arange(len(best)), best]
    if not found.tried and (moved := _moved(graph, announcements, kept, what.known.graph)) is not None:
        # history knows PoPs, and not what a rule at one neighbour does: there the graph has the word
        moved &= landed < 0
        best, chance = np.where(moved, what.known.graph, best), np.where(moved, GRAPH_ALONE, chance)
    return told(plain, pops=pops, index=best, chance=chance, way=says)


def _moved(
    graph: "Graph", announcements: Announcements, kept: Sequence[Kept], landing_now: "Int32"
) -> "npt.NDArray[np.bool_] | None":
    """Per site whether the graph's answer differs from that to the newest announcement from the same PoPs; None where
    there is none, or the graph does not know it any more.
    """
    from anypop.routing.catchment.predict import landing  # noqa: PLC0415 - see `learnt`
    from anypop.routing.catchment.sessions import seeds_of  # noqa: PLC0415

    alike = [k.announced for k in kept if k.announced.pops == announcements.pops]
    if not alike or same(alike[-1], announcements):
        return None
    try:
        before = graph.engine.run(seeds_of(graph.internet, alike[-1]))
    except Invalid:
        return None
    moved: npt.NDArray[np.bool_] = (landing(before, announcements.pops) != landing_now) & (landing_now >= 0)
    return moved
