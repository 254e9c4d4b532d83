"""Changes that lose nothing, on real parts under load: a newer incarnation takes over, instances go away, and the
agent dies on the way.

Requests go over a new connection each 2 ms, to the anycast and to the external address; long connections stay with
who has them.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import pytest

from anypop.agent.act.network import pins
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import short
from anypop.host import netns
from anypop.model.order import Containers, InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.report import Phase
from anypop.model.workload import Container, Port, Probe, ProbeKind
from tests.agent_lab import (
    ANYCAST4,
    ANYCAST6,
    COVER4,
    COVER6,
    EXTERNAL4,
    EXTERNAL6,
    Flow,
    PopLab,
    container_pids,
    external,
    instance,
    tokens,
    web,
)
from tests.agent_load import Requests
from tests.podman_service import STAY
from tests.wait import wait_until

pytestmark = pytest.mark.lab
ECHO = "nc -ll -p 81 -e /bin/sh -c 'hostname; exec cat' &"
PORTS = (Port(name="http", port=80, open_to_all=True), Port(name="echo", port=81, open_to_all=True))
DRAIN_S = 4.0
_lives = iter(range(1, 1000))


@pytest.fixture(scope="module")
def pop() -> Iterator[PopLab]:
    """A host with one upstream and a running agent that obeys an order without instances."""
    lab = PopLab("agh")
    try:
        lab.start_agent()
        lab.give(drain_s=DRAIN_S)
        wait_until(
            lambda: lab.upstreams.routes("one", EXTERNAL4), timeout_s=20, reason="the host's own prefix is announced"
        )
        yield lab
    finally:
        lab.close()


@pytest.fixture
def clean(pop: PopLab) -> Iterator[PopLab]:
    """The host without instances before and after."""
    yield pop
    known = {i.uid: i for i in (pop.control.order.instances if pop.control.order else ())}
    order = pop.give(removed=tokens(*known.values()), drain_s=0.0)
    _wait(
        pop,
        lambda: (r := pop.control.report) and r.generation == order.generation and not r.instances,
        "the host is empty again",
    )
    assert _pinned(pop) == {}


def _wait(pop: PopLab, predicate: object, reason: str, timeout_s: float = 20) -> None:
    try:
        wait_until(predicate, timeout_s=timeout_s, reason=reason)  # type: ignore[arg-type]
    except AssertionError as error:
        raise AssertionError(f"{error}\n{pop.control.report}\n{pop.agent_log()}") from error


def _says(who: str, more: str = "") -> Container:
    """A web server that says `who` on port 80 and echoes on port 81."""
    script = f"echo {who} > /www/index.html; httpd -p 80 -h /www; {ECHO} {more}\n{STAY}"
    probe = Probe(kind=ProbeKind.HTTP, port=80, period_s=0.1, failure_threshold=2)
    return replace(web(), command=("/bin/sh", "-c", script), ports=PORTS, readiness=probe)


def life(n: int, who: str, *, number: int = 0) -> InstanceOrder:
    """An incarnation of slot `n` that says `who`; the next life of it has the next `number`."""
    serial = next(_lives)
    return instance(n, uid=f"{serial:08x}{n:02x}", life=number, link=n + 8 * (serial % 100), containers=(_says(who),))


def _pinned(pop: PopLab) -> dict[str, bool]:
    with netns.inside(pop.router), Netlink() as net:
        return pins.pinned(net, pop.prefix)


def _serving(pop: PopLab, one: InstanceOrder) -> bool:
    told = pop.reported_life(one.uid)
    return told is not None and told.serving and told.healthy


def _ready(pop: PopLab, *all_: InstanceOrder) -> None:
    """Wait until all serve, and the world knows the way."""
    for one in all_:
        _wait(pop, partial(_serving, pop, one), f"{one.uid} serves")
    for prefix in (EXTERNAL4, EXTERNAL6, COVER4, COVER6):
        _wait(pop, partial(pop.upstreams.routes, "one", prefix), f"{prefix} is announced")


def _gone(pop: PopLab, one: InstanceOrder) -> bool:
    report = pop.control.report
    return report is not None and one.uid in report.gone


def test_a_newer_incarnation_takes_over_under_load(clean: PopLab) -> None:
    """Nobody is refused or cut on anycast and external addresses while a slot gets a new incarnation and the old one
    goes; a connection of before stays with the old one, and one that came meanwhile with the new.
    """
    old, new = life(0, "old"), life(0, "new", number=1)
    clean.give(old, drain_s=DRAIN_S)
    _ready(clean, old)
    with ExitStack() as stack:
        space = clean.upstreams.namespace("one")
        loads = [stack.enter_context(Requests(space, a)) for a in (ANYCAST4, external(old), ANYCAST6)]
        early = [Flow(clean, a, 81) for a in (ANYCAST4, external(old), ANYCAST6)]
        wait_until(lambda: all(load.sent > 100 for load in loads), timeout_s=10, reason="the load runs")
        clean.give(old, new, drain_s=DRAIN_S)
        _wait(clean, lambda: _serving(clean, new), "the new one has the slot")
        sides = [clean.reported_life(i.uid) for i in (old, new)]
        assert [(s.template, s.serving) for s in sides if s] == [("t0", False), ("t1", True)]
        assert _pinned(clean) == {short(old.uid): True}
        wait_until(
            lambda: all(load.last == "new" for load in loads), timeout_s=20, reason="new requests reach the new one"
        )
        assert all(flow.lives() for flow in early), "a connection of before the change was cut"
        late = Flow(clean, external(old), 81)
        asked = time.monotonic()
        clean.give(new, removed=tokens(old, reason=Reason.SUPERSEDED), drain_s=DRAIN_S)
        wait_until(
            lambda: (t := clean.reported_life(old.uid)) and t.phase is Phase.DELETING,
            timeout_s=9,
            reason="it is told to go",
        )
        assert all(flow.lives() for flow in early), "a connection of before the change was cut early"
        for flow in early:
            flow.close()
        _wait(clean, lambda: _gone(clean, old), "the old one goes when its last connection has ended")
        assert time.monotonic() - asked < DRAIN_S
        assert late.lives()
        late.close()
        wait_until(lambda: sum(load.sent for load in loads) >= 1600, timeout_s=30, reason="enough was asked")
    for load in loads:
        assert load.failures == []
        assert set(load.answers) == {"old", "new"}
    assert _pinned(clean) == {}
    print(f"{sum(load.sent for load in loads)} requests, none failed")


def test_three_of_four_go_and_no_request_is_lost(clean: PopLab) -> None:
    """A scale-down from four instances to one under at least 1,600 requests."""
    four = [life(n, f"i{n}") for n in range(4)]
    clean.give(*four, drain_s=DRAIN_S)
    _ready(clean, *four)
    with (
        Requests(clean.upstreams.namespace("one"), ANYCAST4) as load,
        Requests(clean.upstreams.namespace("one"), ANYCAST6) as other,
    ):
        wait_until(lambda: len(load.answers) == 4 and load.sent > 300, timeout_s=15, reason="all four answer")
        clean.give(four[0], removed=tokens(*four[1:], reason=Reason.SCALED_DOWN), drain_s=DRAIN_S)
        begun = time.monotonic()
        for one in four[1:]:
            _wait(clean, partial(_gone, clean, one), f"{one.name} is gone")
        took = time.monotonic() - begun
        wait_until(lambda: load.sent + other.sent >= 1600, timeout_s=20, reason="enough was asked")
        wait_until(lambda: load.last == "i0", timeout_s=9, reason="the last one answers")
    assert load.failures + other.failures == []
    assert took < DRAIN_S, "they go when their last flow has ended, not after the longest time"
    print(f"{load.sent + other.sent} requests, none failed; three were gone after {took:.2f} s")


def test_an_agent_that_dies_in_the_middle_of_a_drain_loses_nothing(clean: PopLab) -> None:
    """kill -9 while an instance drains: its connection goes on, new ones go elsewhere, the next agent takes the drain
    up where it was and ends it when the connection has ended.
    """
    stays, goes = life(0, "stays"), life(1, "goes")
    clean.give(stays, goes, drain_s=30.0)
    _ready(clean, stays, goes)
    flow = Flow(clean, external(goes), 81)
    with Requests(clean.upstreams.namespace("one"), ANYCAST4) as load:
        wait_until(lambda: len(load.answers) == 2, timeout_s=10, reason="both answer")
        clean.give(stays, removed=tokens(goes), drain_s=30.0)
        wait_until(lambda: _pinned(clean) == {short(goes.uid): True}, timeout_s=20, reason="it drains", every_s=0.001)
        clean.kill_agent()
        assert flow.lives()
        clean.start_agent()
        wait_until(
            lambda: load.last == "stays" and clean.members(ANYCAST4) == 1,
            timeout_s=10,
            reason="new requests go elsewhere",
        )
        sent = load.sent
        wait_until(lambda: load.sent > sent + 300, timeout_s=10, reason="more requests")
        assert flow.lives()
        assert container_pids(clean)[goes.name]
        flow.close()
        _wait(clean, lambda: _gone(clean, goes), "the drain ends with its last connection")
    assert load.failures == []


def test_a_broken_newer_incarnation_changes_nothing_and_one_that_breaks_later_gives_back(clean: PopLab) -> None:
    """One that never answers gets no traffic. One that took over and then stops answering gives the slot back, and
    the old one's long connection has lived through it all.
    """
    old = life(0, "old")
    silent = replace(_says("nothing"), command=("/bin/sleep", "60"))
    broken = replace(life(0, "broken", number=1), payload=Containers(containers=(silent,)))
    clean.give(old, drain_s=DRAIN_S)
    _ready(clean, old)
    space, flow = clean.upstreams.namespace("one"), Flow(clean, ANYCAST4, 81)
    with Requests(space, ANYCAST4) as load, Requests(space, external(old)) as other:
        clean.give(old, broken, drain_s=DRAIN_S)
        _wait(
            clean,
            lambda: (t := clean.reported_life(broken.uid)) and t.containers[0].phase is Phase.RUNNING,
            "the broken one runs",
        )
        wait_until(lambda: load.sent > 600, timeout_s=20, reason="it had its chance")
        assert (load.failures, other.failures) == ([], [])
        assert set(load.answers) | set(other.answers) == {"old"}
        clean.give(old, removed=tokens(broken, reason=Reason.REVERTED), drain_s=DRAIN_S)
        _wait(clean, lambda: _gone(clean, broken), "the broken one is gone")
        new = life(0, "new", number=2)
        clean.give(old, new, drain_s=DRAIN_S)
        _wait(clean, lambda: _serving(clean, new), "a good one has the slot")
        failures = len(load.failures) + len(other.failures)
        assert failures == 0
    rows = clean.podman.ask("GET", "/containers/json").json()
    (pid,) = (int(row["Pid"]) for row in rows if row["Labels"]["anypop.uid"] == new.uid)
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: clean.get(ANYCAST4) == "old" == clean.get(external(old)),
        timeout_s=9,
        reason="the old one has the slot again",
    )
    assert flow.lives()
    _wait(clean, lambda: _serving(clean, new), "the new one is back")
    assert flow.lives()
    flow.close()
