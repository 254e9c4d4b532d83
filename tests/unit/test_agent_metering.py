"""What the agent makes of what the kernel counts: sums that never fall, series that are an incarnation's own, the text
as the official parser reads it.
"""

import asyncio
import json
import os
import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from anypop.agent.act.network import traffic
from anypop.agent.act.network.traffic import Led
from anypop.agent.decide.elements import ContainerSeen, ContainerState, Past
from anypop.agent.naming import TUNNEL, link_of
from anypop.agent.observe import groups, interfaces, metering
from anypop.agent.observe.groups import Figures, Group, Groups
from anypop.agent.observe.interfaces import Passed
from anypop.agent.observe.meter import Latest, Meter
from anypop.agent.observe.metering import Anycast, Instances, Known, Labels, Sessions
from anypop.control.metrics.host_text import checked
from anypop.model.backbone import Backbone
from anypop.model.metrics import CPU, INSTANCE, MEMORY, METRICS, RECEIVED_BYTES, RESTARTS, THROTTLED, SeriesKey
from anypop.model.report import SessionReport
from tests.agent_lab import ANYCAST4, COVER4, instance

ONE = instance(0)
LABELS = Labels("LHR", "LHR")


def seen(number: int, pid: int, restarts: int = 0) -> ContainerSeen:
    return ContainerSeen(
        id=f"c{number}", instance=ONE.name, uid=ONE.uid, container="web", state=ContainerState.RUNNING, pid=pid,
        past=Past(restarts=restarts),
    )  # fmt: skip


def row(read: tuple[tuple[SeriesKey, ...], list[int | None]]) -> dict[str, int | None]:
    series, values = read
    assert len(series) == len(values)
    return {key.name: value for key, value in zip(series, values, strict=True)}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], Figures]:
    """What control groups say, by container."""
    found: dict[tuple[str, int], Figures] = {}
    monkeypatch.setattr(Groups, "read", lambda self, places: {p: found.get(p, groups.NONE) for p in places})
    return found


def test_a_sum_goes_on_over_all_lives_of_a_container(counted: dict[tuple[str, int], Figures]) -> None:
    """Its control group begins at nothing; what those before have used stays, also while nothing runs, and in the agent
    that comes after.
    """
    part, links = Instances(LABELS), {link_of(ONE.uid): Passed(1, 2, 3, 4)}
    counted["c1", 10] = Figures(100, 7, 5000)
    first = row(part.read(Known(order=None, instances=(ONE,), containers=(seen(1, 10),)), links))
    assert (first[CPU], first[THROTTLED], first[MEMORY], first[RESTARTS]) == (100, 7, 5000, 0)
    assert first[RECEIVED_BYTES] == 3, "what the host has sent, the instance has received"
    counted["c1", 10] = groups.NONE  # it ended between the look at containers and this one
    assert row(part.read(Known(order=None, instances=(ONE,), containers=(seen(1, 10),)), links))[CPU] == 100
    ended = row(part.read(Known(order=None, instances=(ONE,)), links))
    assert (ended[CPU], ended[MEMORY]) == (100, None)
    assert part.used == {ONE.uid: (100, 7)}
    counted["c2", 11] = Figures(5, 0, 4000)
    again = row(part.read(Known(order=None, instances=(ONE,), containers=(seen(2, 11, 1),)), links))
    assert (again[CPU], again[THROTTLED], again[RESTARTS]) == (105, 7, 1)

    news = part.news()
    assert news is not None and part.news() is None, "it is told once"
    after = Instances(LABELS)
    after.restore(json.loads(json.dumps(news)), {})
    assert row(after.read(Known(order=None, instances=(ONE,), containers=(seen(2, 11, 1),)), links))[CPU] == 105
    after.read(Known(order=None), {})
    assert after.news() == {}, "of an incarnation that is gone nothing is kept"

    third = Instances(LABELS)
    labels = LABELS.of_instance((CPU, THROTTLED), ONE)
    third.restore(json.loads(json.dumps(news)), {labels[0]: 190, labels[1]: 9})
    counted["c3", 12] = Figures(1, 0, 4000)
    found = row(third.read(Known(order=None, instances=(ONE,), containers=(seen(3, 12, 2),)), links))
    assert (found[CPU], found[THROTTLED]) == (191, 9), (
        "it ended while no agent was here: the last row that was kept counts"
    )


def test_what_is_not_counted_is_no_zero(counted: dict[tuple[str, int], Figures]) -> None:
    """On a machine without such controllers; and an instance that has neither link nor process has no series."""
    part, known = Instances(LABELS), Known(order=None, instances=(ONE,), containers=(seen(1, 10),))
    found = row(part.read(known, {}))
    assert [found[name] for name in INSTANCE] == [None] * 7 + [0, None]
    assert part.read(replace(known, containers=()), {}) == ((), [])


