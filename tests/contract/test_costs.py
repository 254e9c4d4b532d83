"""A month's costs by workload and PoP: to the second over a change of prices, the sum of their parts, what they will be
at the end; and the portal's pages of them, where the operator changes prices.
"""

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from anypop.control.roles import Role
from tests.contract.test_portal import NASTY, Visitor
from tests.contract.test_usage import ANYCAST, DEARER, HOURLY, go
from tests.contract.test_volumes import with_volume
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick

COSTS, PRICES = "/portal/costs", "/portal/costs/prices"
DEC = datetime(2023, 12, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("costs"), now=DEC - 2 * 3600.0) as made:
        quick(made)
        a_user(made, made.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        yield made


def costs(world: World, query: str = "") -> Any:
    return world.get(f"/anypop/v1/costs{query}")


def near(found: dict[str, float], **wanted: float) -> bool:
    return found == pytest.approx(wanted, abs=1e-9)


def test_a_month_is_told_by_workload_and_pop_with_what_it_will_be(world: World) -> None:
    """An anycast address is in no PoP. At the end of the month it was as it had been foretold."""
    agents = world.agents()
    world.create(replicas=2)
    world.settle(agents)
    go(world, 3600.0, agents)
    found = costs(world)
    assert (found["month"], found["ends"]) == ("2023-11", "2023-12-01T00:00:00.000000Z")
    (one,) = found["results"]
    pops = {entry["pop"]: entry for entry in one["pops"]}
    assert list(pops) == ["AMS", "LHR", None]
    for pop in ("AMS", "LHR"):
        assert near(pops[pop]["so_far"], USD=2 * HOURLY) and near(pops[pop]["hourly"], USD=2 * HOURLY)
        assert near(pops[pop]["forecast"], USD=4 * HOURLY)
        assert (pops[pop]["running"], pops[pop]["instance_hours"]) == (2, 2.0)
    assert near(pops[None]["forecast"], USD=2 * ANYCAST)
    for whole in (found["total"], one):
        assert near(whole["so_far"], USD=4 * HOURLY + ANYCAST) and near(whole["forecast"], USD=8 * HOURLY + 2 * ANYCAST)
    go(world, 3600.0 + 1800.0, agents)
    over = costs(world, "?month=2023-11")
    assert over["until"] == over["ends"] and over["total"]["so_far"] == over["total"]["forecast"]
    assert near(over["total"]["so_far"], USD=8 * HOURLY + 2 * ANYCAST), "as foretold"
    assert (over["total"]["hourly"], over["total"]["running"]) == ({}, 0)
    begun = costs(world)
    assert begun["month"] == "2023-12" and near(begun["total"]["so_far"], USD=(4 * HOURLY + ANYCAST) / 2)
    assert near(begun["total"]["forecast"], USD=(4 * HOURLY + ANYCAST) * 31 * 24)
    assert costs(world, "?month=2023-10")["results"] == []


def test_no_price_changes_what_is_past(world: World) -> None:
    """To the second: so much before, so much after; and the forecast is what was and what comes by the new prices."""
    agents = world.agents()
    world.create(cities=("AMS",), replicas=1, anycast=False)
    world.settle(agents)
    go(world, 1234.0, agents)
    before = costs(world)["total"]["so_far"]["USD"]
    assert world.call("PUT", "/anypop/v1/prices", content=DEARER.format("USD")).status_code == 200
    assert costs(world)["total"]["so_far"]["USD"] == before
    go(world, 567.0, agents)
    after = costs(world)["total"]
    assert near(after["so_far"], USD=(1234 * HOURLY + 567 * 1) / 3600)
    assert near(after["forecast"], USD=(1234 * HOURLY + (7200 - 1234) * 1) / 3600)
    assert world.call("PUT", "/anypop/v1/prices", content=DEARER.format("EUR")).status_code == 200
    other = costs(world)["total"]
    assert near(other["so_far"], USD=(1234 * HOURLY + 567 * 1) / 3600) and list(other["hourly"]) == ["EUR"]
    small = DEARER.format("EUR").replace("cpu: 2", "cpu: 1").replace("cpu: 8", "cpu: 1")
    assert world.call("PUT", "/anypop/v1/prices", content=small).status_code == 200
    go(world, 900.0, agents)
    none = costs(world)["total"]
    assert none["unpriced_hours"] == pytest.approx(0.25, abs=1e-5), "a thousandth of a second after the other book"
    assert (none["running"], none["hourly"]) == (1, {})
    log = world.get("/anypop/v1/audit?operation=replace_prices")["results"]
    assert len(log) == 3 and "anycast_hourly: 1" in log[-1]["after"] and log[-1]["before"] == DEARER.format("EUR")


def test_the_parts_are_the_whole_and_the_whole_is_what_usage_tells(world: World) -> None:
    """With volumes, which are where their host is."""
    agents = world.agents()
    world.create("fun")
    world.send("POST", "/workload/v1/stacks/default/workloads", with_volume("kept"))
    for _ in range(4):
        world.settle(agents)
    go(world, 1801.5, agents)
    found = costs(world)
    kept = next(one for one in found["results"] if one["slug"] == "kept")
    volume = next(iter(world.state.volumes.values()))
    assert volume.made and [entry["pop"] for entry in kept["pops"]] == ["LHR", None]
    with_its_volume = kept["pops"][0]
    assert with_its_volume["so_far"]["USD"] > HOURLY * with_its_volume["instance_hours"] > 0
    whole = found["total"]["so_far"]["USD"]
    assert sum(one["so_far"]["USD"] for one in found["results"]) == pytest.approx(whole, abs=1e-12)
    assert sum(one["so_far"]["USD"] for one in found["pops"]) == pytest.approx(whole, abs=1e-12)
    used = world.get("/anypop/v1/usage?since=2023-11-01T00:00:00Z")
    assert used["total"]["costs"]["USD"] == pytest.approx(whole, abs=1e-12)
    assert {one["slug"]: one["costs"]["USD"] for one in used["results"]} == pytest.approx(
        {one["slug"]: one["so_far"]["USD"] for one in found["results"]}
    )


def test_nobody_sees_the_costs_of_others(world: World) -> None:
    accounts = world.platform.accounts
    tenant = accounts.create_account("tenant")
    accounts.create_stack(tenant.id, "theirs", "theirs")
    a_user(world, tenant.id, "eve", Role.OWNER, PASSWORD)
    world.create()
    world.settle()
    world.clock.now += 60
    eve = Visitor(world).sign_in("eve")
    shown = eve.get(COSTS)
    assert "fun" not in shown and "Nothing has cost anything" in shown and "Change prices" not in shown
    assert eve.ask("GET", PRICES).status_code == 403
    refused = eve.ask("POST", PRICES, currency="XXX")
    assert refused.status_code in (403, 409) and world.get("/anypop/v1/prices")["currency"] == "USD"
    for month in ("2023-13", "x", "2024-01", "9999-12", "0000-01"):
        assert world.call("GET", f"/anypop/v1/costs?month={month}", headers=world.headers).status_code == 400
        assert eve.ask("GET", f"{COSTS}?month={month}").status_code == 400


def fields(page: str) -> list[tuple[str, str]]:
    """What a form of a page would send as it is shown."""
    found = re.findall(r'<input(?: class="number")?(?: type="hidden")? name="([^"]+)" value="([^"]*)"', page)
    return [(name, html.unescape(value)) for name, value in found if name not in ("sign",)]


def send(visitor: Visitor, form: list[tuple[str, str]]) -> Any:
    body = urlencode([("sign", visitor.sign), *form])
    cookie = "; ".join(f"{k}={v}" for k, v in visitor.cookies.items())
    headers = {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
    return visitor.world.call("POST", PRICES, content=body, headers=headers)


def test_the_operator_changes_prices_by_a_form(world: World) -> None:
    """What is sent as it was shown is the same book; what is wrong is told by its field, and what was typed stays."""
    agents = world.agents()
    world.create(cities=("AMS",), replicas=1, anycast=False)
    world.settle(agents)
    go(world, 3600.0, agents)
    ada = Visitor(world).sign_in("ada")
    shown = ada.get(COSTS)
    assert ">Change prices</a>" in shown and "0.09" in shown and "Amsterdam" in shown and ">fun</a>" in shown
    book = world.get("/anypop/v1/prices")
    form = fields(ada.get(PRICES))
    assert send(ada, form).status_code == 303 and world.get("/anypop/v1/prices") == book
    form = fields(ada.get(PRICES))
    wanted = {"hourly": ["0.045", "0.123456789"], "class": ["fast"], "class-price": ["0.5"]}
    dearer = [(name, wanted[name].pop(0) if wanted.get(name) else value) for name, value in form]
    assert send(ada, dearer).status_code == 303
    changed = world.get("/anypop/v1/prices")
    assert changed["sizes"][1]["hourly"] == 0.123456789 and changed["volumeClasses"] == {"fast": 0.5}
    assert costs(world)["total"]["so_far"]["USD"] == pytest.approx(HOURLY), "what is past keeps its price"
    stale = send(ada, form)
    assert stale.status_code == 409 and "Somebody has changed the prices" in stale.text
    assert world.get("/anypop/v1/prices") == changed
    wrong = [
        (name, {"currency": NASTY, "hours": "0", "anycast_hourly": "-1"}.get(name, value))
        for name, value in fields(ada.get(PRICES))
    ]
    wrong.append(("size", "XL"))
    wrong += [("cpu", "many"), ("memory", "1"), ("hourly", "1e999")]
    answer = send(ada, wrong)
    assert answer.status_code == 400 and world.get("/anypop/v1/prices") == changed
    for told in ("hours_per_month", "anycast_hourly", "sizes[8].cpu", "sizes[8].hourly"):
        assert told in answer.text, told
    assert "<script>alert" not in answer.text and 'value="XL"' in answer.text
    assert json.dumps(changed["sizes"][0]["hourly"]) == "0.045"
