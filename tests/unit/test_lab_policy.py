"""Policies as BIRD statements."""

from dataclasses import replace

from anypop.lab.policy import Neighbour, Policy, entered_at
from anypop.lab.topology import Habit
from anypop.model.route import Relationship
from anypop.routing.actions import (
    Action,
    Blackhole,
    ExportTo,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Prepend,
    Region,
    Relation,
    SetMed,
    Where,
)
from anypop.routing.entries import Entry

PEER = Neighbour(asn=200, relationship=Relationship.PEER, footprint=frozenset({"EU", "NA"}))
CUSTOMER = Neighbour(asn=300, relationship=Relationship.CUSTOMER, footprint=frozenset({"NA"}))


def policy(*actions: Action, region: str = "NA") -> Policy:
    """AS100 in New York (or elsewhere) with communities 100:1, 100:2, ... for `actions`."""
    entries = tuple(
        Entry(community=(100, i), action=action, meaning="", source="", date="unknown")
        for i, action in enumerate(actions, start=1)
    )
    return Policy(asn=100, city="JFK", region=region, entries=entries)


def leaving(found: Policy, neighbour: Neighbour = PEER) -> str:
    return "\n".join(found.leaving(neighbour))


def test_a_route_from_a_peer_goes_to_customers_only() -> None:
    """Towards a peer all that other networks told without the customer's mark is rejected; towards a customer
    nothing is.
    """
    assert "if source = RTS_BGP && bgp_path.len > 0 && !((100, 1, 1) ~ bgp_large_community) then reject;" in leaving(
        policy()
    )
    assert "reject" not in leaving(policy(), CUSTOMER)


def test_our_marks_never_leave_and_never_come_from_outside() -> None:
    """Both directions delete them; other large communities in the AS's own name are words of its dictionary."""
    delete = "bgp_large_community.delete([(100, 1, *), (100, 2, *), (100, 3, *)]);"
    assert leaving(policy()).endswith(delete)
    assert next(policy().entering(Relationship.PEER, 200)) == delete


def test_a_mark_tells_class_and_city_of_the_entry() -> None:
    """(100, 1, 2) is a peer's route, (100, 3, N) the city by its IATA code; other ASes' marks say nothing."""
    marks = ((100, 1, 2), (100, 2, 2), (100, 3, int("JFK", 36)), (7, 1, 1))
    assert entered_at(100, marks) == (Relationship.PEER, "JFK")
    assert entered_at(200, marks) == (None, "")


def test_no_export_means_the_named_neighbours_alone() -> None:
    """A set of neighbours, or one AS."""
    to_peers = policy(NoExportTo(neighbour=Neighbours.PEERS))
    assert "if (100, 1) ~ bgp_community then reject;" in leaving(to_peers)
    assert "(100, 1)" not in leaving(to_peers, CUSTOMER).replace("(100, 1, 1)", "")
    assert "if (100, 1) ~ bgp_community then reject;" in leaving(policy(NoExportTo(neighbour=300)), CUSTOMER)


def test_no_export_in_a_region_is_obeyed_by_the_routers_there() -> None:
    """`region: EU` changes nothing in New York."""
    action = NoExportTo(neighbour=Neighbours.ALL, where=Where(regions=frozenset({Region.EU})))
    assert "(100, 1) ~ bgp_community then reject" not in leaving(policy(action))
    assert "(100, 1) ~ bgp_community then reject" in leaving(policy(action, region="EU"))


def test_an_explicit_export_beats_no_export() -> None:
    """Both on one route: it is sent."""
    text = leaving(policy(NoExportTo(neighbour=Neighbours.ALL), ExportTo(neighbour=200)))
    assert "if ((100, 1) ~ bgp_community) && !((100, 2) ~ bgp_community) then reject;" in text


def test_a_condition_with_a_place_is_in_brackets() -> None:
    """BIRD reads && and || from left to right: without brackets the place would hold for the communities before it
    too.
    """
    away = NoExportTo(neighbour=Neighbours.PEERS, where=Where(announced=True, outside=True))
    text = leaving(policy(NoExportTo(neighbour=Neighbours.PEERS), away, ExportTo(neighbour=200)))
    assert "if ((100, 1) ~ bgp_community || ((100, 2) ~ bgp_community && (" in text


