"""What every router holds for an address, read from the running daemons: the facts that `routing.explain` reasons on.

Comes in: a lab and an address. Goes out: a `RouterView` for each router, PoPs' own routers among them (the edge router
of a PoP of several hosts: those behind it make no decision that an outsider sees). The topology adds only what a
router's words cannot tell: whose session a protocol name is, and whose an address is. Nothing is computed from the
topology in place of asking.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from anypop.host import birdc
from anypop.lab import routers
from anypop.lab.address import LabPlan, PopSite, Role, Router
from anypop.lab.build import Lab
from anypop.lab.machine import in_parallel
from anypop.lab.policy import entered_at
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.route import Candidate, Relationship
from anypop.routing.bird_text import BgpProtocol, parse_routes
from anypop.routing.explain import RouterView


def look(lab: Lab, address: Address | str, *, pops: Path | None = None) -> dict[str, RouterView]:
    """Each router's view of `address`, by router name (`as3356-lhr`, `pop-lhr`). A router whose daemon is dead has no
    candidates.

    `pops`: the folder with our PoPs' agents' folders (`lhr/bird/bird.ctl`); the one beside the lab's own unless told.
    """
    plan = lab.plan
    agents = pops or lab.folder.parent / "pops"
    known = {router.name: _view(plan, router) for router in plan.routers}
    places = {name: lab.control_socket(name) for name in known}
    for site in plan.sites:
        known[site.name] = _pop_view(plan, site)
        own = agents / site.pop.city.lower() / "bird" / "bird.ctl"  # an only host's; an edge router is the lab's
        places[site.name] = own if site.edge is None else lab.control_socket(site.name)
    sessions = {router.name: _sessions(plan, router) for router in plan.routers}

    def ask(name: str) -> RouterView:
        found = parse_routes(_answer(places[name], str(address)), sessions=sessions.get(name, {}), now=datetime.now())
        kinds = _relationships(plan, name)
        return replace(
            known[name], candidates=tuple(_told(known[name].asn, route, kinds) for route in found if route.as_path)
        )

    return {view.router: view for view in in_parallel(ask, known)}


def router_of(lab: Lab, vantage: str) -> str:
    """The name of the router that a vantage stands behind. Raises `Invalid` for an unknown vantage."""
    return lab.vantage(vantage).router


def _answer(control: Path, address: str) -> str:
    try:
        return birdc.ask(control, f"show route for {address} all")
    except WorldError:  # a dead daemon holds no routes; and BIRD answers "Network not found" as an error
        return ""


def _view(plan: LabPlan, router: Router) -> RouterView:
    numbered = {text.partition("/")[0] for _, own, _ in plan.links_of(router.netns) for text in own.addresses}
    loopbacks = {str(router.loopback4), str(router.loopback6)}
    return RouterView(router=router.name, asn=router.asn, city=router.city, addresses=frozenset(numbered | loopbacks))


def _pop_view(plan: LabPlan, site: PopSite) -> RouterView:
    ends = [own for link, own, _ in plan.links_of(site.netns) if link.role is Role.UPSTREAM]
    return RouterView(
        router=site.name,
        asn=plan.topology.own.asn,
        city=site.pop.city,
        pop=site.pop.city,
        addresses=frozenset(text.partition("/")[0] for end in ends for text in end.addresses),
    )


def _sessions(plan: LabPlan, router: Router) -> Mapping[str, BgpProtocol]:
    """The router's BGP sessions by protocol name. A route that came over one proves that it is up."""
    ids = {r.name: str(r.loopback4) for r in plan.routers} | {s.name: str(s.router_id) for s in plan.sites}
    return {
        f"{session.name}_v{family}": BgpProtocol(
            name=f"{session.name}_v{family}",
            neighbor=session.neighbour[index],
            neighbor_as=session.asn,
            local_as=router.asn,
            router_id=ids[session.router],
            state="established",
        )
        for session in routers.sessions(plan, router)
        for index, family in enumerate((4, 6))
    }


def _relationships(plan: LabPlan, name: str) -> dict[str, Relationship]:
    router = next((r for r in plan.routers if r.name == name), None)
    known = routers.sessions(plan, router) if router is not None else ()
    return {f"{s.name}_v{family}": s.relationship for s in known for family in (4, 6)}


def _told(asn: int, route: Candidate, kinds: Mapping[str, Relationship]) -> Candidate:
    """`route` with the class and the city of its entry into the AS: by its session, or by the marks that the border
    router set.
    """
    relationship, city = entered_at(asn, route.large_communities)
    return replace(route, relationship=relationship or kinds.get(route.protocol), learnt_at=city)
