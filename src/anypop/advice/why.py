"""Why a network lands where it lands, by the model: the chain of decisions, in the shape of the running routers'
answer.

In: a graph, a question, one of the network's sites. Out: `routing.why.Why` as plain data, with how sure the model is.
Pure.
"""

from dataclasses import replace
from typing import Any

from anypop.advice.graph import Graph
from anypop.advice.question import Question, predicted
from anypop.model import codec
from anypop.routing.catchment.views import why


def why_of(graph: Graph, question: Question, site: int, *, vantage: str = "") -> dict[str, Any]:
    """The answer for one site. `vantage`: its name, where it is one. Raises `Invalid` for sessions that the graph does
    not have.
    """
    found = predicted(graph, question.wanted, question.homes)
    row = found.row(site)
    told = why(found.outcome, site, graph.engine.policies, vantage=vantage, nearest=row.nearest)
    seed = int(found.outcome.seed[site])
    if told.caused_by is not None and seed >= 0:
        told = replace(told, caused_by=replace(told.caused_by, upstream=found.outcome.seeds[seed].upstream))
    data: dict[str, Any] = codec.to_data(told)
    return data | {
        "told_by": "model",
        "graph": graph.says,
        "confidence": row.confidence.value,
        "ties": list(row.ties),
        "pop": row.pop,
    }
