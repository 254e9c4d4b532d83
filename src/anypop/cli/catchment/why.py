"""`anypop why` of any network of the graph: which of its places is meant, and how sure the model is, in words.

In: what the user named (`AS3356`, a router `as3356-lhr`, a vantage) and a city. Out: the model's answer of
`advice.why`; or, in a lab, the router that is meant, so that its daemon can be asked instead.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anypop.advice import named_sites
from anypop.advice.named_sites import Lack, NoSiteError, network_and_city
from anypop.advice.question import Question
from anypop.advice.why import why_of
from anypop.cli.catchment.graph_options import Loaded
from anypop.cli.failure import Exit, Failure
from anypop.routing.internet.sites import Internet

if TYPE_CHECKING:
    from anypop.cli.call import Call

_BY_CITY = {
    Lack.NETWORK: "Name a network of it, or another graph with --graph FILE.",
    Lack.CHOICE: "Name one with --city.",
    Lack.PLACE: "Leave --city away, or name a file of cities with --footprint.",
    Lack.CITY: "Name one of these with --city.",
}
# As `--at AS64497-LHR` names a router.
AT = _BY_CITY | {
    Lack.CHOICE: "Write which behind it, as AS64497-LHR.",
    Lack.PLACE: "Leave the city away, or name a file of cities with --footprint.",
    Lack.CITY: "Write one of these behind it, as AS64497-LHR.",
}


def of_model(call: "Call", loaded: Loaded, question: Question, target: str, city: str) -> dict[str, Any]:
    """Why the network lands where it does, by the model."""
    asn, code = network_of(call, loaded, target)
    site = site_of(loaded.graph.internet, asn, city or code)
    return why_of(loaded.graph, question, site, vantage="" if network_and_city(target) else target)


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
    if found := network_and_city(target):
        return found
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


def site_of(internet: Internet, asn: int, city: str, *, named: Mapping[Lack, str] = _BY_CITY) -> int:
    """The site of a network in a city, given by its code or its name. `named`: how the command lets it be named."""
    try:
        return named_sites.site_of(internet, asn, city)
    except NoSiteError as error:
        code = Exit.NOT_FOUND if error.lack is Lack.NETWORK else Exit.USAGE
        raise Failure(str(error), code=code, advice=named[error.lack]) from error


def router_of(loaded: Loaded, target: str, city: str) -> str | None:
    """The router of the lab that a network and a city mean; None where this is no lab. Raises `Failure` for none, or
    several.
    """
    if loaded.plan is None or (found := network_and_city(target)) is None:
        return None
    asn, code = found
    site = site_of(loaded.graph.internet, asn, city or code)
    return loaded.plan.router(asn, loaded.graph.internet.city[site]).name
