"""Route reflectors inside a network: what they hide from their clients decides where traffic lands."""

import pytest

from anypop.lab import address, model, routers
from anypop.lab.address import LabPlan
from anypop.lab.topology_read import load
from anypop.model.errors import Invalid
from anypop.routing.engine.propagate import Engine
from anypop.routing.engine.reference import settle

# Chicago is nearer to New York than to Los Angeles, Tokyo is not
TOPOLOGY = """
ases:
  - {asn: 64600, cities: [NRT, LHR, JFK, LAX, ORD], reflectors: REFLECTORS}
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


def _plan(reflectors: str) -> LabPlan:
    return address.plan(load(TOPOLOGY.replace("REFLECTORS", reflectors)), "any")


@pytest.mark.parametrize(
    ("reflectors", "teller", "lands"),
    [
        ("[]", "as64600-jfk", "JFK"),
        ("[NRT]", "as64600-nrt", "LAX"),  # Tokyo's nearest exit, since Chicago hears of no other
        ("[LHR]", "as64600-lhr", "JFK"),
        ("[NRT, LHR]", "as64600-lhr", "JFK"),  # each tells its own; the nearer of the two exits
        ("[LAX, NRT]", "as64600-lax", "LAX"),  # of one exit by two ways, without a further reflector
    ],
)
def test_a_client_lands_where_its_reflectors_tell_it_to(reflectors: str, teller: str, lands: str) -> None:
    """By both engines; and its packets go to the exit, not round by the reflector."""
    graph = model.modelled(_plan(reflectors))
    seeds, chicago = graph.seeds({}), graph.site("as64600-ord")
    settled = settle(graph.internet, seeds, graph.policies)
    best = settled.best[chicago]
    assert best is not None and settled.stable
    assert (graph.routers[best.sender], str(seeds[best.seed].pop)) == (teller, lands)
    assert graph.routers[best.entered] == f"as64600-{lands.lower()}"
    outcome = Engine(graph.internet, graph.policies).run(seeds)
    assert outcome.stable
    assert (outcome.sender[chicago], outcome.pop(chicago)) == (best.sender, lands)
    senders = [i if r is None else r.sender if r.sender >= 0 else -1 - r.seed for i, r in enumerate(settled.best)]
    seed = graph.landing(senders, graph.site("as64601-ord"))
    assert seed is not None and str(seeds[seed].pop) == lands


def test_a_reflector_alone_has_clients_and_they_have_no_sessions_with_each_other() -> None:
    """And a border router stays the next hop of what is reflected."""
    plan = _plan("[NRT]")
    tokyo, chicago = (plan.router(64600, code) for code in ("NRT", "ORD"))
    inside = [s for s in routers.sessions(plan, chicago) if s.asn == 64600]
    assert [(s.router, s.client) for s in inside] == [("as64600-nrt", False)]
    assert routers.render(plan, tokyo).count("rr client;") == 2 * 4  # in both families
    assert "rr client;" not in routers.render(plan, chicago)
    assert "next hop self ebgp;" in routers.render(plan, tokyo)
    assert "ebgp" not in routers.render(_plan("[]"), tokyo)


def test_reflectors_are_cities_of_their_network_once() -> None:
    with pytest.raises(Invalid) as found:
        _plan("[AMS, NRT, NRT]")
    assert {(p.path, p.message) for p in found.value.problems} == {
        ("ases[0].reflectors[0]", "AS64600 has no router in AMS"),
        ("ases[0].reflectors[2]", "NRT stands there twice"),
    }
