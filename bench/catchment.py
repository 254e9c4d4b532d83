"""Catchments at the scale of the Internet: load, propagate, search; beside BGPy in the same run.

Uses the relationships dataset where one lies beside the project (`../shared/data/*.as-rel.txt.bz2`, or
$ANYPOP_AS_RELATIONSHIPS), else a generated graph of 80,000 networks. That dataset has no places, so for the two-level
rows every network is put somewhere by lot: it measures time, not truth.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from anypop.model.cities import find_city
from anypop.model.names import CityCode
from anypop.routing.catchment.predict import judged, site_weights
from anypop.routing.catchment.search import search
from anypop.routing.catchment.sessions import Announcements, Session, seeds_of
from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.generate import EXCHANGES, generate
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import Relationships, read_relationships
from anypop.routing.internet.sites import Internet
from anypop.routing.internet.world import build_internet
from bench.harness import Row, row
from bench.oracle import Oracle, Uplinks

T = TypeVar("T")
POPS = tuple(sorted(city for cities in EXCHANGES.values() for city in cities[:7]))[:30]
SESSIONS = 107
GENERATED = 80_000
WIDE = 40  # networks that span continents, in the two-level graph
RUNS = 30


def dataset() -> Path | None:
    """A file of relationships that the user has, or None."""
    given = os.environ.get("ANYPOP_AS_RELATIONSHIPS")
    if given:
        return Path(given)
    beside = sorted((Path(__file__).resolve().parents[2] / "shared" / "data").glob("*.as-rel*.bz2"))
    return beside[-1] if beside else None


def load() -> tuple[Relationships, Internet]:
    """From bytes to a graph that is ready to propagate over."""
    file = dataset()
    links = read_relationships(file.read_bytes(), file.name) if file else generate(GENERATED, 7).relationships
    return links, build_internet(links)


def uplinks(internet: Internet, seed: int = 1) -> Uplinks:
    """107 sessions of 30 PoPs with upstreams drawn from the 400 networks with the most customers."""
    rng = np.random.default_rng(seed)
    big = internet.asn[np.argsort(-np.diff(internet.customers.start), kind="stable")[:400]]
    chosen = rng.choice(big, size=SESSIONS, replace=False).tolist()
    return Uplinks(upstreams=tuple(tuple(chosen[i :: len(POPS)]) for i in range(len(POPS))))


def places(internet: Internet, seed: int = 2) -> Places:
    """Every network somewhere, the 40 with the most customers in ten cities of all continents."""
    rng = np.random.default_rng(seed)
    cities = {int(asn): (POPS[i],) for asn, i in zip(internet.asn, rng.integers(0, len(POPS), len(internet)), strict=True)}
    for asn in internet.asn[np.argsort(-np.diff(internet.customers.start), kind="stable")[:WIDE]].tolist():
        cities[asn] = tuple(POPS[i] for i in rng.choice(len(POPS), size=10, replace=False))
    return Places(cities=cities)


def rows() -> Iterable[Row]:
    """Rows `load`, `propagate`, `propagate_ties`, `propagate_two_level`, `search_single`, `search_two_level`,
    `memory`.
    """
    loads, (links, internet) = _timed(load, 3)
    up = uplinks(internet)
    engine = Engine(internet)
    prepared = engine.prepare(up.seeds(internet))
    engine.spread(prepared)  # compiles, or reads the compiled code from the cache
    plain, _ = _timed(lambda: engine.spread(prepared, ties=False), RUNS)
    ties, _ = _timed(lambda: engine.spread(prepared, ties=True), RUNS)

    began = time.perf_counter()
    oracle = Oracle(links, up)
    oracle_load = time.perf_counter() - began
    oracle_runs = []
    for _ in range(3):
        oracle.setup()
        began = time.perf_counter()
        oracle.run()
        oracle_runs.append(time.perf_counter() - began)
    engine.spread(prepared, ties=False)
    outcome = engine.outcome(prepared, True)
    expected = oracle.paths()
    differing = [
        asn
        for site, asn in enumerate(internet.asn.tolist())
        if expected.get(asn, ()) != ((asn, *outcome.path(site)) if outcome.path(site) else ())
    ]
    if differing:
        raise AssertionError(f"{len(differing)} AS paths differ from BGPy's, among them AS{differing[0]}")
    del oracle

    wide = build_internet(links, places(internet))
    wide_engine = Engine(wide)
    announcements = Announcements(
        asn=64500,
        sessions=tuple(
            Session(pop=CityCode(pop), upstream=f"AS{asn}", asn=asn) for pop, some in zip(POPS, up.upstreams, strict=True) for asn in some
        ),
    )
    assert all(find_city(pop) for pop in POPS)
    wide_prepared = wide_engine.prepare(seeds_of(wide, announcements))
    wide_engine.spread(wide_prepared)
    two_level, _ = _timed(lambda: wide_engine.spread(wide_prepared, ties=True), RUNS)

    single = judged(engine.outcome(prepared, True), announcements, weight=site_weights(internet), pins={}, homes=announcements.pops)
    broad = judged(wide_engine.outcome(wide_prepared, True), announcements, weight=site_weights(wide), pins={}, homes=announcements.pops)
    searched, found = _timed(lambda: search(engine, single), 3)
    searched_wide, _ = _timed(lambda: search(wide_engine, broad), 3)
    assert len(found) == SESSIONS * 4
    ours, theirs = _megabytes("ours"), _megabytes("oracle")

    yield row("load", loads, unit="s", against="BGPy", floor=[oracle_load])
    yield row("propagate", _ms(plain), unit="ms", against="BGPy", floor=_ms(oracle_runs), below=3, ratio_below=1 / 1000)
    yield row("propagate_ties", _ms(ties), unit="ms", against="BGPy, without ties", floor=_ms(oracle_runs), below=6)
    yield row("propagate_two_level", _ms(two_level), unit="ms", against="one level, with ties", floor=_ms(ties))
    once = [4 * SESSIONS * sum(plain) / len(plain)]
    yield row("search_single", searched, unit="s", against="428 propagations one by one", floor=once, below=2)
    yield row("search_two_level", searched_wide, unit="s", against="428 propagations one by one", floor=once, below=10)
    yield row("memory", [ours], unit="MB", against="BGPy", floor=[theirs], below=300)


def _timed(work: Callable[[], T], runs: int) -> tuple[list[float], T]:
    """Seconds of each run, and the last result."""
    samples = []
    for _ in range(runs):
        began = time.perf_counter()
        result = work()
        samples.append(time.perf_counter() - began)
    return samples, result


def _ms(seconds: Iterable[float]) -> list[float]:
    return [1000 * s for s in seconds]


def _megabytes(who: str) -> float:
    """Peak memory of a process of its own that loads the graph and propagates once."""
    done = subprocess.run([sys.executable, "-m", "bench.catchment", who], capture_output=True, text=True, check=True, timeout=600)
    return float(done.stdout.split()[-1])


def _peak() -> float:
    """The process's peak memory in MB (VmHWM: unlike ru_maxrss it does not count the parent from which it was
    forked).
    """
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def _alone(who: str) -> None:
    links, internet = load()
    if who == "ours":
        engine = Engine(internet)
        engine.run(uplinks(internet).seeds(internet))
    else:
        oracle = Oracle(links, uplinks(internet))
        oracle.setup()
        oracle.run()
    print(_peak())


if __name__ == "__main__":
    _alone(sys.argv[1])
