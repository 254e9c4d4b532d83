"""Metering: what ran, from the first report of it to the moment at which it was told to go, at the prices of each
moment; kept when its workload is gone, and when control dies.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from anypop.control.usage import Metering
from anypop.control.usage_months import month_of
from tests.control_world import FakeAgent, World

BASE = "/workload/v1/stacks/default/workloads"
HOUR = 3600.0
HOURLY = 0.09  # of SP-2, by the book that comes with Anypop
ANYCAST = 0.14
DEARER = (
    "currency: {}\nhours_per_month: 730\nanycast_hourly: 1\n"
    "sizes: [{{name: S, cpu: 2, memory: 4Gi, hourly: 1}}, {{name: L, cpu: 8, memory: 16Gi, hourly: 4}}]\n"
)


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("usage")) as made:
        yield made


def usage(world: World, query: str = "") -> Any:
    return world.get(f"/anypop/v1/stacks/default/usage{query}")


def one(world: World, query: str = "") -> dict[str, Any]:
    (found,) = usage(world, query)["results"]
    assert isinstance(found, dict)
    return found


def go(world: World, seconds: float, agents: list[FakeAgent]) -> None:
    """So much time passes, in which every host reports so often that it is not given up."""
    while seconds > 0:
        world.clock.now += min(seconds, 240.0)
        seconds -= min(seconds, 240.0)
        for agent in agents:
            agent.report()
    world.headers = world.login(world.credential.client_id, world.credential.secret)  # a token lasts for an hour


def close(found: float, wanted: float) -> bool:
    return abs(found - wanted) < 1e-6


def test_an_instance_costs_from_its_first_report_to_the_moment_it_is_told_to_go(world: World) -> None:
    """To the second, and once for each slot; what is ordered and has not started costs nothing, an address does. All
    of it is kept when the workload is gone.
    """
    agents = world.agents()
    made = world.create(replicas=2)
    world.clock.now += 600
    before = one(world)
    assert (before["instance_seconds"], before["running"]) == (0, 0)
    assert close(before["costs"]["USD"], ANYCAST / 6)
    world.settle(agents)
    go(world, HOUR, agents)
    now = one(world)
    assert (now["instance_seconds"], now["instance_hours"], now["running"]) == (4 * HOUR, 4.0, 4)
    assert close(now["costs"]["USD"], 4 * HOURLY + ANYCAST * 7 / 6)
    world.send("PATCH", f"{BASE}/fun", {"workload": world.replicas(1)})
    world.settle(agents)
    go(world, 1801.0, agents)
    assert one(world)["instance_seconds"] == 4 * HOUR + 2 * 1801.0
    world.call("DELETE", f"{BASE}/fun")
    ended = one(world)
    go(world, HOUR, agents)
    world.settle(agents)
    assert world.call("GET", f"{BASE}/fun").status_code == 404
    kept = one(world, f"?workload={made['id']}")
    assert kept == one(world, "?workload=fun") and kept["gone"] and kept["running"] == 0
    assert kept["instance_seconds"] == ended["instance_seconds"] == 4 * HOUR + 2 * 1801.0
    assert usage(world)["total"]["costs"] == kept["costs"]
    assert usage(world, "?workload=other")["results"] == []


def test_an_update_is_not_charged_twice_and_other_amounts_count_from_when_they_run(world: World) -> None:
    """Two incarnations of a slot are one instance; one of another size counts with it from its first report."""
    agents = world.agents()
    world.create(cities=("AMS",), replicas=1, anycast=False)
    world.settle(agents)
    go(world, HOUR, agents)
    larger = {"spec": {"containers": {"web": {"resources": {"requests": {"cpu": "4", "memory": "8Gi"}}}}}}
    world.send("PATCH", f"{BASE}/fun", {"workload": larger})
    go(world, 36.0, agents)
    world.settle(agents)
    go(world, HOUR, agents)
    found = one(world)
    assert found["instance_seconds"] == 2 * HOUR + 36 and found["running"] == 1
    (price,) = [s["hourly"] for s in world.get("/anypop/v1/prices")["sizes"] if s["cpuMillis"] == 4000][:1]
    assert close(found["costs"]["USD"], 1.01 * HOURLY + price)


def test_each_moment_has_its_own_price(world: World) -> None:
    """Another book counts from then on, another currency beside the first; what fits no size is told as unpriced."""
    agents = world.agents()
    world.create(cities=("AMS",), replicas=1, anycast=False)
    world.settle(agents)
    for currency in ("USD", "EUR"):
        go(world, HOUR, agents)
        answer = world.call("PUT", "/anypop/v1/prices", content=DEARER.format(currency))
        assert answer.status_code == 200
    go(world, HOUR / 2, agents)
    assert one(world)["costs"] == {"EUR": 0.5, "USD": HOURLY + 1}
    small = DEARER.format("EUR").replace("cpu: 2", "cpu: 1").replace("cpu: 8", "cpu: 1")
    assert world.call("PUT", "/anypop/v1/prices", content=small).status_code == 200
    go(world, HOUR, agents)
    found = one(world)
    assert found["unpriced_hours"] == 1 and found["instance_hours"] == 3.5 and found["costs"]["EUR"] == 0.5


def test_a_control_that_dies_loses_nothing_and_counts_nothing_twice(world: World) -> None:
    """It is killed while instances run: they ran on, so the time counts. A window cuts what it was asked for."""
    agents = world.agents()
    world.create(cities=("AMS",), replicas=3, anycast=False)
    world.settle(agents)
    began = world.clock.now
    go(world, 100.0, agents)
    world.restart()
    go(world, 100.0, agents)
    world.restart()
    assert one(world)["instance_seconds"] == 3 * 200.0
    cut = f"?since={_text(began + 50)}&until={_text(began + 150)}"
    assert one(world, cut)["instance_seconds"] == 3 * 100.0
    assert usage(world, f"?until={_text(began - 1)}")["results"] == []
    assert one(world, f"?until={_text(began + 1e6)}")["instance_seconds"] == 3 * 200.0, "not beyond now"
    refused = world.call("GET", "/anypop/v1/usage?since=yesterday&until=9999-99-99")
    assert refused.status_code == 400


def test_what_this_month_has_used_so_far_is_not_added_up_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first moment on it is what is told of that span by adding up, also of a workload that is gone; a month
    that begins later has nothing of before.
    """
    agents = world.agents()
    world.create()
    world.settle(agents)
    go(world, HOUR, agents)
    begin, ends = month_of("", world.clock.now)
    added_up = usage(world, f"?since={_text(begin - 1)}")["results"]
    with monkeypatch.context() as patched:
        patched.setattr(Metering, "used", _nobody)
        month = usage(world, f"?since={_text(begin)}")
        assert month["results"] == [found | {"costs": pytest.approx(found["costs"])} for found in added_up] != []
        world.call("DELETE", f"{BASE}/fun")
        world.settle(agents)
        world.clock.now = ends + 4000.0
        world.headers = world.login(world.credential.client_id, world.credential.secret)
        assert usage(world, f"?since={_text(ends)}")["total"]["costs"] == {}
    acted = world.get("/anypop/v1/audit?limit=1000")["results"]
    assert one(world, f"?since={_text(begin)}")["gone"]
    assert one(world, f"?since={_text(begin + 1)}")["gone"]
    assert world.get("/anypop/v1/audit?limit=1000")["results"] == acted, "months that are kept are nobody's act"


def _nobody(*_: object, **__: object) -> None:
    raise AssertionError("it was added up anew")


def test_others_see_only_what_is_theirs(world: World) -> None:
    """404 for somebody else's stack; the operator sees any account's."""
    accounts = world.platform.accounts
    tenant = accounts.create_account("tenant")
    accounts.create_stack(tenant.id, "theirs", "theirs")
    secret = accounts.create_credential(tenant.id, "ci")
    headers = world.login(secret.client_id, secret.secret)
    world.create(cities=("AMS",), replicas=1, anycast=False)
    world.settle()
    world.clock.now += 1
    path = f"/anypop/v1/accounts/{tenant.id}/usage"
    assert world.call("GET", "/anypop/v1/stacks/default/usage", headers=headers).status_code == 404
    assert world.call("GET", path, headers=headers).status_code == 403
    assert world.call("GET", "/anypop/v1/usage", headers=headers).json()["results"] == []
    assert world.get(path)["results"] == [] and len(world.get("/anypop/v1/usage")["results"]) == 1
    assert world.call("GET", "/anypop/v1/accounts/none/usage").status_code == 404


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
