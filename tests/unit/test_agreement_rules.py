"""Each rule of the reference engine, broken on purpose, shows in the random worlds; and the rules of MED by hand."""

from dataclasses import replace

import numpy as np
import pytest
from bench.agreement import rules
from bench.agreement.rules import Broken, worlds_changed
from bench.agreement.worlds import world

from anypop.routing.engine.reference import CUSTOMER, PEER, Held, Rules
from anypop.routing.engine.seeds import Policies
from anypop.routing.internet.relationships import Link
from anypop.routing.internet.sites import Internet, SiteLinks, assemble

# Rare ones need more worlds than a unit test has: `script/bench agree` asks for all.
RARE = {
    "then the lowest MED",
    "MED is compared among routes of one neighbour",
    "some compare MED always",
    "to some a missing MED is the worst",
    "to others a missing MED is the best",
    "MED is not passed on",
    "a route server passes MED on",
    "sent in spite of that",
    "where it was announced",
    "then the nearest exit",
    "kept from who reaches beyond the region",
    "to another reflector it tells only what clients told it",
    "members pass MED on",
    "of several MEDs the lowest",
    "outside some regions",
    "where it was announced, and not where it is",
    "NO_EXPORT ends at the border of the confederation",
}


def test_four_small_worlds_are_others_without_most_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same with all of them."""
    monkeypatch.setitem(rules.RULES, "none", Broken())
    worlds = [world(seed, ases=7) for seed in (2004, 2006, 2009, 2007)]
    found = worlds_changed(worlds, [rule for rule in rules.RULES if rule not in RARE], enough=1)
    assert [rule for rule, count in found.items() if not count] == ["none"]


def _held(first: int, key: int, med: int | None) -> Held:
    return Held(
        seed=0, path=(first, 64512), kind=CUSTOMER, local_pref=300, external=True, metric=0, key=key, sender=key,
        entered=0, med=med,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("always", "worst", "meds", "wins"),
    [
        (False, False, (20, 10, 5), 2),  # the two of AS1 are compared, and the winner has a lower key than AS2's
        (True, False, (20, 10, 5), 3),
        (False, False, (None, 10, 5), 1),  # none is as good as 0
        (False, True, (None, 10, 5), 2),
        (True, True, (None, None, 5), 3),
        (True, False, (None, None, 5), 1),
    ],
)
def test_med_is_compared_in_the_way_of_the_network(
    always: bool, worst: bool, meds: tuple[int | None, ...], wins: int
) -> None:
    """Two routes from AS1 and one from AS2, equal but for MED and router id."""
    some = frozenset({64600})
    policies = Policies(always_med=some if always else frozenset(), worst_med=some if worst else frozenset())
    routes = [_held(1, 1, meds[0]), _held(1, 2, meds[1]), _held(2, 3, meds[2])]
    chosen = Rules(_internet(), policies).choose(0, routes)
    assert chosen is not None and chosen.key == wins


def test_a_route_server_leaves_itself_out_of_the_path_and_med_as_it_is() -> None:
    """Towards its peers; as no other network does."""
    route = replace(_held(1, 1, 7), kind=PEER)
    server = Rules(_internet(), Policies(servers=frozenset({64600}))).sent(0, route, 1, PEER)
    assert server is not None and (server.path, server.med) == (route.path, 7)
    assert Rules(_internet(), Policies()).sent(0, route, 1, PEER) is None


def test_what_is_dropped_is_kept_from_other_networks() -> None:
    """RFC 7999: a route with BLACKHOLE gets NO_EXPORT where it comes in, once."""
    some = Rules(_internet(), Policies())
    route = replace(_held(1, 1, None), communities=((65535, 666),))
    here = some.preferred(0, route)
    assert here.dropped and (65535, 65281) in here.communities
    assert some.sent(0, here, 1, CUSTOMER) is None
    assert some.preferred(0, here) == here
    assert not some.preferred(0, replace(route, communities=())).dropped


def _internet() -> Internet:
    """AS64600 and its peer AS64601, of no known place."""
    return assemble(
        asn=np.array([64600, 64601]),
        city=["", ""],
        region=np.array([6, 6], dtype=np.int8),
        latitude=np.full(2, np.nan),
        longitude=np.full(2, np.nan),
        key=np.array([1, 2]),
        links=SiteLinks(a=np.array([0]), b=np.array([1]), kind=np.array([Link.PEER])),
    )
