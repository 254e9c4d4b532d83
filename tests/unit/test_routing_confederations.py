"""Confederations inside a network: what a member hands on decides where traffic lands."""

import pytest

from anypop.lab import address, model, routers
from anypop.lab.address import LabPlan
from anypop.lab.topology_read import load
from anypop.model.errors import Invalid
from anypop.routing.engine.propagate import Engine
from anypop.routing.engine.reference import settle

# A chain of cities with an exit at each end
TOPOLOGY = """
ases:
  - {asn: 64600, cities: [JFK, ORD, DEN, LAX], internal: [JFK-ORD, ORD-DEN, DEN-LAX], confederation: CONFEDERATION}
  - {asn: 64601, cities: [ORD]}
links:
  - {a: 64601, b: 64600, relationship: customer-provider, at: [ORD]}
anypop:
  asn: 64512
  anycast4: [198.18.0.0/24]
  anycast6: ["2001:db8:a0::/48"]
  pops:
    - {city: JFK, external4: 198.18.17.0/24, external6: "2001:db8:b1::/48", upstreams: [{name: u, asn: 64600}]}
    - {city: LAX, external4: 198.18.18.0/24, external6: "2001:db8:b2::/48", upstreams: [{name: u, asn: 64600}]}
"""
ONE_EACH = (
    f"[{', '.join(f'{{asn: {65001 + i}, cities: [{code}]}}' for i, code in enumerate(('JFK', 'ORD', 'DEN', 'LAX')))}]"
)
WEST = "[{asn: 65001, cities: [JFK]}, {asn: 65002, cities: [ORD, DEN, LAX]}]"
EAST = "[{asn: 65001, cities: [JFK, ORD, DEN]}, {asn: 65002, cities: [LAX]}]"


def _plan(confederation: str) -> LabPlan:
    return address.plan(load(TOPOLOGY.replace("CONFEDERATION", confederation)), "any")


@pytest.mark.parametrize(
    ("confederation", "city", "hears", "teller"),
    [
        ("[]", "DEN", {"jfk", "lax"}, "lax"),
        (ONE_EACH, "DEN", {"ord", "lax"}, "lax"),  # New York's by Chicago
        (ONE_EACH, "ORD", {"jfk", "den"}, "jfk"),  # Los Angeles' by Denver
        (WEST, "DEN", {"ord", "lax"}, "lax"),
        (WEST, "ORD", {"jfk", "lax"}, "jfk"),
        (EAST, "DEN", {"jfk", "lax"}, "lax"),
        (EAST, "JFK", {"den"}, ""),  # its own exit
    ],
)
def test_a_router_hears_what_members_beside_it_use(confederation: str, city: str, hears: set[str], teller: str) -> None:
    """By both engines; whoever told of it, the exit is the border router, and members are not in the path."""
    graph = model.modelled(_plan(confederation))
    seeds, here = graph.seeds({}), graph.site(f"as64600-{city.lower()}")
    settled = settle(graph.internet, seeds, graph.policies)
    assert settled.stable
    inside = [route for route in settled.holds[here] if not route.external]
    assert {graph.routers[route.sender][-3:] for route in inside} == hears
    best = settled.best[here]
    assert best is not None and best.path == (64512,)
    assert best.external if not teller else graph.routers[best.sender].endswith(teller)
    outcome = Engine(graph.internet, graph.policies).run(seeds)
    assert outcome.stable and outcome.pop(here) == seeds[best.seed].pop
    assert outcome.sender[here] == (-1 - best.seed if best.external else best.sender)


def test_members_speak_along_internal_links_under_their_own_numbers() -> None:
    """And the network has one number towards all others."""
    plan = _plan(WEST)
    chicago = plan.router(64600, "ORD")
    inside = {s.router: s.member for s in routers.sessions(plan, chicago) if s.asn == 64600}
    assert inside == {"as64600-jfk": 65001, "as64600-den": 65002, "as64600-lax": 65002}
    text = routers.render(plan, chicago)
    assert text.count("confederation 64600;") == 2 * 4  # in both families
    assert text.count("confederation member on; multihop;") == 2
    assert text.count("as 65001;") == 2
    assert not any(s.router == "as64600-jfk" for s in routers.sessions(plan, plan.router(64600, "DEN")))
    assert "confederation" not in routers.render(_plan("[]"), chicago)


def test_every_router_of_a_confederation_is_in_one_member_of_its_own_number() -> None:
    with pytest.raises(Invalid) as found:
        _plan("[{asn: 64601, cities: [JFK, AMS]}, {asn: 65002, cities: [ORD, JFK]}, {asn: 65002, cities: [DEN]}]")
    assert {(p.path, p.message) for p in found.value.problems} == {
        ("ases[0].confederation[0].asn", "AS64601 is a network"),
        ("ases[0].confederation[2].asn", "AS65002 is a member already"),
        ("ases[0].confederation", "AS64600 has no router in AMS"),
        ("ases[0].confederation", "JFK must be in one member"),
        ("ases[0].confederation", "LAX must be in one member"),
    }
    with pytest.raises(Invalid, match="cannot stand beside reflectors"):
        load(TOPOLOGY.replace("CONFEDERATION", f"{WEST}, reflectors: [JFK]"))
