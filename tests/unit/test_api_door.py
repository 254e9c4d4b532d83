"""The door counts: bounds of one address and of all, places that come back, and who counts as one."""

import logging
import socket

import pytest

from anypop.api.door import Bounds, Door, source_of
from anypop.api.seldom import Seldom


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(Door, "bounds", Bounds(per_address=2, altogether=3))
    made = Door(socket.AF_INET, socket.SOCK_STREAM)
    made.bind(("127.0.0.1", 0))
    made.listen(16)
    made.setblocking(False)
    return made


def knock(door: Door, source: str) -> tuple[socket.socket, socket.socket | None]:
    """A client's connection, and what the door makes of it."""
    client = socket.create_connection(door.getsockname(), 5, (source, 0))
    try:
        return client, door.accept()[0]
    except BlockingIOError:
        return client, None


def test_so_many_of_one_address_and_so_many_of_all(door: Door) -> None:
    """Who is refused is closed at once; a place that was left is free again; nothing is remembered of who is gone."""
    with door:
        (a, first), (b, second), (c, refused) = (knock(door, "127.0.0.1") for _ in range(3))
        assert first and second and refused is None and c.recv(1) == b""
        d, third = knock(door, "127.0.0.2")
        e, full = knock(door, "127.0.0.3")
        assert third and full is None and set(door.open) == {"127.0.0.1", "127.0.0.2"}
        first.close()
        first.close()
        f, again = knock(door, "127.0.0.3")
        assert again and door.open.total() == 3
        for made in (second, third, again, a, b, c, d, e, f):
            made.close()
        assert not door.open


@pytest.mark.parametrize(
    ("host", "who"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_who_counts_as_one(host: str, who: str) -> None:
    """An IPv4 address, or a /64: a host has all of it."""
    assert source_of(host) == who


def test_a_flood_is_one_line_and_a_count(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first at once, the others with the next."""
    clock = [100.0]
    monkeypatch.setattr("anypop.api.seldom.time.monotonic", lambda: clock[0])
    seldom = Seldom(logging.getLogger("anypop.tried"))
    for _ in range(1000):
        seldom.warn("again")
    clock[0] += 10
    seldom.warn("again")
    assert [r.getMessage() for r in caplog.records] == ["again", "again (and 999 more before it)"]
