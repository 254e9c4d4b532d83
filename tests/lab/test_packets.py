"""Packets on a real kernel: large answers through a small link. The scenes are the benchmark's, and each counts beside
its control.
"""

import pytest
from bench.packet_scenes import large_answers_hanging, udp_answers_wrong_source

pytestmark = pytest.mark.lab


def test_large_answers_pass_a_link_of_1400_bytes_on_the_way() -> None:
    """None of 64 hangs, in both families; without the mechanism most of them do."""
    found = large_answers_hanging()
    assert (found.asked, found.wrong) == (64, 0)
    assert found.wrong_without > 16


def test_large_answers_pass_where_the_hosts_own_uplink_is_the_small_one() -> None:
    """The router's own errors are led as well, also where a kernel would hash them."""
    assert large_answers_hanging(32, small=0).wrong == 0


def test_errors_of_flows_that_nobody_tracks_are_copied_to_all() -> None:
    """As far as the rate allows: 16 flows in each family are below it."""
    found = large_answers_hanging(32, tracked=False)
    assert found.wrong == 0
    assert found.wrong_without > 8


def test_answers_by_udp_come_from_the_address_that_was_asked() -> None:
    """300 of 300, of servers in Python and C, on wildcard sockets and on bound ones, in both families; without the
    mechanism those on wildcard sockets answer from the external address.
    """
    found = udp_answers_wrong_source()
    assert (found.asked, found.wrong) == (300, 0)
    assert found.wrong_without > 75
