"""The store of metrics of a platform that really runs: Prometheus beside control, agents that measure, vantages that
ask.
"""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import httpx
import pytest

from anypop.control.metrics.filling import PULSE, holes_in
from anypop.host import process
from anypop.lab import metrics, platform
from tests.lab.story import VANTAGES, Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SLUG = "stored"
HOSTS = ("AMS", "JFK")
NOT_HERE = {"Carried between hosts"}  # this platform has no backbone


@pytest.fixture
def shell(place: platform.Platform) -> Iterator[Shell]:
    """A workload of two cities with an anycast address runs; it is gone at the end."""
    shell = Shell(place=place)
    words = ("--image", place.image, "--port", "80", "--target", f"all={','.join(HOSTS)}", "--anycast")
    shell.json("workload", "create", SLUG, *words, "--yes", "--timeout", "60")
    yield shell
    assert shell.try_("workload", "delete", SLUG, "--yes", "--timeout", "60").code == 0


class Store:
    """The server itself, as its own users ask it."""

    def __init__(self, place: platform.Platform) -> None:
        password = (metrics.folder(place) / "password").read_text()
        url = f"http://127.0.0.1:{place.metrics_port}"
        self.client = httpx.Client(base_url=url, auth=("anypop", password), trust_env=False)

    def asked(self, promql: str) -> list[dict[str, Any]]:
        answer = self.client.get("/api/v1/query", params={"query": promql})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def hosts_up(self) -> set[str]:
        return {one["metric"].get("host", "control") for one in self.asked("up == 1")}

    def times(self, host: str) -> list[float]:
        return sorted(float(at) for one in self.asked(f'{PULSE}{{host="{host}"}}[5m]') for at, _ in one["values"])


def dashboard_queries(store: Store) -> list[tuple[str, str]]:
    """Of the dashboard that ships: title and query, with all that its variables find chosen."""
    dashboard = json.loads((files("anypop.control.metrics") / "dashboards" / "anypop.json").read_text())
    chosen: dict[str, str] = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"])[0]
            found = {one["metric"][label] for one in store.asked(f"group by ({label}) ({series})")}
            assert found, variable
            chosen[f"${variable['name']}"] = f"({'|'.join(sorted(found))})"
    queries = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    return [(title, re.sub(r"\$\w+", lambda name: chosen[name[0]], query)) for title, query in queries]


def test_a_platforms_own_store_has_all_of_it_and_no_hole_where_control_was_away(shell: Shell) -> None:
    """Control and each host are scraped; a chart is answered from the store; of the time in which control was dead the
    store has what agents kept, once control is back; the objective is told of where vantages land; and no query of the
    dashboard is answered by nothing.
    """
    place = shell.place
    store, all_ = Store(place), {*place.hosts, "control"}
    wait_until(lambda: store.hosts_up() == all_, timeout_s=60, reason=f"{all_} are scraped")
    assert len(shell.json("metrics", "targets")) == len(all_)

    def chart() -> Any:
        found = shell.json("metrics", "query", "cpu", SLUG, "--by", "instance")
        there = {one["labels"]["instance"] for one in found["series"] if one["points"]}
        names = {f"{SLUG}-all-{city.lower()}-0" for city in HOSTS}
        return found if found["source"] == "store" and there == names else None

    wait_until(chart, timeout_s=60, reason="the store has a curve of each instance")

    begin = store.times("AMS")[-1]
    assert process.end(place.pid_file("control"), grace_s=0)
    try:
        failed = f"count_over_time((up == 0)[1m:{metrics.INTERVAL_S}s])"
        wait_until(
            lambda: len([one for one in store.asked(failed) if float(one["value"][1]) >= 2]) == len(all_),
            timeout_s=60, reason="two scrapes of each have failed",
        )  # fmt: skip
    finally:
        platform.up(
            place.topology, state=place.state, prefix=place.prefix, api_port=0, registry_port=0, progress=lambda _: None
        )
    wait_until(lambda: store.hosts_up() == all_, timeout_s=60, reason="all are scraped again")
    end = min(store.times(host)[-1] for host in place.hosts)
    assert end - begin > 3 * metrics.INTERVAL_S

    def whole() -> bool:
        return not any(
            holes_in(store.times(host), since=begin, until=end, now=end, interval=metrics.INTERVAL_S)
            for host in place.hosts
        )

    wait_until(whole, timeout_s=60, reason="the store has what agents kept")

    def objective() -> Any:
        (row,) = shell.json("metrics", "slo", SLUG)["results"]
        return row if row.get("asked") == len(VANTAGES) and "flips_per_hour" in row else None

    row = wait_until(objective, timeout_s=90, reason="vantages have asked, and the store has counted")
    astray = {one["vantage"] for one in row["elsewhere"]}
    assert row["vantages"] == pytest.approx(1 - len(astray) / len(VANTAGES), abs=1e-3) and "london" in astray

    queries, silent = dashboard_queries(store), set[str]()

    def all_told() -> bool:
        silent.clear()
        silent.update(title for title, query in queries if not store.asked(query))
        return silent <= NOT_HERE

    wait_until(all_told, timeout_s=60, reason=lambda: f"panels of the dashboard show nothing: {silent}", every_s=0.5)
    store.client.close()
