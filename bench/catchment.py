"""Catchments at the scale of the Internet: load, propagate, search; beside BGPy in the same run.

Uses the relationships dataset where one lies beside the project (`../shared/data/*.as-rel.txt.bz2`, or
$ANYPOP_AS_RELATIONSHIPS), else a generated graph of 80,000 networks. That dataset has no places, so for the two-level
rows every network is put somewhere by lot: it measures time, not truth.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from anypop.advice import graph_files, plans
from anypop.model.cities import find_city
from anypop.model.names import CityCode
from anypop.routing.catchment.predict import judged, site_weights
from anypop.routing.catchment.search import search
from anypop.routing.catchment.sessions import Announcements, Session, seeds_of
from anypop.routing.engine.change import fresh_change, respread, start_from, take_back
from anypop.routing.engine.propagate import Engine, Prepared
from anypop.routing.internet.generate import EXCHANGES, SHARES, generate
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import Relationships, read_relationships
from anypop.routing.internet.sites import Internet
from anypop.routing.internet.world import build_internet
from bench.harness import Row, row
from bench.london import engine_for_london, examine
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
    """Every network somewhere: the 40 with the most customers in ten cities, others mostly on the continent of a
    provider.
    """
    rng = np.random.default_rng(seed)
    regions = list(EXCHANGES)
    wide = set(internet.asn[np.argsort(-np.diff(internet.customers.start), kind="stable")[:WIDE]].tolist())
    region = rng.choice(len(regions), size=len(internet), p=[SHARES[r] for r in regions])
    # From the top down: a network comes after its providers, as far as there is such an order.
    waiting = np.diff(internet.providers.start).astype(np.int64)
    ready = np.flatnonzero(waiting == 0).tolist()
    while ready:
        site = ready.pop()
        near = [other for other in internet.providers.of(site).tolist() if int(internet.asn[other]) not in wide]
        if near and rng.random() < 0.9:
            region[site] = region[near[int(rng.integers(0, len(near)))]]
        for customer in internet.customers.of(site).tolist():
            waiting[customer] -= 1
            if waiting[customer] == 0:
                ready.append(customer)
    lots = rng.integers(0, 1 << 30, len(internet)).tolist()
    cities: dict[int, tuple[str, ...]] = {}
    for asn, index, lot in zip(internet.asn.tolist(), region.tolist(), lots, strict=True):
        choice = EXCHANGES[regions[index]]
        cities[asn] = (choice[lot % len(choice)],)
    for asn in wide:
        cities[asn] = tuple(city for choice in EXCHANGES.values() for city in choice[:2])[:10]
    return Places(cities=cities)


def rows() -> Iterable[Row]:
    """Rows `first_predict`, `predict`, `load`, `propagate`, `propagate_over_links`, `propagate_ties`,
    `propagate_two_level`, `propagate_change`, `search_single`, `search_two_level`, `doctor_london`, `memory`.
    """
    first, again, bare = _commands()
    loads, (links, internet) = _timed(load, 3)
    up = uplinks(internet)
    engine = Engine(internet)
    prepared = engine.prepare(up.seeds(internet))
    engine.spread(prepared)  # compiles, or reads the compiled code from the cache
    plain, _ = _timed(lambda: engine.spread(prepared, ties=False), RUNS)
    ties, _ = _timed(lambda: engine.spread(prepared, ties=True), RUNS)
    every_link = (internet.customers, internet.providers, internet.peers, internet.siblings, internet.internal)
    read, _ = _timed(lambda: [side.to.sum() for side in every_link], RUNS)

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
    announcements = _announced(up)
    assert all(find_city(pop) for pop in POPS)
    wide_prepared = wide_engine.prepare(seeds_of(wide, announcements))
    wide_engine.spread(wide_prepared)
    two_level, _ = _timed(lambda: wide_engine.spread(wide_prepared, ties=True), RUNS)

    single = judged(
        engine.outcome(prepared, True), announcements, weight=site_weights(internet), pins={}, homes=announcements.pops
    )
    broad = judged(
        wide_engine.outcome(wide_prepared, True),
        announcements,
        weight=site_weights(wide),
        pins={},
        homes=announcements.pops,
    )
    search(engine, single, threads=1)  # compiles
    changes = _changes(engine, prepared)
    searched, found = _timed(lambda: search(engine, single), 3)
    searched_wide, _ = _timed(lambda: search(wide_engine, broad), 3)
    assert len(found) == SESSIONS * 4
    patient = engine_for_london(links, places(internet))
    examine(patient)  # compiles what only the doctor needs
    examined, findings = _timed(lambda: examine(patient), 3)
    tried = [len(findings.repairs) * sum(two_level) / len(two_level)]
    ours, theirs = _megabytes("ours"), _megabytes("oracle")

    imports = "a Python that imports numpy"
    yield row("first_predict", first, unit="s", against=imports, floor=bare, below=3)
    yield row("predict", again, unit="s", against=imports, floor=bare, below=1)
    yield row("load", loads, unit="s", against="BGPy", floor=[oracle_load])
    yield row("propagate", _ms(plain), unit="ms", against="BGPy", floor=_ms(oracle_runs), below=1)
    # No propagation looks at every link, and none is quicker than to look at what it must: how far it is from that.
    yield row("propagate_over_links", _ms(plain), unit="ms", against="all links read once by numpy", floor=_ms(read))
    faster = [sum(oracle_runs) / len(oracle_runs) / seconds for seconds in plain]
    yield row("times_faster_than_bgpy", faster, unit="x", at_least=1000)
    yield row("propagate_ties", _ms(ties), unit="ms", against="BGPy, without ties", floor=_ms(oracle_runs), below=2)
    yield row("propagate_two_level", _ms(two_level), unit="ms", against="one level, with ties", floor=_ms(ties))
    yield row("propagate_change", _ms(changes), unit="ms", against="one level, the whole", floor=_ms(plain), below=1)
    once = [4 * SESSIONS * sum(plain) / len(plain)]
    yield row("search_single", searched, unit="s", against="428 propagations one by one", floor=once, below=0.2)
    yield row("search_two_level", searched_wide, unit="s", against="428 propagations one by one", floor=once, below=0.3)
    yield row(
        "doctor_london",
        examined,
        unit="s",
        against=f"{len(findings.repairs)} propagations, one per repair tried",
        floor=tried,
    )
    yield row("memory", [ours], unit="MB", against="BGPy", floor=[theirs], below=300)


def _changes(engine: Engine, prepared: Prepared) -> list[float]:
    """Seconds of each single change, worked out from the present state and taken back."""
    engine.spread(prepared, ties=False, recorded=True)
    change = fresh_change(engine.graph, SESSIONS)
    start_from(engine.graph, prepared.sown, engine.state, change)
    samples = []
    for index in range(SESSIONS):
        for prepends in (-1, 1, 2, 3):
            after = prepared.variant({index: prepends})
            which = np.array([index], dtype=np.int32)
            began = time.perf_counter()
            touched = respread(engine.graph, after.sown, after.actions, engine.state, change, which)
            take_back(engine.state, change, touched)
            samples.append(time.perf_counter() - began)
    return samples[1:]  # the first one loads the compiled code


def _commands() -> tuple[list[float], list[float], list[float]]:
    """Seconds of `anypop catchment predict` in processes of their own: with nothing kept but what the set-up compiled;
    with the graph kept; and of a Python that imports numpy, beside them.
    """
    from anypop.routing import ready  # noqa: PLC0415 - it compiles

    ready.main()  # as script/setup does
    first: list[float] = []
    again: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        graph = dataset() or Path(folder, "graph.txt")
        if not graph.exists():
            graph.write_text(graph_files.serial_1(generate(GENERATED, 7).relationships, about="invented"))
        plan = Path(folder, "plan.yaml")
        plan.write_text(plans.write(_announced(uplinks(build_internet(read_relationships(graph.read_bytes(), ""))))))
        command = (Path(sys.executable).with_name("anypop"), "catchment", "predict", "--graph", graph, "--plan", plan)
        for number in range(5):
            environment = os.environ | {"XDG_CACHE_HOME": f"{folder}/{number}"}
            for samples in (first, again):
                samples.append(_process(command, environment))
            bare.append(_process((sys.executable, "-c", "import numpy"), environment))
    return first, again, bare


def _process(command: Sequence[str | Path], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, timeout=300, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _announced(up: Uplinks) -> Announcements:
    return Announcements(
        asn=64500,
        sessions=tuple(
            Session(pop=CityCode(pop), upstream=f"AS{asn}", asn=asn)
            for pop, some in zip(POPS, up.upstreams, strict=True)
            for asn in some
        ),
    )


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
    done = subprocess.run(
        [sys.executable, "-m", "bench.catchment", who], capture_output=True, text=True, check=True, timeout=600
    )
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
