"""What control hears of a host that measures, in one suite for the one that tests play and for an agent's own meter."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from anypop.control.metrics.filling import PULSE
from anypop.model.metrics import CPU
from anypop.model.names import HostName
from anypop.model.streams import SamplesRequest
from tests.control_world import World
from tests.measured import all_the_time, labels_on, line, measuring, text_of
from tests.measuring_agent import measuring_agent
from tests.served import served
from tests.wait import wait_until

AMS = HostName("AMS")
PLACE = {"pop": "AMS", "host": "AMS"}
MEMORY = "anypop_instance_memory_bytes"
SPAN_S = 600.0


@pytest.fixture(scope="module", params=["played", "an agent"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """With two instances on the host, of which there are samples of some seconds."""
    folder: Path = tmp_path_factory.mktemp("measured")
    (folder / "world").mkdir()
    with World(folder / "world", now=time.time()) as world:
        world.create("fun")
        agents = world.agents()
        world.settle(agents)
        labels = labels_on(world, AMS)
        with served(world) as there:
            if request.param == "played":
                lines = [line(MEMORY, 17, **one) for one in labels] + [line(PULSE, 1, **PLACE)]
                kept = all_the_time([*labels, PLACE], began=time.time() - 5)
                with measuring(there, AMS, text=text_of(lines), kept=kept):
                    yield world
            else:
                (order,) = (agent.order for agent in agents if agent.host == AMS)
                assert order is not None
                prefix = f"m{os.getpid() % 46656:x}"
                with measuring_agent(there, AMS, order, folder / "samples", prefix=prefix) as meter:
                    wait_until(
                        lambda: meter.tiers is not None and len(points(world)) >= 4, timeout_s=30, every_s=0.5,
                        reason="samples of some seconds are kept",
                    )  # fmt: skip
                    yield world


def told(world: World, *, step: float = 1.0, names: tuple[str, ...] = (), uids: tuple[str, ...] = ()) -> dict[Any, Any]:
    """Points by name and labels, of the last minutes."""
    now = time.time()
    wanted = SamplesRequest(since=now - SPAN_S, until=now, step_s=step, names=names, uids=uids)

    async def ask() -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        async for one in world.platform.measured.samples(AMS, wanted):
            found.setdefault((one.name, one.labels), []).extend(one.points)
        return found

    found = world.run(ask())
    assert all(wanted.since <= at <= wanted.until for points in found.values() for at, _ in points)
    return found


def points(world: World) -> list[Any]:
    return next(iter(told(world, names=(PULSE,)).values()), [])


def key(name: str, labels: Any) -> Any:
    return name, tuple(sorted(labels.items()))


def test_the_text_is_whole_and_each_series_is_the_hosts_own_to_tell(world: World) -> None:
    """Read by the library's own parser, with the labels that control has for each incarnation; nothing is left out."""
    text = world.run(world.platform.measured.text(AMS))
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    found = {key(s.name, s.labels) for family in families for s in family.samples}
    assert {key(MEMORY, labels) for labels in labels_on(world, AMS)} == {one for one in found if one[0] == MEMORY}
    assert key(PULSE, PLACE) in found
    assert not world.platform.measured.dropped


@pytest.mark.parametrize("step", [1.0, 2.0])
def test_samples_come_in_their_order_and_no_more_than_asked_for(world: World, step: float) -> None:
    """Of all that is asked for, and a counter never falls."""
    found = told(world, step=step, names=(CPU, PULSE))
    labels = labels_on(world, AMS)
    assert found.keys() == {key(PULSE, PLACE), *(key(CPU, one) for one in labels)}
    for series in found.values():
        times, values = [at for at, _ in series], [value for _, value in series]
        assert values == sorted(values) and len(set(times)) == len(times)
        assert times == sorted(times)
        # a beat that comes late on a busy host is nearer to the next one, and still one of each step
        assert len(times) <= (time.time() - times[0]) / step + 2


def test_nothing_else_is_told_than_what_was_asked_for(world: World) -> None:
    """By name, by incarnation, and by both."""
    one, other = labels_on(world, AMS)
    assert told(world, names=(CPU,), uids=(other["incarnation"],)).keys() == {key(CPU, other)}
    of_one = told(world, uids=(one["incarnation"],))
    assert key(CPU, one) in of_one and {dict(labels).get("incarnation") for _, labels in of_one} == {one["incarnation"]}
    assert told(world, names=("anypop_of_nothing",)) == {} == told(world, names=(CPU,), uids=("0" * 10,))
    assert told(world, names=(PULSE,)).keys() == {key(PULSE, PLACE)}
    assert not world.platform.measured.dropped
