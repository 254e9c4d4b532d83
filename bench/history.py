"""Where networks land, learnt from measured announcements: each left out in turn, and judged on it.

Uses the measured catchments of two-site announcements where they lie beside the project
(`../shared/data/peering-two-sites.csv.gz`, or $ANYPOP_CATCHMENTS: a column `asn`, then one for each announcement,
`SITE|SITE`, with 0, 1 or nothing), with the upstreams of each site in the README beside it, and the relationships
dataset of `bench.catchment`. Four questions are asked of each announcement: half of its networks measured, one in two
hundred by chance, as many that were chosen (`planned`), none. Figures are of networks that were not measured, means
over the announcements. The aims were measured with twenty others of the same testbed behind each announcement, of which
eleven are here: so the ways that they were measured with stand beside (`trees_of_past`: boosted trees over where a
network landed under the others; `strict_order`: the order of PoPs that each network showed, where it has one).
"""

import csv
import gzip
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

from anypop.cli.failure import Failure
from anypop.model.names import CityCode
from anypop.model.network import UpstreamKind
from anypop.routing.catchment.evaluate import calibration
from anypop.routing.catchment.predict import landing
from anypop.routing.catchment.sessions import Announcements, Session, seeds_of
from anypop.routing.engine.propagate import Engine
from anypop.routing.inference.history import NOT_MEASURED, History, Past
from anypop.routing.inference.infer import Inferred, infer, known_of
from anypop.routing.inference.next_measured import next_measured
from anypop.routing.inference.parts import Known
from anypop.routing.inference.traits import traits_of
from anypop.routing.internet.sites import Int32
from bench.catchment import load
from bench.harness import Row, row

