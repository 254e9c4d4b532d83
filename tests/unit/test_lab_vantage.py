"""What a vantage says of itself where it cannot ask."""

import errno
import os
import socket
from contextlib import nullcontext

import pytest

from anypop.host import netns
from anypop.lab import vantage
from anypop.lab.address import plan
from anypop.lab.generate import generate
from anypop.lab.topology_read import load


def test_who_gets_no_socket_has_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process has too many files open, say: that is nothing about who is asked."""

    def none_left(*_: object, **__: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    host = plan(load(generate(ases=30, pops=4, seed=3)), "abc123").vantages[0]
    monkeypatch.setattr(netns, "inside", lambda _: nullcontext())
    monkeypatch.setattr(socket, "socket", none_left)
    for address in ("192.0.2.1", "2001:db8::1"):
        (answer,) = vantage.probe(host, address, requests=1)
        assert not answer.ok and not answer.asked
        assert "could not ask" in answer.error and "Too many open files" in answer.error
