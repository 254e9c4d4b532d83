"""Which communities a tenant may send, by every dictionary that is shipped."""

import pytest

from anypop.model.announce import GRACEFUL_SHUTDOWN, NO_EXPORT
from anypop.routing.actions import Blackhole, Informational
from anypop.routing.dictionary import for_asn, known_asns
from anypop.routing.tenant_communities import HARMLESS, is_listable, refusal

BLACKHOLE = (65535, 666)


@pytest.mark.parametrize("asn", known_asns())
def test_harmless_is_each_action_of_the_upstream_on_ones_own_route(asn: int) -> None:
    """All of its own dictionary, but for what drops traffic and what only informs; none of the
    well-known ones.
    """
    for entry in for_asn(asn).concrete([1299, 3356]):
        allowed = not refusal(entry.value, asn, [HARMLESS])
        assert allowed is not (entry.is_well_known or isinstance(entry.action, Blackhole | Informational)), entry.text


def test_a_blackhole_is_refused_towards_every_upstream() -> None:
    """Also towards one that does not know it: it passes communities on to one that does."""
    for asn in (*known_asns(), 64999):
        assert refusal(BLACKHOLE, asn, [HARMLESS])
        assert refusal((3356, 9999), asn, [HARMLESS])
        assert refusal(NO_EXPORT, asn, [HARMLESS])
        assert refusal(GRACEFUL_SHUTDOWN, asn, [HARMLESS])


def test_the_operators_list_counts_as_it_is_written() -> None:
    """One by one, by form, together with the default, or nothing."""
    assert not refusal(BLACKHOLE, 3356, ["65535:666"])
    assert not refusal((64999, 1), 3356, [HARMLESS, "64999:*"])
    assert refusal((64999, 1), 3356, ["64999:*:*"])
    assert not refusal((64999, 1, 2), 3356, ["64999:*:*"])
    assert refusal((3356, 70), 3356, ["64999:*"])
    assert not refusal((0, 2, 64999, 1), 3356, ["rt:64999:*"])
    assert not refusal((3, 6, 0, 1), 3356, ["generic:0x03060000:0x1"])
    assert refusal((0, 2, 64999, 1), 3356, ["*:*:*"]), "a list from before there were extended ones"
    assert "it is empty" in refusal((3356, 70), 3356, [])


def test_what_may_stand_in_the_list() -> None:
    assert all(
        map(is_listable, ("harmless", "209:7100", "209:*", "*:*", "209:1:*", "rt:209:*", "ro:192.0.2.1:5", "rt:*:*"))
    )
    assert not any(map(is_listable, ("", "all", "209", "209:", "209:x", "1:2:3:4", "209:7100 ")))
    assert not any(map(is_listable, ("rt:209", "rt:1:2:3", "xy:1:2")))