def test_kept_in_a_region_means_no_neighbour_that_reaches_beyond_and_no_router_beyond() -> None:
    """A peer on two continents does not get it, a customer in North America does, nor is it carried to Europe."""
    keep = policy(KeepInRegion(region=Region.NA))
    assert "if (100, 1) ~ bgp_community then reject;" in leaving(keep)
    assert "(100, 1) ~ bgp_community" not in leaving(keep, CUSTOMER)
    assert "if (100, 1) ~ bgp_community then reject;" in "\n".join(keep.carrying("EU"))
    assert list(keep.carrying("NA")) == []


def test_prepends_put_the_as_own_number_in_front() -> None:
    """Two extra times for `count: 2`."""
    assert leaving(policy(Prepend(count=2, neighbour=Neighbours.PEERS))).count("bgp_path.prepend(100);") == 2


def test_the_lowest_of_several_preferences_is_set_last() -> None:
    """Whatever the order in the dictionary."""
    text = "\n".join(
        policy(LocalPreference(relation=Relation.LOWEST), LocalPreference(relation=Relation.AS_PEER)).preferring()
    )
    assert text.index("= 200;  # 100:2") < text.index("= 50;  # 100:1")


def test_a_preference_outside_the_region_of_the_announcement_asks_where_it_entered() -> None:
    """A router in New York obeys for routes that entered on another continent."""
    action = LocalPreference(relation=Relation.LOWEST, where=Where(announced=True, outside=True))
    line = next(line for line in policy(action).preferring() if "(100, 1) ~ bgp_community" in line)
    assert "(100, 2, 1) ~ bgp_large_community" in line
    assert "(100, 2, 2) ~ bgp_large_community" not in line


def test_blackhole_drops_and_goes_no_further() -> None:
    """RFC 7999: the next hop is a black hole, and NO_EXPORT goes on the route."""
    text = "\n".join(policy(Blackhole()).preferring())
    assert "dest = RTD_BLACKHOLE; bgp_community.add((65535, 65281));" in text
    assert policy(Blackhole(), Blackhole()).dropping() == "((100, 1) ~ bgp_community || (100, 2) ~ bgp_community)"


def test_a_med_is_set_towards_its_neighbour() -> None:
    """And towards nobody else."""
    assert "bgp_med = 5;" in leaving(policy(SetMed(value=5, neighbour=200)))
    assert "bgp_med" not in leaving(policy(SetMed(value=5, neighbour=201)))


def test_a_sibling_is_told_the_class_and_takes_it_over() -> None:
    """The mark goes to it alone, becomes its own, and no mark means what the sibling itself originates."""
    sibling = Neighbour(asn=200, relationship=Relationship.SIBLING, footprint=frozenset({"NA"}))
    assert leaving(policy(), sibling).endswith("bgp_large_community.delete([(100, 2, *), (100, 3, *)]);")
    assert "reject" not in leaving(policy(), sibling)
    taken = "\n".join(policy().entering(Relationship.SIBLING, 200))
    assert "if (200, 1, 3) ~ bgp_large_community then bgp_large_community.add((100, 1, 3));" in taken
    assert "then bgp_large_community.add((100, 1, 1));" in taken
    assert "bgp_large_community.delete([(200, 1, *)]);" in taken


def test_who_strips_communities_still_tells_a_sibling_the_class() -> None:
    """All go towards others, all but the class towards a sibling."""
    strips = replace(policy(), habits=frozenset({Habit.STRIPS_COMMUNITIES}))
    assert "bgp_large_community.delete([(*, *, *)]);" in leaving(strips)
    sibling = Neighbour(asn=200, relationship=Relationship.SIBLING, footprint=frozenset({"NA"}))
    assert "bgp_large_community.filter([(100, 1, *)]);" in leaving(strips, sibling)
    assert "bgp_community.delete([(*, *)]);" in leaving(strips, sibling)


def test_a_route_server_tells_peers_of_each_other() -> None:
    """Nothing is rejected for where it came from."""
    assert "reject" not in leaving(replace(policy(), habits=frozenset({Habit.ROUTE_SERVER})))