def test_series_are_the_same_object_as_long_as_they_are_the_same(counted: dict[tuple[str, int], Figures]) -> None:
    part, known = Instances(LABELS), Known(order=None, instances=(ONE,), containers=(seen(1, 10),))
    first, _ = part.read(known, {})
    assert part.read(known, {})[0] is first
    assert part.read(replace(known, instances=(ONE, instance(1)), containers=(seen(1, 10),)), {})[0] is first
    other, _ = part.read(
        replace(known, instances=(replace(ONE, uid="f" * 32),), containers=()), {link_of("f" * 32): Passed(0, 0, 0, 0)}
    )
    assert other is not first and dict(other[0].labels)["incarnation"] == "f" * 32


def test_a_member_is_told_by_its_slot_and_the_tunnel_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What went to an address that is none of the member's, or by the tunnel to an instance's own, is not told; what a
    link that is gone has left is taken away.
    """
    own, link = IPv4Address("198.51.100.10"), link_of(ONE.uid)
    led: dict[traffic.Place, Led] = {
        (link, ANYCAST4): Led(3, 300, 1), (link, own): Led(9, 900, 9), (TUNNEL, ANYCAST4): Led(2, 200, 1),
        (TUNNEL, own): Led(8, 800, 8), ("i0123456789", ANYCAST4): Led(7, 700, 7),
    }  # fmt: skip
    forgotten: list[Any] = []
    monkeypatch.setattr(metering, "Netlink", lambda kind: object())
    passed: list[int | None] = [29]
    reads: list[int] = []
    monkeypatch.setattr(traffic, "passed", lambda net, prefix: passed[-1])

    def read(net: object, prefix: str) -> dict[traffic.Place, Led]:
        reads.append(1)
        return dict(led)

    monkeypatch.setattr(traffic, "read", read)
    monkeypatch.setattr(traffic, "forget", lambda net, prefix, places: forgotten.extend(places))
    backbone: Any = type("B", (), {"carried": (COVER4,)})()
    order: Any = type("O", (), {"backbone": backbone})()
    part = Anycast(LABELS, "t")
    series, values = part.read(Known(order=order, instances=(ONE,)), {link, TUNNEL})
    told = {(k.name, dict(k.labels)["member"]): v for k, v in zip(series, values, strict=True)}
    assert told == {
        ("anypop_anycast_bytes_total", "tunnel"): 200, ("anypop_anycast_packets_total", "tunnel"): 2,
        ("anypop_anycast_new_flows_total", "tunnel"): 1, ("anypop_anycast_bytes_total", ONE.name): 300,
        ("anypop_anycast_packets_total", ONE.name): 3, ("anypop_anycast_new_flows_total", ONE.name): 1,
    }  # fmt: skip
    assert {dict(k.labels)["incarnation"] for k in series} == {ONE.uid, ""}
    assert forgotten == [("i0123456789", ANYCAST4)]
    del led["i0123456789", ANYCAST4]
    told_at = [part.read(Known(order=order, instances=(ONE,)), {link, TUNNEL}) and len(reads) for _ in range(3)]
    passed.append(30)
    led[link, ANYCAST4] = Led(4, 400, 1)
    assert 400 in part.read(Known(order=order, instances=(ONE,)), {link, TUNNEL})[1], "a packet has passed"
    assert (told_at, len(reads)) == ([2, 2, 2], 3), "read anew after what was taken away, and then no more until then"
    passed.append(None)
    assert [part.read(Known(order=order), {link}) and len(reads) for _ in range(2)] == [4, 5], "no table: always asked"
    assert Backbone.__dataclass_fields__.keys() >= {"carried"}


def test_a_session_that_was_lost_is_counted_also_where_nobody_saw_it_down() -> None:
    """By the speaker's own stamp of when it came up."""
    part = Sessions(LABELS)

    def flaps(state: str, since: float) -> int | None:
        session = SessionReport(upstream="one", family=4, state=state, since=since, imported=5, exported=2)
        return row(part.read(Known(order=None, sessions=(session,), bfd={("one", 4): True})))[
            "anypop_session_flaps_total"
        ]

    assert [flaps("active", 1), flaps("established", 2), flaps("established", 2)] == [0, 0, 0]
    assert [flaps("established", 3), flaps("idle", 4), flaps("idle", 4), flaps("established", 5)] == [1, 2, 2, 2]


