"""What is priced is given: an address that there is none of is refused at creation, a city that is written twice is
one, in the price, in the plan, in a preview, and for whoever waits.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anypop.cli import views
from tests.control_world import World, a_body, a_network

BASE = "/workload/v1/stacks/default/workloads"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Whose network has one prefix of each family."""
    network = a_network()
    few = replace(network, anycast4=network.anycast4[:1], anycast6=network.anycast6[:1])
    with World(tmp_path, few) as made:
        yield made


def test_an_address_that_there_is_none_of_is_an_error_and_nothing_is_created(world: World) -> None:
    """Without a backbone another set of cities needs another prefix. The one that was refused leaves nothing: no
    workload, no instance, no charge; and the first one keeps its address.
    """
    first = views.anycast_of(world.create("first", cities=("AMS",)))
    assert len(first) == 2
    for path in ("/anypop/v1/stacks/default/plan", BASE):
        refused = world.call("POST", path, json=a_body("second", cities=("LHR",)))
        assert refused.status_code == 400
        assert refused.json()["code"] == 9 and "Nothing was created" in refused.json()["message"]
    assert [w["slug"] for w in world.get(BASE)["results"]] == ["first"]
    assert views.anycast_of(world.get(f"{BASE}/first")["workload"]) == first
    assert views.anycast_of(world.create("plain", cities=("LHR",), anycast=False)) == []
    world.send("DELETE", f"{BASE}/plain")


def test_a_city_that_is_written_twice_is_one(world: World) -> None:
    once = a_body("twice", cities=("AMS", "LHR"))
    twice = copy.deepcopy(once)
    deployments = twice["workload"]["targets"]["eu"]["spec"]["deployments"]
    deployments["selectors"][0]["values"] = ["AMS", "LHR", "AMS", "LHR", "LHR"]
    prices = [world.send("POST", "/anypop/v1/quote", body) for body in (once, twice)]
    assert prices[0] == prices[1]
    made: dict[str, Any] = world.send("POST", BASE, twice)["workload"]
    names = [i["name"] for i in world.instances("twice")]
    assert names == ["twice-eu-ams-0", "twice-eu-ams-1", "twice-eu-lhr-0", "twice-eu-lhr-1"]
    assert views.expected(made) == len(names)  # for so many the command line waits
    dry = world.send("POST", "/anypop/v1/stacks/default/plan", once)
    assert (dry["created"], dry["deleted"], dry["replaced"], dry["price"]["difference"]) == ([], [], [], 0)
    told = world.send("POST", "/anypop/v1/stacks/default/workloads/twice/preview", once)
    assert told["instances"] == {"before": 4, "after": 4}
    assert told["quote"]["before"] == told["quote"]["after"]
