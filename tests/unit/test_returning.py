"""A host that comes back after its machine was dead is announced when it has been well for a while; at once where
nobody else serves.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from anypop.agent.decide.announcements import reason_for
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.flaps import Uplink
from anypop.agent.decide.returning import ASK_S, MOST_S, settles_since
from anypop.agent.return_file import ReturnFile
from anypop.model.order import Order
from anypop.model.reasons import Reason
from anypop.model.report import TunnelReport
from tests.agent_world import COVERS, HEALTHY_AFTER_S, FakeHost, instance, order
from tests.unit.test_agent_backbone import AMS, JFK, SIBLING, A, joined

PEERS = (SIBLING, AMS, JFK)
UP = tuple(TunnelReport(host=peer.host, up=True) for peer in PEERS)
AFTER_S = 10.0


def host_back(*, elsewhere: bool = True, wanted: Order | None = None) -> FakeHost:
    """Its machine began anew a moment ago; its sessions stand."""
    host = FakeHost(offers={AMS.address: {A: 1}} if elsewhere else {})
    host.obey(wanted or joined(order(1, instance(0), instance(1)), *PEERS))
    ways = {(u.name, v): Uplink(up=True, up_at=host.now) for u in host.page.order.upstreams for v in (4, 6)}  # type: ignore[union-attr]
    host.memory = replace(host.memory, returned_at=host.now, uplinks=ways)
    return host


def work(host: FakeHost, seconds: float, *, known: bool = True) -> float | None:
    """When it was first announced, within so many seconds from now; None: not."""
    began = host.now
    while host.now < began + seconds:
        facts = host.facts(tunnels=UP if known else ())
        for step in converge(facts, host.now):
            host.apply(step)
        if host.speaker is not None and COVERS[0] in {e.prefix for e in host.speaker.exports}:
            return host.now - began
        host.now += 0.1
    return None


def test_a_host_that_comes_back_is_announced_when_it_has_been_well_for_a_while() -> None:
    host = host_back()
    assert work(host, AFTER_S - 1) is None
    facts = host.facts(tunnels=UP)
    assert reason_for(COVERS[0], facts, host.now) == (Reason.SETTLES, False)
    due = next_due(facts, host.now)
    assert due is not None
    assert due <= host.now + AFTER_S
    assert work(host, 3) is not None
    host.now += 1
    assert work(host, 1) is not None, "and stays so"


def test_a_host_settles_on_when_its_agent_dies(tmp_path: Path) -> None:
    """The next agent knows since when, and waits until all has been well before its eyes; when nothing waits any more
    there is nothing to know.
    """
    host, file = host_back(), ReturnFile(tmp_path / "returned")
    assert work(host, AFTER_S / 2) is None
    file.keep(settles_since(host.facts(tunnels=UP), host.now))
    ways, began = host.memory.uplinks, host.memory.returned_at
    host.kill()
    found = ReturnFile(tmp_path / "returned").read(host.now)
    assert found == began
    host.memory = replace(host.memory, returned_at=found, uplinks=ways)
    assert work(host, AFTER_S - 1) is None
    assert work(host, 3) is not None
    host.memory = replace(host.memory, returned_at=found)
    file.keep(settles_since(host.facts(tunnels=UP), host.now))
    assert list(tmp_path.iterdir()) == []
    assert file.read(host.now) is None


def test_a_moment_that_has_not_come_is_now(tmp_path: Path) -> None:
    """Somebody has set the clock: nobody waits for longer than usual."""
    ReturnFile(tmp_path / "returned").keep(2e9)
    assert ReturnFile(tmp_path / "returned").read(1e9) == 1e9
    (tmp_path / "returned").write_text("soon")
    assert ReturnFile(tmp_path / "returned").read(1e9) is None


def test_each_of_its_instances_has_to_be_well_for_so_long() -> None:
    """One that is late, or falls and gets up again, begins the time anew: nobody meets the one that was up first."""
    host = host_back()
    host.sick.add(instance(1).uid)
    assert work(host, AFTER_S + 5) is None
    host.sick.clear()
    assert work(host, AFTER_S - 1) is None
    assert work(host, 3) is not None


def test_its_session_has_to_stand_for_so_long() -> None:
    host = host_back()
    assert work(host, 6) is None
    up = {way: replace(uplink, up_at=host.now) for way, uplink in host.memory.uplinks.items()}
    host.memory = replace(host.memory, uplinks=up)
    assert work(host, AFTER_S - 0.5) is None
    assert work(host, 2) is not None


def test_where_nobody_else_serves_it_is_announced_at_once() -> None:
    """By the other hosts' word; while not all have been heard, they are waited for a few seconds and no longer."""
    first = work(host_back(elsewhere=False), 5)
    assert first is not None
    assert first < 10 * HEALTHY_AFTER_S
    unheard = work(host_back(elsewhere=False), AFTER_S, known=False)
    assert unheard is not None
    assert ASK_S <= unheard < ASK_S + 1
    host = host_back()
    assert work(host, 3) is None
    host.offers.clear()
    assert work(host, 1) is not None, "the last other one has gone meanwhile"


def test_hosts_that_come_back_all_at_once_do_not_wait_for_each_other() -> None:
    """Each tells that nobody new is to come while it waits, so in nobody's eyes does another one serve: it is announced
    as soon as all have been heard, and tells what it serves from then on.
    """
    host = host_back()
    host.offers[AMS.address] = {A: 0}
    first = work(host, 5)
    assert first is not None
    assert first < 10 * HEALTHY_AFTER_S
    waiting = host_back()
    assert work(waiting, AFTER_S - 1) is None
    assert waiting.served == {A: 0}
    assert work(waiting, 3) is not None
    assert work(waiting, 1) is not None
    for step in converge(waiting.facts(tunnels=UP), waiting.now):
        waiting.apply(step)
    assert waiting.served == {A: 2}


def test_one_that_never_becomes_well_does_not_keep_the_others_away_for_ever() -> None:
    host = host_back()
    host.sick.add(instance(1).uid)
    first = work(host, MOST_S + 5)
    assert first is not None
    assert MOST_S <= first < MOST_S + 1


@pytest.mark.parametrize("how", ["new", "never", "alone"])
def test_nobody_else_waits(how: str) -> None:
    """A host that did not come back; one whose operator wants it at once; one without a backbone."""
    plain = order(1, instance(0), instance(1))
    host = host_back(
        wanted={
            "new": joined(plain, *PEERS),
            "never": replace(joined(plain, *PEERS), return_after_s=0.0),
            "alone": plain,
        }[how]
    )
    if how == "new":
        host.memory = replace(host.memory, returned_at=None)
    first = work(host, 5)
    assert first is not None
    assert first < 10 * HEALTHY_AFTER_S
