"""Charts of the portal without a browser: what the script that draws them gets, and who gets nothing."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from anypop.control.metrics.charts import BY
from anypop.control.metrics.charts import CHARTS as OF_THE_API
from anypop.control.roles import Role
from anypop.model.streams import SamplesRequest, Series
from anypop.portal import measured
from tests.contract.test_portal import Visitor
from tests.control_world import World
from tests.measured import labels_on, measuring
from tests.people import two_accounts
from tests.served import served

DATA = "/portal/stacks/default/measured"
CPU = OF_THE_API["cpu"].name


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    viewers = {"own": {"ada": Role.VIEWER}, "theirs": {"eve": Role.VIEWER}}
    with two_accounts(tmp_path_factory.mktemp("measured"), **viewers) as made:
        made.create("fun")
        made.create("other", anycast=False)
        made.settle()
        yield made


@pytest.fixture(autouse=True)
def by_the_worlds_clock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "wall", world.clock)


def read(visitor: Visitor, **query: str) -> tuple[int, Any]:
    answer = visitor.ask("GET", DATA + "?" + "&".join(f"{key}={value}" for key, value in query.items()))
    assert answer.headers["content-type"] == "application/json", answer.text
    return answer.status_code, answer.json()


def test_every_chart_and_every_way_to_tell_curves_apart_is_one_of_the_api() -> None:
    assert {chart.name for chart in measured.CHARTS} == set(OF_THE_API)
    assert set(measured.BY) <= set(BY)


def test_curves_have_names_of_people_and_what_is_silent_is_named(world: World) -> None:
    """A stack's by workload, a workload's by PoP or instance; a host that does not answer is told, and no error."""
    world.clock.now += 900  # the instances have lived for as long
    world.settle()
    ada = Visitor(world).sign_in("ada")

    def kept(wanted: SamplesRequest) -> Iterable[Series]:
        assert CPU in wanted.names
        count = int((wanted.until - wanted.since) / wanted.step_s)
        moments = [wanted.since + wanted.step_s * n for n in range(count + 1)]
        for n, labels in enumerate(labels_on(world, "AMS")):
            points = tuple((at, (n + 1) * 0.25 * (at - wanted.since)) for at in moments)
            yield Series(name=CPU, labels=tuple(sorted(labels.items())), points=points)

    with served(world) as there, measuring(there, "AMS", kept=kept):
        status, found = read(ada, chart="cpu", span="15m", by="workload")
        assert status == 200 and found["unit"] == "cores" and found["source"] == "agents"
        assert {one["name"]: round(one["points"][-1][1], 2) for one in found["series"]} == {"fun": 0.75, "other": 1.75}
        assert found["to"] - found["from"] == 900 and "LHR" in " ".join(found["missing"]) and found["age"] < 30
        points = found["series"][0]["points"]
        _, found = read(ada, chart="cpu", by="workload", since=str(points[-3][0]), step=str(found["step"]))
        assert found["series"][0]["points"] == points[-3:], "what is new alone, at the same moments"
        assert read(ada, chart="cpu", since=str(world.clock.now + 9))[0] == 200, "a clock that is ahead"
        _, found = read(ada, chart="cpu", by="pop")
        assert {one["name"] for one in found["series"]} == {"fun AMS", "other AMS"}, "of many workloads"
        _, found = read(ada, chart="cpu", by="pop", workload="fun")
        assert {one["name"] for one in found["series"]} == {"AMS"}
        _, found = read(ada, chart="cpu", by="instance", workload="fun")
        assert {one["name"] for one in found["series"]} == {"fun-eu-ams-0", "fun-eu-ams-1"}


def test_a_refusal_is_told_in_words_and_nobody_sees_what_is_of_others(world: World) -> None:
    ada, eve = Visitor(world).sign_in("ada"), Visitor(world).sign_in("eve")
    for query, status in (
        ({"chart": "nothing"}, 400), ({"chart": "cpu", "workload": "none"}, 404),
        ({"chart": 'cpu"} or vector(1)'}, 400), ({}, 400),
    ):  # fmt: skip
        found = read(ada, **query)
        assert found[0] == status and found[1]["message"], found
    assert eve.ask("GET", f"{DATA}?chart=cpu").status_code == 404
    assert eve.ask("GET", "/portal/stacks/default/metrics").status_code == 404
    assert "Nothing is measured yet" in eve.get("/portal/stacks/theirs/metrics")
    page = ada.get("/portal/stacks/default/metrics")
    assert page.count("<figure") == len(measured.CHARTS) and "charts.js" in page
    assert Visitor(world).ask("GET", f"{DATA}?chart=cpu").status_code == 303
