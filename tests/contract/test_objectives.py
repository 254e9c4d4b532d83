"""How well an anycast address leads people to where it should: asked of vantages, told to its owner alone."""

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from anypop.api.objectives import measure
from anypop.api.vantages import Answer, Probed, Vantage
from anypop.control.metrics.settings import StoreSettings
from anypop.control.metrics.store import MetricsStore
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.names import CityCode
from tests.control_world import World

SLO = "/anypop/v1/metrics/slo"


class Vantages:
    """Each lands where it is told; `silent` ones cannot ask."""

    def __init__(self, lands: dict[str, str]) -> None:
        self.lands, self.silent = lands, set[str]()

    def all(self) -> list[Vantage]:
        return [
            Vantage(name="london", city=CityCode("LHR"), asn=64511),
            Vantage(name="berlin", city=CityCode("BER"), asn=64512),
        ]

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        if vantage in self.silent:
            raise WorldError("probe", "its namespace is gone")
        return Probed(answers=(Answer(body=self.lands[vantage], seconds=0.01),) * requests, seconds=0.1)


class Recorded(MetricsStore):
    """What rules would have recorded, of every workload there is."""

    def __init__(self, value: float, workload: str) -> None:
        super().__init__(StoreSettings(url="http://127.0.0.1:9"))
        self.value, self.workload, self.asked = value, workload, list[str]()

    async def values(self, promql: str, *, at: float | None = None) -> list[tuple[Mapping[str, str], float]]:
        self.asked.append(promql)
        return [({"workload": self.workload}, self.value)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.create()
        made.settle()
        yield made


def look(world: World) -> None:
    async def one() -> None:
        await measure(world.platform, deque())

    world.run(one())


def test_it_says_who_lands_elsewhere_by_how_much_and_what_is_left_of_the_budget(world: World) -> None:
    """Fun is served in Amsterdam and London; Berlin should land in Amsterdam."""
    vantages = world.platform.vantages = Vantages({"london": "fun-eu-lhr-0", "berlin": "fun-eu-lhr-1"})
    told = world.get(SLO)
    assert told["results"] == [{"stack": "default", "workload": "fun", "objective": 0.95}]
    look(world)
    (row,) = world.get(SLO)["results"]
    assert (row["asked"], row["vantages"]) == (2, 0.5)
    assert row["elsewhere"] == [{"vantage": "berlin", "expected": "AMS", "pop": "LHR"}]
    assert 1 < row["extra_ms"] < 5  # half of 370 km there and back
    assert "no store" in world.get(SLO)["note"]
    vantages.silent = {"berlin"}
    look(world)
    (row,) = world.get(SLO)["results"]
    assert (row["asked"], row["vantages"], row["elsewhere"]) == (1, 1.0, [])
    text = world.call("GET", "/anypop/v1/metrics").text
    assert text.count("anypop_vantage_landed{") == 1 and 'anypop_anycast_expected_share{pop="LHR"' in text
    workload = world.send("GET", "/workload/v1/stacks/default/workloads/fun")["workload"]["id"]

    async def recorded() -> Recorded:
        return Recorded(0.25, workload)

    store = world.platform.metrics_store = world.run(recorded())
    (row,) = world.get(SLO)["results"]
    assert (row["traffic"], row["flips_per_hour"], row["budget_left"]) == (0.25, 0.25, 0.25)
    assert all(workload in promql for promql in store.asked)


def test_another_tenants_is_not_there_and_what_was_deleted_is_forgotten(world: World) -> None:
    """By no name, and not in the list."""
    world.platform.vantages = Vantages({"london": "fun-eu-lhr-0", "berlin": "fun-eu-ams-0"})
    look(world)
    accounts = world.platform.accounts
    tenant = accounts.create_account("tenant")
    accounts.create_stack(tenant.id, "theirs", "theirs")
    made = accounts.create_credential(tenant.id, "theirs")
    headers = world.login(made.client_id, made.secret)
    identity: Any = next(iter(world.platform.objective.seen))
    assert world.get(SLO, headers=headers)["results"] == []
    for query in (f"workload={identity}", "workload=fun", "stack=default"):
        assert world.call("GET", f"{SLO}?{query}", headers=headers).status_code == 404
    world.send("DELETE", "/workload/v1/stacks/default/workloads/fun")
    world.settle()
    look(world)
    assert not world.platform.objective.seen
