"""What a change of announcements will move: two sets of announcements over one graph in, their difference out. Pure."""

from anypop.advice.graph import Graph
from anypop.model.sessions import Announcements
from anypop.routing.catchment.diff import Diff, diff
from anypop.routing.catchment.predict import predict


def compared(graph: Graph, now: Announcements, then: Announcements) -> Diff:
    """Who moves. PoPs of both count as somebody's nearest. Raises `Invalid` for sessions that do not fit the graph."""
    homes = tuple(sorted({*now.pops, *then.pops}))
    before, after = (
        predict(graph.engine, a, weights=graph.weights, pins=graph.pins(), homes=homes) for a in (now, then)
    )
    return diff(before, after)
