"""The socket by which a TCP port is asked again and again: whole connections, and nothing is believed but yes."""

import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import pytest

from anypop.agent.observe.kept_socket import KeptSocket


@pytest.fixture(params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A port that listens, in each family."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family, backlog=64) as listening:
        listening.settimeout(60)
        yield listening


def kept(server: socket.socket) -> KeptSocket:
    host, port = server.getsockname()[:2]
    return KeptSocket(ip_address(host), port, "")


def test_each_question_is_a_connection_of_its_own_that_is_reset(server: socket.socket) -> None:
    """The server accepts each, and finds it gone."""
    before = KeptSocket.open_ones
    with closing(kept(server)) as asking:
        assert [asking.connects() for _ in range(5)] == [True] * 5
        assert KeptSocket.open_ones == before + 1
        for _ in range(5):
            connection, _ = server.accept()
            with connection, pytest.raises(ConnectionResetError):
                connection.recv(1)
    assert KeptSocket.open_ones == before


def test_a_port_that_is_closed_and_opened_again_is_seen_as_it_is(server: socket.socket) -> None:
    """Refused: no, and nothing of the old socket is left; once somebody listens again: yes."""
    place = server.getsockname()
    with closing(kept(server)) as asking:
        assert asking.connects()
        server.close()
        before = KeptSocket.open_ones
        assert not asking.connects() and not asking.connects()
        assert KeptSocket.open_ones == before - 1
        with socket.create_server(place[:2], family=server.family):
            assert asking.connects()


def test_where_files_are_scarce_none_is_kept(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks does so with a socket of the moment."""
    monkeypatch.setattr(KeptSocket, "open_ones", 1 << 40)
    with closing(kept(server)) as asking:
        assert not asking.connects()


def test_a_link_that_is_not_there_is_no_answer(server: socket.socket) -> None:
    """Nor does a socket stay open for it."""
    host, port = server.getsockname()[:2]
    before = KeptSocket.open_ones
    with closing(KeptSocket(ip_address(host), port, "no-such-link")) as asking:
        assert not asking.connects()
    assert KeptSocket.open_ones == before
