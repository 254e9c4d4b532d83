"""`anypop why` of any network of the graph: which of its places is meant, and how sure the model is, in words.

In: what the user named (`AS3356`, a router `as3356-lhr`, a vantage) and a city. Out: the model's answer of
`advice.why`; or, in a lab, the router that is meant, so that its daemon can be asked instead.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anypop.advice.question import Question
from anypop.advice.why import why_of
from anypop.cli.catchment.graph_options import Loaded
from anypop.cli.failure import Exit, Failure, usage
from anypop.model.cities import find_city
from anypop.routing.internet.sites import Internet

if TYPE_CHECKING:
    from anypop.cli.call import Call

_NETWORK = re.compile(r"(?:as)?(\d{1,10})(?:-([a-z]{3}))?", re.IGNORECASE)


def of_model(call: "Call", loaded: Loaded, question: Question, target: str, city: str) -> dict[str, Any]:
    """Why the network lands where it does, by the model."""
    asn, code = network_of(call, loaded, target)
    site = site_of(loaded.graph.internet, asn, city or code)
    return why_of(loaded.graph, question, site, vantage="" if _NETWORK.fullmatch(target) else target)


def words(found: dict[str, Any]) -> str:
    """How sure the model is, in a line."""
    sure = str(found["confidence"])
    if sure == "tie":
        sure = f"a tie of {' and '.join(found['ties'])}: the model cannot see what breaks it"
    elif sure == "pinned":
        sure = f"pinned: measurements say {found['pop']}, whatever the model says"
    elif sure == "single":
        sure = "one best PoP"
    return f"by the model, on {found['graph']}; {sure}"


def network_of(call: "Call", loaded: Loaded, target: str) -> tuple[int, str]:
    """AS number and city code (or nothing) of a network, a router's name, or a vantage of the lab."""
    if matched := _NETWORK.fullmatch(target):
        return int(matched[1]), (matched[2] or "").upper()
    if loaded.plan is not None:
        known = {host.name: (host.asn, str(host.city)) for host in loaded.plan.vantages}
    else:
        listed = call.client.get("/anypop/v1/vantages", what="list vantages").get("results") or []
        known = {str(v["name"]): (int(v.get("asn") or 0), str(v.get("city") or "")) for v in listed}
    if target in known:
        return known[target]
    raise Failure(
        f"{target} is neither a network nor a vantage",
        code=Exit.NOT_FOUND,
        advice="Write AS3356, as3356-lhr or a vantage's name.",
    )


def site_of(internet: Internet, asn: int, city: str) -> int:
    """The site of a network in a city, given by its code or its name."""
    sites = internet.sites_of(asn)
    if not sites:
        raise Failure(
            f"AS{asn} is not in the graph",
            code=Exit.NOT_FOUND,
            advice="Name a network of it, or another graph with --graph FILE.",
        )
    codes = [internet.city[site] for site in sites]
    if not city:
        if len(sites) == 1:
            return sites[0]
        raise usage(f"AS{asn} is in several cities: {', '.join(codes)}", advice="Name one with --city.")
    fitting = matching(codes, city)
    if not fitting:
        where = ", ".join(filter(None, codes))
        if not where:
            advice = "Leave --city away, or name a file of cities with --footprint."
            raise usage(
                f"AS{asn} is in an unknown place as far as the graph knows, so nothing is known of {city}",
                advice=advice,
            )
        raise usage(
            f"AS{asn} is not in {city} as far as the graph knows: it is in {where}",
            advice="Name one of these with --city.",
        )
    return sites[codes.index(fitting[0])]


def matching(codes: Sequence[str], city: str) -> list[str]:
    """The codes that a city's code or name means: `LHR`, `London`, `new york`."""
    if city.upper() in codes:
        return [city.upper()]
    wanted = city.casefold()
    places = {code: find_city(code) for code in codes}
    return [code for code, place in places.items() if place is not None and place.name.casefold() == wanted]


def router_of(loaded: Loaded, target: str, city: str) -> str | None:
    """The router of the lab that a network and a city mean; None where this is no lab. Raises `Failure` for none, or
    several.
    """
    if loaded.plan is None or not (matched := _NETWORK.fullmatch(target)):
        return None
    asn = int(matched[1])
    site = site_of(loaded.graph.internet, asn, city or (matched[2] or ""))
    return loaded.plan.router(asn, loaded.graph.internet.city[site]).name
