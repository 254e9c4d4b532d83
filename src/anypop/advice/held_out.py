"""How good a prediction would have been: measurements in, a part of them told, the prediction judged by the others.

In: a graph, what was announced, and all that was measured meanwhile. Out: a `Prediction` that knows a part of the
measured networks, those that it does not know, and what the vote of neighbours says of them. Which networks are told
is by chance, by a seed. Whatever else was measured under the same announcements is kept from it. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anypop.advice import history
from anypop.advice.graph import Graph
from anypop.advice.question import refuse_unknown
from anypop.model.errors import Invalid
from anypop.model.sessions import Announcements
from anypop.routing.catchment.observations import Observation, pins_of
from anypop.routing.catchment.predict import Prediction, judged, site_weights
from anypop.routing.catchment.sessions import seeds_of
from anypop.routing.inference import parts


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """`told`: the pins that the prediction was made with; `judges`: the observations that it was not told. `vote`: per
    site where most measured customers of its providers land.
    """

    prediction: Prediction
    told: dict[int, str]
    judges: tuple[Observation, ...]
    vote: dict[int, str]


def held_out(
    graph: Graph, announcements: Announcements, seen: Sequence[Observation], *, share: float, seed: int
) -> HeldOut:
    """`share` of the measured networks judge, the others are told. Raises `Invalid` where nobody would be left to
    judge, or to be told.
    """
    there = np.array(sorted({one.asn for one in seen if graph.internet.sites_of(one.asn)}), dtype=np.int64)
    count = round(share * len(there))
    if not 0 < count < len(there):
        raise Invalid.one("measured", f"of {len(there)} measured networks {count} would judge: too few to be parted")
    judge = frozenset(np.random.default_rng(seed).permutation(there)[:count].tolist())
    told = tuple(one for one in seen if one.asn not in judge)
    past = tuple(kept for kept in graph.history if not history.same(kept.announced, announcements))
    asked = replace(graph, observations=told, history=past)
    refuse_unknown(asked, announcements)
    outcome = graph.engine.run(seeds_of(graph.internet, announcements), ends=not past)
    what = history.asked(asked, announcements, past, outcome)
    known, homes = what.known, announcements.pops
    vote = parts.vote(known, known.landed >= 0).argmax(axis=1)
    return HeldOut(
        prediction=history.learnt(asked, announcements, homes, past, what)
        if past
        else judged(
            outcome,
            announcements,
            weight=site_weights(graph.internet, graph.weights),
            pins=asked.pins(),
            homes=homes,
        ),
        told=pins_of(graph.internet, told),
        judges=tuple(one for one in seen if one.asn in judge),
        vote={site: known.pops[pop] for site, pop in enumerate(vote.tolist())},
    )
