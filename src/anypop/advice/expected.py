"""What the model expects of a router whose routes somebody pasted, beside what it chose.

In: a graph, a question, the router's place in the graph, a decision as `routing.paste` explains it. Out: plain data
with one sentence for people. Where the two differ it says what the difference is about: a route that the router does
not have (somebody on the way does not pass on what the graph says), or one that it has and prefers less. Pure.
"""

from typing import Any

from anypop.advice.graph import Graph
from anypop.advice.question import Question, predicted
from anypop.model.route import Step
from anypop.routing.catchment.predict import Confidence, Row
from anypop.routing.paste.explained import Explained
from anypop.routing.paste.steps import CLUSTERS

# whatever comes after the length, but for MED, which the model has where a community sets it
_NOT_IN_A_GRAPH = (Step.EBGP_OVER_IBGP, Step.NEAREST_EXIT, Step.OLDEST, Step.ROUTER_ID, Step.NEIGHBOR_ADDRESS, CLUSTERS)
_SURE = {
    Confidence.SINGLE: "one best PoP",
    Confidence.PINNED: "measured there",
    Confidence.NO_ROUTE: "no route",
}


def at(graph: Graph, question: Question, site: int) -> Row:
    """What the model says of one site. Raises `Invalid` for sessions that the graph does not have."""
    return predicted(graph, question.wanted, question.homes).row(site)


def beside(told: Explained, row: Row, question: Question, graph: Graph) -> dict[str, Any]:
    """`agrees`: whether the router's best route has the path of the model's; None where the text tells no best one, is
    not about our prefix, or the router took another of routes that no graph tells apart. `held`: whether it has it.
    """
    alike = [one for one in told.outcomes if one.route.candidate.as_path == row.path]
    ours = told.asn == question.wanted.asn
    best = told.best.as_path if told.best is not None else None
    lost_by = alike[0].eliminated_by if alike else None
    return {
        "network": row.asn,
        "city": row.city,
        "as_path": list(row.path),
        "pop": row.pop,
        "confidence": row.confidence.value,
        "ties": list(row.ties),
        "graph": graph.says,
        "agrees": None if not ours or best is None or _is_even(told, row, lost_by) else best == row.path,
        "held": bool(alike) if ours else None,
        "says": _says(told, row, question, lost_by),
    }


def add(data: dict[str, Any], told: dict[str, Any]) -> None:
    """To what is said of a decision, behind all else."""
    data["expected"] = told
    data["sentences"].append(told["says"])


def _is_even(told: Explained, row: Row, lost_by: str | None) -> bool:
    """Whether the router has the model's route, and one as long won by what a graph does not have."""
    return (
        told.best is not None
        and told.best.as_path != row.path
        and len(told.best.as_path) == len(row.path)
        and lost_by in _NOT_IN_A_GRAPH
    )


def _says(told: Explained, row: Row, question: Question, lost_by: str | None) -> str:
    where = f"in AS{row.asn}" + (f" at {row.city}" if row.city else "")
    if told.asn != question.wanted.asn:
        whose = f"AS{told.asn}'s" if told.asn is not None else "of several networks"
        return f"The model knows what AS{question.wanted.asn} announces; this prefix is {whose}."
    if not row.path:
        return f"The model expects no route {where}" + (", and the router has some." if told.outcomes else ".")
    sure = _SURE.get(row.confidence) or f"a tie of {' and '.join(row.ties)}, which the model cannot break"
    expected = f"The model expects {' '.join(map(str, row.path))} {where}, which leads to {row.pop} ({sure})"
    if told.best is None:
        return f"{expected}; which route the router takes is not known."
    if told.best.as_path == row.path:
        return f"{expected}, and so it is."
    if _is_even(told, row, lost_by):
        return f"{expected}. The router took another that is as good (lost by: {lost_by}), which no graph tells."
    if lost_by is not None:
        by = f" (lost by: {lost_by})" if lost_by else ""
        return f"{expected}. The router has that route{by} and prefers another: some policy there is not in the graph."
    missing = "Of what the text shows, the router does" if not told.whole else "The router does"
    return f"{expected}. {missing} not have that route: a network on the way does not pass on what the graph says."
