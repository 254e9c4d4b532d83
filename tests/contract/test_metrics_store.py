"""The store of metrics, in one suite for two real ones: charts are the caller's own, and holes are filled.

Time is made up: an hour passes when a test says so. The hosts' agents are played by threads, which have kept what a
real one would.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.control.metrics.charts import CHARTS
from anypop.control.metrics.filling import PULSE, Filling
from anypop.control.metrics.remote_write import Series as Written
from anypop.control.metrics.settings import StoreSettings
from anypop.control.metrics.store import MetricsStore
from anypop.control.roles import Role
from anypop.model.errors import WorldError
from anypop.model.names import HostName
from tests.control_world import World
from tests.measured import all_the_time, labels_on, measuring
from tests.metric_stores import PASSWORD, prometheus, victoria_metrics
from tests.people import somebody
from tests.served import Served, served
from tests.wait import wait_until

QUERY = "/anypop/v1/metrics/query"
STORES = {"prometheus": prometheus, "victoria-metrics": victoria_metrics}
CPU = CHARTS["cpu"].name
# Some hours ago, and no more: a store writes what its rules say of this very moment, and takes nothing that is older
# than its window before that.
BEGIN = float(int(time.time()) // 3600 * 3600 - 6 * 3600)
AMS, JFK = HostName("AMS"), HostName("JFK")


of_one = pytest.mark.parametrize("stored", ["prometheus"], indirect=True)  # it asks nothing of the store that differs


class Stored:
    """A platform of two tenants with a store. `begin`: when it had its first samples."""

    def __init__(self, there: Served, settings: StoreSettings, kind: str) -> None:
        self.there, self.world, self.settings, self.kind = there, there.world, settings, kind
        world = there.world
        world.create()
        account = world.platform.accounts.create_account("tenant")
        self.tenant = somebody(world, account.id, "tenant-owner", Role.OWNER)
        answer = world.call("POST", "/stack/v1/stacks", json={"name": "theirs", "slug": "theirs"}, headers=self.tenant)
        assert answer.status_code == 200, answer.text
        path = "/workload/v1/stacks/theirs/workloads"
        answer = world.call(
            "POST", path, json=world.body("hidden", cities=("AMS",), anycast=False), headers=self.tenant
        )
        assert answer.status_code == 200, answer.text
        world.settle()

        async def begin() -> MetricsStore:
            return MetricsStore(settings)

        self.store = world.run(begin())
        world.platform.metrics_store = self.store
        self.begin = world.clock()

    def close(self) -> None:
        self.world.run(self.store.close())

    def write(self, series: Iterable[Written]) -> None:
        self.world.run(self.store.write(series))

    def scraped(self, labels: Mapping[str, str], name: str, *, since: float, until: float, per_s: float) -> Written:
        """As the store has it that scraped a counter all the time."""
        step = self.settings.interval
        count = int((until - since) / step)
        moments = [since + n * step for n in range(count + 1)]
        return Written(
            labels={"__name__": name, **labels},
            points=tuple((at, per_s * (at - self.begin)) for at in moments),
        )

    def times(self, selector: str, span_s: float) -> list[float]:
        if self.kind == "victoria-metrics":  # shows what was written some seconds later, unless it is told to
            auth = (self.settings.user, self.settings.password)
            httpx.get(f"{self.settings.url}/internal/force_flush", auth=auth, trust_env=False)
        found = self.world.run(self.store.samples(selector, until=self.world.clock(), span_s=span_s))
        return sorted(at for curve in found for at, _ in curve.points)

    def signed_in(self) -> Mapping[str, str]:
        """The operator's account, anew: hours pass here, and a token lasts for one."""
        return self.world.login(self.world.credential.client_id, self.world.credential.secret)

    def asked(self, headers: Mapping[str, str] | None = None, *, since: str = "", **query: str) -> httpx.Response:
        headers = headers or self.signed_in()
        return self.world.call("GET", QUERY, params={"chart": "cpu", "from": since, **query}, headers=headers)

    def chart(self, headers: Mapping[str, str] | None = None, **query: str) -> Any:
        answer = self.asked(headers, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module", params=STORES)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder: Path = tmp_path_factory.mktemp("stored")
    (folder / "world").mkdir()
    with (
        STORES[request.param](folder / "store") as settings,
        World(folder / "world", now=BEGIN) as world,
        served(world) as there,
    ):
        made = Stored(there, settings, request.param)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def filled(stored: Stored) -> Stored:
    """Half an hour of two tenants on one host: each instance uses a tenth of a core more than the one before."""
    world = stored.world
    until = stored.begin + 1800
    stored.write(
        stored.scraped(labels, CPU, since=stored.begin, until=until, per_s=(n + 1) / 10)
        for n, labels in enumerate(labels_on(world, "AMS"))
    )
    world.clock.now = until
    wait_until(lambda: stored.times(CPU, 60), timeout_s=20, reason="the store shows what was written")
    return stored


def values(chart: Any) -> dict[tuple[tuple[str, str], ...], set[float]]:
    """By labels: all values but those of the beginning, when there is nothing to look back at."""
    return {
        tuple(sorted(one["labels"].items())): {round(value, 2) for _, value in one["points"][10:]}
        for one in chart["series"]
    }


def test_a_chart_has_the_callers_own_and_says_how_old_it_is(filled: Stored) -> None:
    """Names of people, in place of ids; what is put together is a sum."""
    chart = filled.chart(by="instance", since=str(filled.begin))
    assert (chart["source"], chart["unit"], chart["missing"]) == ("store", "cores", [])
    assert chart["age"] <= filled.settings.interval
    names = labels_on(filled.world, "AMS")
    of_fun = [n for n, labels in enumerate(names) if labels["instance"].startswith("fun-")]
    assert values(chart) == {
        (("instance", names[n]["instance"]), ("pop", "AMS"), ("stack", "default"), ("workload", "fun")): {(n + 1) / 10}
        for n in of_fun
    }
    together = filled.chart(workload="fun", since=str(filled.begin))
    assert values(together) == {
        (("stack", "default"), ("workload", "fun")): {round(sum((n + 1) / 10 for n in of_fun), 2)}
    }
    assert filled.chart(pop="LHR")["series"] == []
    theirs = filled.chart(filled.tenant, by="workload", since=str(filled.begin))
    assert [one["labels"] for one in theirs["series"]] == [{"stack": "theirs", "workload": "hidden"}]


@of_one
@pytest.mark.parametrize("text", [
    'x"} or anypop_instance_cpu_seconds_total{stack!="',
    'x",stack=~".*',
    "x\\",
    'x\n"} or vector(1) #',
    ".*",
    "fun-eu-ams-0|hidden-eu-ams-0",
    "hidden-eu-ams-0",
])  # fmt: skip
def test_nobody_sees_anothers_by_any_text(filled: Stored, text: str) -> None:
    """In each parameter that is a text: refused, not there, or nothing found; never another tenant's."""
    for parameter in ("instance", "workload", "stack", "pop", "by", "chart", "step", "from"):
        answer = filled.world.call("GET", QUERY, params={"chart": "cpu", parameter: text}, headers=filled.signed_in())
        if answer.status_code == 200:
            assert parameter == "instance" and answer.json()["series"] == [], (parameter, answer.text)
        else:
            assert answer.status_code in (400, 404), (parameter, answer.text)
    ids = {labels["workload"] for labels in labels_on(filled.world, "AMS") if labels["instance"].startswith("hidden-")}
    for identity in (*ids, "hidden", "theirs"):
        assert filled.asked(workload=identity).status_code == 404
        assert filled.asked(stack=identity).status_code == 404


@of_one
def test_what_is_asked_too_finely_too_long_or_too_early_is_refused_by_field(filled: Stored) -> None:
    """All at once, each with its field."""
    wrong = filled.asked(chart="disk", by="moon", pop="XXX", instance="A B", step="0.5", to="2999-01-01T00:00:00Z")
    assert wrong.status_code == 400
    fields = {v["field"] for d in wrong.json()["details"] for v in d.get("fieldViolations", ())}
    assert fields == {"chart", "by", "pop", "instance", "step", "to"}
    assert "1440" in filled.asked(step="1", since=str(filled.begin - 2_160_000 + 1800)).text
    assert filled.asked(since="yesterday").status_code == 400


def gaps(times: list[float]) -> float:
    return max(b - a for a, b in pairwise(times))


def test_after_an_hours_partition_there_is_no_hole(stored: Stored) -> None:
    """What was scraped before and after stays as it was; a second time there is nothing to fill; what a host tells of
    another's instance is not written.
    """
    world, interval = stored.world, stored.settings.interval
    world.create("cut", cities=("JFK",), replicas=1, anycast=False)
    world.settle()
    (labels,) = labels_on(world, "JFK")
    pulse, place = {"pop": "JFK", "host": "JFK"}, HostName("JFK")
    lost_at = world.clock() + 600
    stored.write(
        stored.scraped(one, name, since=world.clock(), until=lost_at, per_s=0.5)
        for one, name in ((labels, CPU), (pulse, PULSE))
    )
    back_at = lost_at + 3600
    world.clock.now = back_at
    stored.write(
        stored.scraped(one, name, since=back_at, until=back_at, per_s=0.5)
        for one, name in ((labels, CPU), (pulse, PULSE))
    )
    of_jfk = f'{{host="JFK",__name__=~"{CPU}|{PULSE}"}}'
    wait_until(lambda: back_at in stored.times(f'{PULSE}{{host="JFK"}}', 60), timeout_s=20, reason="it is back")
    assert gaps(stored.times(f'{CPU}{{host="JFK"}}', 4500)) == 3600
    filling = Filling(world.platform.measured, stored.store, world.clock)
    foreign = {**labels_on(world, "AMS")[0]}
    with measuring(stored.there, "JFK", kept=all_the_time([labels, pulse, foreign], began=stored.begin)) as host:
        written = world.run(filling.fill(place))
        assert written >= 2 * 3600 / interval
        wait_until(
            lambda: gaps(stored.times(f'{CPU}{{host="JFK"}}', 4500)) <= 1.9 * interval,
            timeout_s=20,
            reason="no hole is left",
        )
        assert gaps(stored.times(f'{PULSE}{{host="JFK"}}', 4500)) <= 1.9 * interval
        assert all(wanted.until - wanted.since <= 3600 and wanted.step_s == 10 for wanted in host.asked)
        asked = len(host.asked)
        assert world.run(filling.fill(place)) == 0
        assert len(host.asked) == asked
    assert stored.times(of_jfk, 4500)
    (curve,) = stored.chart(workload="cut", step="60", since=str(lost_at - 300))["series"]
    assert {round(value, 2) for _, value in curve["points"]} == {0.5}
    assert len(curve["points"]) == int((back_at - lost_at + 300) / 60) + 1


@of_one
def test_a_host_that_returns_is_filled_by_itself_and_one_without_samples_leaves_its_hole(stored: Stored) -> None:
    """By the event of its connection; a store that does not answer is asked again."""
    world = stored.world
    labels = {"pop": "LAX", "host": "LAX"}
    world.clock.now += 600
    now = world.clock()
    tried: list[str] = []

    class Failing(MetricsStore):
        async def samples(self, selector: str, *, until: float, span_s: float) -> Any:
            tried.append(selector)
            if len(tried) == 1:
                raise WorldError("ask", "it is away")
            return await super().samples(selector, until=until, span_s=span_s)

    @contextmanager
    def filling() -> Iterator[Filling]:
        async def begin() -> tuple[Filling, asyncio.Task[None], MetricsStore]:
            store = Failing(stored.settings)
            made = Filling(world.platform.measured, store, world.clock)
            world.platform.streams.on_arrival.append(made.arrived)
            return made, asyncio.create_task(made.run()), store

        async def end(made: Filling, task: asyncio.Task[None], store: MetricsStore) -> None:
            world.platform.streams.on_arrival.remove(made.arrived)
            task.cancel()
            await store.close()

        made = world.run(begin())
        try:
            yield made[0]
        finally:
            world.run(end(*made))

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("anypop.control.metrics.filling.AGAIN_S", 0.05)
    with (
        monkeypatch.context(),
        filling() as made,
        measuring(stored.there, "LAX", kept=all_the_time([labels], began=stored.begin)),
    ):
        wait_until(lambda: made.samples, timeout_s=20, reason="what LAX kept is written")
        wait_until(lambda: stored.times(f'{PULSE}{{host="LAX"}}', 900), timeout_s=20, reason="and can be seen")
    monkeypatch.undo()
    assert len(tried) > 1
    assert max(stored.times(f'{PULSE}{{host="LAX"}}', 900)) <= now
    assert stored.times(f'{PULSE}{{host="LHR"}}', 900) == []


def test_a_password_is_needed_and_a_store_that_fails_is_told_in_words(stored: Stored) -> None:
    """Nobody else of this machine reads or writes; and nothing of the password is in a message."""
    for method, path in (("GET", "/api/v1/query?query=1"), ("POST", "/api/v1/write")):
        assert httpx.request(method, stored.settings.url + path, trust_env=False).status_code == 401

    async def ask(settings: StoreSettings, promql: str) -> None:
        store = MetricsStore(settings)
        try:
            await store.values(promql)
        finally:
            await store.close()

    wrong = StoreSettings(url=stored.settings.url, user="anypop", password="wrong")
    gone = StoreSettings(url="http://127.0.0.1:9", user="anypop", password=PASSWORD)
    for settings, promql in ((wrong, "1"), (gone, "1"), (stored.settings, "(")):
        with pytest.raises(WorldError) as told:
            stored.world.run(ask(settings, promql))
        assert PASSWORD not in str(told.value) and "wrong" not in str(told.value)
    assert PASSWORD not in repr(stored.settings)


@of_one
def test_while_the_store_is_away_the_hosts_themselves_are_asked(stored: Stored) -> None:
    """The same chart from another source; a host that is silent is named, and what is live is always theirs."""
    world = stored.world
    names = [labels for labels in labels_on(world, "AMS") if labels["instance"].startswith("fun-")]
    since = str(world.clock() - 600)
    with measuring(stored.there, "AMS", kept=all_the_time(labels_on(world, "AMS"), began=stored.begin, per_s=0.25)):
        live = stored.chart(workload="fun", step="1", since=since)
        assert live["source"] == "agents" and live["age"] <= 1
        assert values(live) == {(("stack", "default"), ("workload", "fun")): {round(0.25 * len(names), 2)}}
        assert any(one.startswith("host LHR") for one in live["missing"])
        world.platform.metrics_store = world.run(_store_of("http://127.0.0.1:9"))
        try:
            chart = stored.chart(by="instance", step="60", since=since)
        finally:
            world.run(world.platform.metrics_store.close())
            world.platform.metrics_store = stored.store
    assert chart["source"] == "agents"
    assert "the store of metrics does not answer" in chart["missing"]
    assert {one["labels"]["instance"] for one in chart["series"]} == {one["instance"] for one in names}


async def _store_of(url: str) -> MetricsStore:
    return MetricsStore(StoreSettings(url=url))


@of_one
def test_the_workload_apis_call_answers_of_the_past_from_the_store(filled: Stored) -> None:
    """In its own form and words: cores of each instance each minute; a tenant's own alone; a window without samples
    says so, one with too many values is refused.
    """
    begin = datetime.fromtimestamp(filled.begin, UTC).isoformat()
    end = datetime.fromtimestamp(filled.begin + 1800, UTC).isoformat()
    path = "/workload/v1/stacks/default/metrics"

    def ask(**query: str) -> Any:
        window = {"start_date": begin, "end_date": end, "type": "INSTANCE", "granularity": "PT1M"}
        return filled.world.call("GET", path, params=window | query, headers=filled.signed_in())

    found = ask(group_by="INSTANCE_NAME", pop="ams").json()
    assert found.get("warnings", []) == []
    series = {one["metric"]["instance_name"]: one for one in found["data"]["matrix"]["results"]}
    names = [labels["instance"] for labels in labels_on(filled.world, "AMS")]
    assert set(series) == {name for name in names if name.startswith("fun-")}
    for name, one in series.items():
        assert one["metric"] | {"name": "cpu", "unit": "cores", "pop": "AMS", "workload": "fun"} == one["metric"]
        rates = {float(value["value"]) for value in one["values"][5:]}
        assert all(rate == pytest.approx((names.index(name) + 1) / 10, abs=0.01) for rate in rates) and rates
        moments = [int(value["unixTime"]) for value in one["values"]]
        assert {b - a for a, b in pairwise(moments)} == {60}
    (together,) = ask(workload_id="fun", region="EUROPE").json()["data"]["matrix"]["results"]
    assert "instance_name" not in together["metric"]
    none = ask(region="ASIA").json()
    assert none["data"]["matrix"]["results"] == [] and "no history" in none["warnings"][0]
    assert ask(start_date="2023-01-01T00:00:00Z").status_code == 400
    other = filled.world.call("GET", "/workload/v1/stacks/theirs/metrics", headers=filled.signed_in())
    assert other.status_code == 404
