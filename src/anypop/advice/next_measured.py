"""Which networks to ask next about announcements: a graph, a history and what was measured in, networks out.

In: as for a prediction, and which networks can be asked at all. Out: the networks whose answers say most about all
others, in order. Pure.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from anypop.advice import history
from anypop.advice.graph import Graph
from anypop.advice.question import refuse_unknown
from anypop.model.errors import Invalid
from anypop.model.sessions import Announcements
from anypop.routing.catchment.predict import site_weights
from anypop.routing.inference.infer import infer
from anypop.routing.inference.next_measured import next_measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A network. `pop`, `chance`: where it lands as far as one knows now. `stands_for`: the part of everybody
    that is like it in what is known; `decides`: how much of all doubt is about these.
    """

    asn: int
    city: str
    pop: str
    chance: float
    stands_for: float
    decides: float


def to_ask(
    graph: Graph, announcements: Announcements, count: int, among: Collection[int] | None = None
) -> tuple[Asked, ...]:
    """At most `count`. `among`: the networks that can be asked, None: all. Raises `Invalid` where there is none, or for
    sessions that the graph does not have.
    """
    refuse_unknown(graph, announcements)
    net, known = graph.internet, history.asked(graph, announcements, graph.history).known
    if known.count < 2:
        raise Invalid.one("announced", "from one PoP alone everybody lands there: there is nothing to ask")
    can = np.isin(net.asn, np.fromiter(among, dtype=np.int64)) if among is not None else np.ones(len(net), dtype=bool)
    if not can.any():
        raise Invalid.one("probes", f"are in none of the networks of {graph.says}")
    chance = infer(known).chance
    found = next_measured(known, chance, site_weights(net, graph.weights), can, count)
    best: Sequence[int] = chance.argmax(axis=1).tolist()
    return tuple(
        Asked(
            asn=int(net.asn[one.site]),
            city=net.city[one.site],
            pop=known.pops[best[one.site]],
            chance=float(chance[one.site].max()),
            stands_for=one.stands_for,
            decides=one.decides,
        )
        for one in found
    )
