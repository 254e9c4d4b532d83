"""The words of every `why`: an explanation in, the same with sentences for people out.

One place for the phrases, so that lab, model and doctor say the same things in the same words. Decides nothing.
"""

from dataclasses import replace

from anypop.model.cities import city_of_pop
from anypop.model.route import Candidate, Relationship, Step
from anypop.routing.why import Why


def told(why: Why) -> Why:
    """`why` with its sentences."""
    lines: list[str] = []
    if why.chosen is not None and why.rejected is not None and why.decided_by is not None:
        lines.append(preference(why.decided_at_as or 0, why.decided_in or "", why.chosen, why.rejected, why.decided_by))
    if why.landed is None:
        lines.append(f"{why.vantage} reaches no PoP: {_ENDS.get(why.end.value, why.end.value)}.")
    elif why.landed == why.nearest:
        lines.append(f"{why.vantage} lands in {why.landed}, the nearest PoP.")
    else:
        if why.chosen is None and why.nearest is not None:
            lines.append(f"No router on the way from {why.vantage} holds a route that leads to {why.nearest}.")
        more = f", {why.extra_ms:.0f} ms further than {why.nearest}" if why.nearest else ""
        cause = f" by what {why.landed} announces to AS{why.caused_by.upstream_asn}" if why.caused_by else ""
        lines.append(f"{why.vantage} lands in {why.landed}{cause}{more}.")
    return replace(why, sentences=tuple(lines))


_ENDS = {
    "no route": "a router on the way has no route",
    "loop": "the routers on the way send it in a circle",
    "black hole": "the next hop of a route on the way belongs to no router",
}


def preference(asn: int, city: str, chosen: Candidate, rejected: Candidate, step: Step) -> str:
    """`AS3356 in London prefers the customer route 209 33438 (local preference 300), learnt in JFK, over the peer
    route 1299 33438 (200).`
    """
    won, lost = _values(chosen, rejected, step)
    where = f", learnt in {chosen.learnt_at}" if chosen.learnt_at and chosen.learnt_at != city else ""
    return f"AS{asn} in {place(city)} prefers {route(chosen)} ({won}){where}, over {route(rejected)} ({lost})."


def place(city: str) -> str:
    """A city's name by its code; the code where it has none."""
    known = city_of_pop(city)
    return known.name if known is not None else city


def route(candidate: Candidate) -> str:
    """`the customer route 209 33438`."""
    kind = candidate.relationship
    word = f"{kind.value} " if kind is not None and kind is not Relationship.ORIGIN else ""
    path = " ".join(map(str, candidate.as_path)) or "of its own"
    return f"the {word}route {path}"


def _values(won: Candidate, lost: Candidate, step: Step) -> tuple[str, str]:
    """What the step compared, once with its name and once bare."""
    match step:
        case Step.LOCAL_PREFERENCE:
            return f"local preference {won.local_pref}", str(lost.local_pref)
        case Step.AS_PATH_LENGTH:
            return f"AS path length {len(won.as_path)}", str(len(lost.as_path))
        case Step.ORIGIN:
            return f"origin {won.origin.value}", lost.origin.value
        case Step.MED:
            return f"MED {won.med}", str(lost.med)
        case Step.EBGP_OVER_IBGP:
            return "learnt from a neighbour AS", "learnt inside the AS"
        case Step.NEAREST_EXIT:
            return f"nearest exit, IGP metric {won.igp_metric}", str(lost.igp_metric)
        case Step.OLDEST:
            return f"oldest, {_duration(won.age_s)}", _duration(lost.age_s)
        case Step.ROUTER_ID:
            return f"lowest router id {won.router_id}".strip(), lost.router_id or "unknown"
        case Step.NEIGHBOR_ADDRESS:
            return f"lowest neighbour address {won.neighbor}".strip(), lost.neighbor or "unknown"
        case Step.ONLY_ROUTE:
            return "the only route", "none"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "age unknown"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
