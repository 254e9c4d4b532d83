"""A guest that really runs moves to another host while somebody talks to it. One guest for all of it, since a boot
takes seconds.
"""

import asyncio
import os
from pathlib import Path

import pytest

from anypop.agent.act.instances.machines import migration
from anypop.host import netns
from tests.guest_image import guest_image
from tests.moving_flows import Silence, Street, echoed
from tests.moving_hosts import Process, free_port, serving
from tests.wait import wait_until

pytestmark = pytest.mark.lab


def test_a_connection_goes_on_while_its_guest_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the anycast address, opened before the move, used while it is under way and afterwards; a move that takes too
    long leaves the guest where it is, and the connection too. It answers at the own address that it has there, which
    nobody has told it.
    """
    image, files = guest_image()
    street = Street(tmp_path, f"w{os.getpid()}", image, files)
    with street.laid():
        try:
            lives(street, monkeypatch)
        finally:
            for host in street.hosts:
                with netns.inside(host.router):
                    asyncio.run(host.clear())


def lives(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = street.hosts
    port = free_port()
    with netns.inside(first.router):
        asyncio.run(first.begin())
    with street.connected() as link:
        assert echoed(link, b"before") == b"before"
        receiver = serving(second, port, takes_from=first.name, came=lambda _: street.turn_to(1))
        with monkeypatch.context() as slow:
            slow.setattr(migration, "MOST_PER_S", 1 << 20)
            sender = Process(first, lambda: first.send(second, port, within_s=1))
        wait_until(lambda: sender.code() is not None, timeout_s=20, reason="it has given up")
        assert sender.code() == 1
        assert echoed(link, b"still here") == b"still here"
        assert second.place.pid() is None

        with Silence(street) as silence:
            sender = Process(first, lambda: first.send(second, port))
            talked = 0
            while sender.code() is None:
                assert echoed(link, b"under way") == b"under way"
                talked += 1
        assert sender.code() == 0
        assert talked > 3
        assert first.place.pid() is None
        assert echoed(link, b"after") == b"after"
        assert silence.moved_ms() < 15_000  # all of its memory is sent meanwhile, by a machine that does much else
        own = next(a for a in second.order.externals() if a.version == 4)
        with street.connected(own, within_s=10) as other:
            assert echoed(other, b"at its new own address") == b"at its new own address"
        receiver.kill()
        assert echoed(link, b"its agent is gone") == b"its agent is gone"