SITES = {
    "amsterdam01": "AMS",
    "clemson01": "GSP",
    "grnet01": "ATH",
    "phoenix01": "PHX",
    "seattle01": "SEA",
    "ufmg01": "CNF",
    "uw01": "PDX",
}
ORIGIN = 47065
QUESTIONS = ("half", "half_percent", "planned", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One announcement: its PoPs, and per site of the graph an index in them, -1: not measured."""

    pops: tuple[str, ...]
    landed: Int32
    sessions: tuple[Session, ...]


def rows() -> Iterable[Row]:
    """All rows."""
    engine, every = read()
    kept: dict[str, list[float]] = {}
    started = time.monotonic()
    longest = 0.0
    for index in range(len(every)):
        for question in QUESTIONS:
            before = time.monotonic()
            known, found, held = ask(engine, every, index, question)
            longest = max(longest, time.monotonic() - before)
            figures = judge(found, every[index].landed, held, engine, every[index])
            for name, value in (figures | _peer(known, every, index, held)).items():
                kept.setdefault(f"{question}_{name}", []).append(value)
    aims = {"half": (0.955, 0.88), "half_percent": (0.93, 0.80), "none": (0.85, 0.74)}
    for question, (accuracy, balanced) in aims.items():
        for name, aim in (("accuracy", accuracy), ("balanced", balanced)):
            yield _mean(f"{question}_{name}", kept, f"{question}_majority_{name}", "majority", at_least=aim)
        for other in ("trees_of_past", "strict_order", "vote", "graph"):
            for name in ("accuracy", "balanced"):
                if f"{question}_{other}_{name}" in kept:
                    yield _mean(f"{question}_{other}_{name}", kept)
        yield _mean(f"{question}_calibration_error", kept, below=0.02)
    for name in ("accuracy", "balanced"):
        yield _mean(f"planned_{name}", kept, f"half_percent_{name}", "by chance")
    yield row("seconds", [longest], unit="s", below=60)
    yield row("all_seconds", [time.monotonic() - started], unit="s")


def _mean(
    name: str, kept: dict[str, list[float]], against: str = "", peer: str = "", *, at_least: float | None = None,
    below: float | None = None,
) -> Row:  # fmt: skip
    mean = [float(np.mean(kept[name]))]
    floor = [float(np.mean(kept[against]))] if against else ()
    return row(name, mean, unit="share", against=peer, floor=floor, at_least=at_least, below=below)


def read() -> tuple[Engine, tuple[Measured, ...]]:
    """The graph and the announcements."""
    file = Path(
        os.environ.get("ANYPOP_CATCHMENTS")
        or Path(__file__).resolve().parents[2] / "shared" / "data" / "peering-two-sites.csv.gz"
    )
    if not file.is_file():
        raise Failure(
            "no measured announcements are here", advice="Name a file with ANYPOP_CATCHMENTS; see bench/history.py."
        )
    _, internet = load()
    with gzip.open(file, "rt") as text:
        table = list(csv.reader(text))
    upstreams = _upstreams((file.parent / "README.md").read_text(), internet.asns)
    groups = [internet.group_of(int(line[0])) for line in table[1:]]
    found = []
    for column, name in enumerate(table[0][1:], start=1):
        sites = name.split("|")
        landed = np.full(len(internet), NOT_MEASURED, dtype=np.int32)
        for line, group in zip(table[1:], groups, strict=True):
            if group is not None and line[column]:
                landed[internet.first[group] : internet.first[group + 1]] = int(line[column])
        pops = tuple(SITES[site] for site in sites)
        found.append(
            Measured(pops=pops, landed=landed, sessions=tuple(s for site in sites for s in upstreams[SITES[site]]))
        )
    return Engine(internet), tuple(found)


def _upstreams(text: str, known: npt.NDArray[np.int64]) -> dict[str, tuple[Session, ...]]:
    """Lines `- site: ..., AS1, AS2` or `- site: 89 neighbours, transit AS1, the rest peers: 1, 2`."""
    there = set(known.tolist())
    found = {}
    for name, line in re.findall(r"^- (\w+): (.*)$", text, flags=re.MULTILINE):
        if name not in SITES:
            continue
        transit = {int(number) for number in re.findall(r"AS(\d+)", line)}
        peers = {int(number) for number in re.findall(r"\d+", line.partition("peers: ")[2])} - transit
        found[SITES[name]] = tuple(
            Session(pop=CityCode(SITES[name]), upstream=f"AS{asn}", asn=asn, kind=kind)
            for kind, numbers in ((UpstreamKind.TRANSIT, transit), (UpstreamKind.PEER, peers))
            for asn in sorted(numbers & there)
        )
    return found


def ask(
    engine: Engine, every: tuple[Measured, ...], index: int, question: str
) -> tuple[Known, Inferred, npt.NDArray[np.bool_]]:
    """What is known and said of one announcement out of the others and a part of its networks, and which networks
    judge it.
    """
    asked, internet = every[index], engine.internet
    measured = np.flatnonzero(asked.landed != NOT_MEASURED)
    count = round({"half": 0.5, "half_percent": 0.005, "planned": 0.005, "none": 0.0}[question] * len(measured))
    told = np.zeros(len(internet), dtype=bool)
    if question == "planned":
        unasked = _known(engine, every, index, told)
        chance = infer(unasked).chance
        weight = np.full(len(internet), 1 / len(internet))
        chosen = next_measured(unasked, chance, weight, asked.landed != NOT_MEASURED, count)
        told[[one.site for one in chosen]] = True
    else:
        told[np.random.default_rng(index).permutation(measured)[:count]] = True
    known = _known(engine, every, index, told)
    return known, infer(known), (asked.landed != NOT_MEASURED) & ~told


def _known(engine: Engine, every: tuple[Measured, ...], index: int, told: npt.NDArray[np.bool_]) -> Known:
    asked, internet = every[index], engine.internet
    pops = tuple(sorted(SITES.values()))
    number = {pop: at for at, pop in enumerate(pops)}
    pasts = []
    for other in (one for at, one in enumerate(every) if at != index):
        of_history = np.array([*(number[pop] for pop in other.pops), NOT_MEASURED], dtype=np.int32)
        pasts.append(Past(pops=tuple(sorted(other.pops)), landed=of_history[other.landed]))
    outcome = engine.run(seeds_of(internet, Announcements(asn=ORIGIN, sessions=asked.sessions)))
    return known_of(
        internet,
        pops=asked.pops,
        graph=landing(outcome, asked.pops),
        landed=np.where(told, asked.landed, NOT_MEASURED).astype(np.int32),
        history=History(pops=pops, pasts=tuple(pasts)),
        traits=traits_of(outcome),
    )


def _peer(known: Known, every: tuple[Measured, ...], index: int, held: npt.NDArray[np.bool_]) -> dict[str, float]:
    """The bare way that the aims were measured with, on the same networks."""
    told = known.landed != NOT_MEASURED
    if told.any():
        return scores("trees_of_past_", _trees_of_past(known, told)[held], every[index].landed[held])
    return scores("strict_order_", _strict_order(every, index)[held], every[index].landed[held])


def _trees_of_past(known: Known, told: npt.NDArray[np.bool_]) -> Int32:
    if len(labels := np.unique(known.landed[told])) < 2:
        return np.full(len(told), labels[0], dtype=np.int32)
    past = known.past[:, ~np.isnan(known.past[told]).all(axis=0)]
    few = {"min_samples_leaf": 5, "max_iter": 40} if told.sum() < 2000 else {}
    trees = HistGradientBoostingClassifier(random_state=0, **few).fit(past[told], known.landed[told])
    return np.asarray(trees.predict(past), dtype=np.int32)


def _strict_order(every: tuple[Measured, ...], index: int) -> Int32:
    """AnyOpt's order of sites (Zhang et al. 2021): whom a network took rather than whom, and what follows from it; one
    that has no order goes with most of those that have one.
    """
    number = {pop: at for at, pop in enumerate(sorted(SITES.values()))}
    rather = np.zeros((len(number), len(number), len(every[index].landed)), dtype=bool)
    for other in (one for at, one in enumerate(every) if at != index):
        first, second = (number[pop] for pop in other.pops)
        rather[first, second] |= other.landed == 0
        rather[second, first] |= other.landed == 1
    for between in range(len(number)):
        rather |= rather[:, between, None] & rather[None, between]
    first, second = (number[pop] for pop in every[index].pops)
    one, two = rather[first, second], rather[second, first]
    most = int((two & ~one).sum() > (one & ~two).sum())
    return np.where(one == two, most, np.where(one, 0, 1)).astype(np.int32)


def judge(
    found: Inferred, landed: Int32, held: npt.NDArray[np.bool_], engine: Engine, asked: Measured
) -> dict[str, float]:
    """Figures over the networks that judge, beside those of the simple ways."""
    truth = landed[held]
    said = found.chance[held].argmax(axis=1)
    sure = found.chance[held].max(axis=1)
    shares = np.bincount(truth, minlength=2) / len(truth)
    result = {
        **scores("", said, truth),
        "majority_accuracy": float(shares.max()),
        "majority_balanced": 0.5,
        "calibration_error": calibration_error(sure, said == truth),
    }
    outcome = engine.run(seeds_of(engine.internet, Announcements(asn=ORIGIN, sessions=asked.sessions)))
    result |= scores("graph_", landing(outcome, asked.pops)[held], truth)
    vote = next((one for one in found.tried if one.name == "vote"), None)
    return result | ({"vote_accuracy": vote.accuracy, "vote_balanced": vote.balanced} if vote else {})


def calibration_error(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Mean distance between how sure answers are and how often they are right."""
    return calibration(list(zip(sure.tolist(), right.tolist(), strict=True))).error


def scores(name: str, said: npt.NDArray[np.signedinteger[Any]], truth: Int32) -> dict[str, float]:
    """Accuracy and balanced accuracy; `name` begins both names."""
    return {
        f"{name}accuracy": float((said == truth).mean()),
        f"{name}balanced": float(np.mean([(said[truth == pop] == pop).mean() for pop in np.unique(truth)])),
    }
