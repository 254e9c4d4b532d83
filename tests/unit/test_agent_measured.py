"""What an agent tells of single instances' use of processor: means of whole spans, told anew where they change."""

import os
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from anypop.agent.observe.measured import GOOD_FOR_SPANS, Counted, Measured, open_sockets, read, wanted_by
from anypop.agent.observe.processor import used_s
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.order import Containers, InstanceOrder, Order

SPAN = 15.0


class Bench:
    """Time and counters that move when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used: dict[str, float] = {}
        self.pids: dict[str, frozenset[int]] = {}
        self.woken = 0
        self.measured = Measured(lambda: {}, lambda: self.now, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def after(self, seconds: float, **cores: float) -> dict[str, int]:
        """What is told after a while in which each used so many cores."""
        self.now += seconds
        for uid, rate in cores.items():
            self.used[uid] = self.used.get(uid, 0.0) + rate * seconds
        counted = {
            uid: Counted(at=self.now, pids=self.pids.get(uid, frozenset({1})), used_s=self.used[uid]) for uid in cores
        }
        self.measured.take(counted, SPAN)
        return dict(self.measured.millis)


def test_a_mean_is_told_when_a_whole_span_is_known() -> None:
    bench = Bench()
    assert bench.after(SPAN, a=0.5) == {}
    assert bench.after(SPAN, a=0.25, b=1.0) == {"a": 250}
    assert bench.after(SPAN, a=0.25, b=1.5) == {"a": 250, "b": 1500}


def test_an_order_in_between_does_not_shorten_a_span() -> None:
    bench = Bench()
    bench.after(0.0, a=0.0)
    assert bench.after(5.0, a=1.0) == {}
    assert bench.after(10.0, a=0.25) == {"a": 500}


def test_what_changed_a_little_is_not_told_anew() -> None:
    bench = Bench()
    bench.after(SPAN, a=0.5)
    assert bench.after(SPAN, a=0.5) == {"a": 500}
    woken = bench.woken
    for rate in (0.51, 0.49, 0.505):
        assert bench.after(SPAN, a=rate) == {"a": 500}
    assert bench.woken == woken
    assert bench.after(SPAN, a=0.55) == {"a": 550}
    assert bench.woken == woken + 1


def test_a_container_that_was_started_anew_tells_nothing_for_a_span() -> None:
    bench = Bench()
    bench.after(SPAN, a=0.5)
    assert bench.after(SPAN, a=0.5) == {"a": 500}
    bench.pids["a"] = frozenset({2})
    assert bench.after(SPAN, a=0.5) == {}
    assert bench.after(SPAN, a=0.7) == {"a": 700}


def test_one_that_is_gone_is_told_no_longer_and_neither_is_what_is_old() -> None:
    bench = Bench()
    bench.after(SPAN, a=0.5, b=0.5)
    assert bench.after(SPAN, a=0.5, b=0.5) == {"a": 500, "b": 500}
    assert bench.after(SPAN, a=0.5) == {"a": 500}
    bench.now += GOOD_FOR_SPANS * SPAN
    assert bench.measured.millis == ()


def test_connections_are_told_about_and_wake_nobody() -> None:
    """The kernel's own count; a few more or less are not told anew."""
    bench = Bench()
    told = []
    for flows in (100, 110, 90, 130, 130, None, 3, 5):
        counted = {"a": Counted(at=bench.now, pids=frozenset({1}), used_s=0.0, flows=flows)}
        bench.measured.take(counted, SPAN)
        told.append(dict(bench.measured.flows).get("a"))
    assert told == [100, 100, 100, 130, 130, None, 3, 3]
    assert bench.woken == 0
    bench.now += GOOD_FOR_SPANS * SPAN
    assert bench.measured.flows == ()
    before = open_sockets(os.getpid())
    assert before is not None and open_sockets(2**22 + 1) is None


def test_only_what_the_order_names_is_read() -> None:
    order = Order(
        pop=CityCode("AMS"), host=HostName("AMS"), generation=1, asn=1, router_id=IPv4Address("10.0.0.1"),
        private4=IPv4Network("10.0.0.0/24"), private6=IPv6Network("fd00::/64"),
        external4=IPv4Network("198.18.0.0/24"), external6=IPv6Network("2001:db8::/48"), upstreams=(),
        instances=tuple(
            InstanceOrder(
                name=InstanceName(f"i-{w}"), uid=f"u-{w}", workload_id=WorkloadId(w), links=(),
                payload=Containers(containers=()),
            )
            for w in ("a", "b")
        ),
        measured=(WorkloadId("b"),), measure_s=0.01,
    )  # fmt: skip
    assert wanted_by(order) == {"u-b"}


def test_a_group_that_is_not_counted_tells_nothing() -> None:
    own = os.getpid()
    found = read({"gone": frozenset({2**22 + 1}), "own": frozenset({own})}, lambda: 1.0)
    assert "gone" not in found
    assert ("own" in found) is (used_s(own) is not None)
