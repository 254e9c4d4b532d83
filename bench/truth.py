"""Where networks land on an invented internet whose truth is known, and differs from the graph that one has of it.

The truth has other ties than by AS number, and some of its peers are providers; so a part of all networks lands
elsewhere than the graph says, as was measured of the real one (Anwar et al. 2015: 14 to 35 % of decisions). Six
announcements from two or three PoPs are made in it; each is asked about in turn with half of its networks measured and
the others as history. Figures are of networks that were not measured.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from anypop.model.names import CityCode
from anypop.routing.catchment.predict import landing, predict
from anypop.routing.catchment.sessions import Announcements, Session, seeds_of
from anypop.routing.engine.propagate import Engine
from anypop.routing.inference.history import NOT_MEASURED, history_of
from anypop.routing.inference.infer import infer, known_of
from anypop.routing.inference.traits import traits_of
from anypop.routing.internet.generate import generate
from anypop.routing.internet.relationships import Link
from anypop.routing.internet.sites import Int32
from anypop.routing.internet.world import build_internet
from bench.harness import Row, row
from bench.history import calibration_error, scores

NETWORKS = 20_000
TURNED = 0.12  # of the links between peers, one of which pays in truth
POPS = ("AMS", "JFK", "LAX", "SIN")
SETS = (
    ("AMS", "JFK", "LAX"),
    ("AMS", "JFK", "SIN"),
    ("AMS", "LAX", "SIN"),
    ("JFK", "LAX", "SIN"),
    ("AMS", "JFK"),
    ("LAX", "SIN"),
)


def rows() -> Iterable[Row]:
    """All rows."""
    kept: dict[str, list[float]] = {}
    for seed in (1, 2):
        for name, value in _figures(seed):
            kept.setdefault(name, []).append(value)
    for name in ("plain", "pinned_half", "vote", "combined"):
        for kind in ("accuracy", "balanced"):
            mean = [float(np.mean(kept[f"{name}_{kind}"]))]
            yield row(
                f"{name}_{kind}",
                mean,
                unit="share",
                against="majority",
                floor=[float(np.mean(kept[f"majority_{kind}"]))],
            )
    yield row("deviating", kept["deviating"], unit="share")
    yield row("calibration_error", kept["calibration_error"], unit="share", below=0.05)
    yield row("combined_over_best_part", [float(np.mean(kept["gain"]))], unit="share", at_least=0)


def _figures(seed: int) -> Iterable[tuple[str, float]]:
    rng = np.random.default_rng(seed)
    made = generate(NETWORKS, seed)
    links = made.relationships
    turned = (links.kind == Link.PEER) & (rng.random(len(links)) < TURNED)
    graph = Engine(build_internet(links))
    true = build_internet(replace(links, kind=np.where(turned, Link.PROVIDER, links.kind)))
    truth = Engine(replace(true, key=rng.permutation(len(true)).astype(np.int64)))
    upstreams = rng.choice(np.unique(links.a[links.kind == Link.PROVIDER]), size=(len(POPS), 3), replace=False)
    sessions = {
        pop: tuple(Session(pop=CityCode(pop), upstream=f"AS{asn}", asn=int(asn)) for asn in upstreams[index])
        for index, pop in enumerate(POPS)
    }
    asked = [Announcements(asn=64512, sessions=tuple(s for pop in pops for s in sessions[pop])) for pops in SETS]
    landed = [landing(truth.run(seeds_of(truth.internet, one)), one.pops) for one in asked]
    seen = [np.where(rng.random(len(true)) < 0.5, of, NOT_MEASURED).astype(np.int32) for of in landed]
    for index, one in enumerate(asked):
        outcome = graph.run(seeds_of(graph.internet, one))
        plain = landing(outcome, one.pops)
        pasts = [(other.pops, _pins(seen[i], other.pops)) for i, other in enumerate(asked) if i != index]
        known = known_of(
            graph.internet, pops=one.pops, graph=plain, landed=seen[index],
            history=history_of(graph.internet, pasts, more=one.pops), traits=traits_of(outcome),
        )  # fmt: skip
        found = infer(known)
        judges = (seen[index] == NOT_MEASURED) & (landed[index] != NOT_MEASURED)
        right = landed[index][judges]
        pinned = predict(graph, one, pins=_pins(seen[index], one.pops))
        numbers = [one.pops.index(pop) if pop in one.pops else -1 for pop in pinned.pops]
        followed = np.array([*numbers, -1], dtype=np.int32)[pinned.pop]
        said = found.chance.argmax(axis=1)
        vote = next(tried for tried in found.tried if tried.name == "vote")
        yield from scores("plain_", plain[judges], right).items()
        yield from scores("pinned_half_", followed[judges], right).items()
        yield from scores("combined_", said[judges], right).items()
        yield from scores("majority_", np.full(len(right), np.bincount(right).argmax()), right).items()
        yield from (("vote_accuracy", vote.accuracy), ("vote_balanced", vote.balanced))
        yield "deviating", float((plain != landed[index])[judges].mean())
        yield "calibration_error", calibration_error(found.chance.max(axis=1)[judges], said[judges] == right)
        yield "gain", found.gain or 0.0


def _pins(landed: Int32, pops: tuple[str, ...]) -> Mapping[int, str]:
    return {int(site): pops[landed[site]] for site in np.flatnonzero(landed != NOT_MEASURED)}