def test_control_lets_pass_all_that_an_agent_tells_of_itself(tmp_path: Path) -> None:
    """No line of an agent that does what it should counts as one that is not its own: that alarms the operator."""
    meter = Meter(
        pop="LHR", host="LHR", prefix="t", known=lambda: Known(order=None), clock=lambda: 1000.0, folder=tmp_path
    )
    meter.tell_images({"from_control": 7})
    meter.passed(0.003)
    place = (("host", "LHR"), ("pop", "LHR"))
    names = [name for name in METRICS if not name.startswith("anypop_instance_")]
    meter.latest = Latest(tuple(SeriesKey(name, place) for name in names), metering_row(1000_000, [1] * len(names)))
    text = asyncio.run(meter.text()).decode()
    found = checked(text, dict(place), {})
    assert found.dropped == 0 and found.text == text
    assert 'anypop_image_bytes_total{host="LHR",pop="LHR",way="from_control"} 7.0' in found.text
    meter.close()


def test_the_text_is_read_by_the_librarys_own_parser(tmp_path: Path) -> None:
    """Each kind as what it is, in its unit, whatever stands in a label; what has no value is not there; what is old is
    not told as new.
    """
    now = [1000.0]
    meter = Meter(
        pop="LHR", host='a "b"\\\n', prefix="t", known=lambda: Known(order=None), clock=lambda: now[0], folder=tmp_path
    )
    labels = (("host", 'a "b"\\\n'), ("pop", "LHR"))
    layout = (SeriesKey(CPU, labels), SeriesKey(MEMORY, labels), SeriesKey(RESTARTS, labels))
    meter.latest = Latest(layout, metering_row(1000_000, [1_500_000, 2**40, None]))
    meter.passed(0.003)

    def samples() -> dict[str, tuple[str, dict[str, str], float]]:
        text = asyncio.run(meter.text()).decode()
        families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        return {s.name: (f.type, s.labels, s.value) for f in families for s in f.samples}

    found = samples()
    assert found[CPU] == ("counter", dict(labels), 1.5)
    assert found[MEMORY] == ("gauge", dict(labels), 2.0**40)
    assert RESTARTS not in found
    assert found["anypop_agent_pass_seconds_count"][2] == 1
    now[0] += 60
    assert CPU not in samples()
    meter.close()


def metering_row(at_ms: int, values: list[int | None]) -> Any:
    from anypop.agent.samples.rows import Row  # noqa: PLC0415

    return Row(at_ms, values)


def test_figures_of_a_group_are_the_kernels_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both versions; where the group is not the container's own, nothing is told of it."""
    monkeypatch.setattr(groups, "ROOT", tmp_path)
    two = tmp_path / "libpod-abc"
    two.mkdir()
    (two / "cpu.stat").write_text("usage_usec 1234\nuser_usec 1\nnr_throttled 3\nthrottled_usec 77\n")
    (two / "memory.current").write_text("9000\n")
    (two / "memory.stat").write_text("anon 5\ninactive_file 4000\nactive_file 1\n")
    one = tmp_path / "cpu,cpuacct" / "libpod-abc"
    one.mkdir(parents=True)
    (one / "cpuacct.usage").write_text("1234567\n")
    (one / "cpu.stat").write_text("nr_periods 0\nthrottled_time 77000\n")
    old = tmp_path / "memory" / "libpod-abc"
    old.mkdir(parents=True)
    (old / "memory.usage_in_bytes").write_text("9000\n")
    (old / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 4000\n")
    real = Path.read_text
    said = [""]

    def read(self: Path, *words: Any, **more: Any) -> str:
        return said[0] if str(self) == "/proc/7/cgroup" else real(self, *words, **more)

    monkeypatch.setattr(Path, "read_text", read)
    for text in ("0::/libpod-abc\n", "3:cpu,cpuacct:/libpod-abc\n2:memory:/libpod-abc\n0::/elsewhere\n"):
        said[0] = text
        for keep in (False, True):
            group = Group(7, of="abc", keep=keep)
            assert group.read() == group.read() == Figures(1234, 77, 5000)
            group.close()
        assert Group(7, of="other").read() == groups.NONE
    said[0] = "0::/gone\n"
    assert Group(7).read() == groups.NONE


def test_interfaces_and_the_agents_own_process_are_counted(tmp_path: Path) -> None:
    """By the kernel, here and now."""
    assert interfaces.read()["lo"].received == interfaces.read()["lo"].sent
    meter = Meter(
        pop="LHR", host="LHR", prefix="none", known=lambda: Known(order=None), clock=time.time, folder=tmp_path
    )
    layout, (_, values) = meter.count(Known(order=None, tiers={"1s": 5}))
    found = {key.name: value for key, value in zip(layout, values, strict=True)}
    pages = int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1])
    assert (found["anypop_agent_memory_bytes"] or 0) > pages * os.sysconf("SC_PAGE_SIZE") / 2
    assert found["anypop_agent_tier_bytes"] == 5
    assert set(found) <= set(METRICS)
    meter.close()
