"""The operator's caps on limits: up to what an account's instances may go, one alone and all together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.control_world import World, a_body

GIB = 1 << 30
WORKLOADS = "/workload/v1/stacks/theirs/workloads"


def resources(cpu: str, memory: str, limit: str = "", most: str = "") -> dict[str, Any]:
    """`limit`, `most`: of CPU and of memory, where they are more than what is requested."""
    limits = {k: v for k, v in (("cpu", limit), ("memory", most)) if v}
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}, **({"limits": limits} if limits else {})}}


class Tenant:
    def __init__(self, world: World) -> None:
        self.world = world
        accounts = world.platform.accounts
        self.account = accounts.create_account("theirs").id
        self.stack = accounts.create_stack(self.account, "theirs", "theirs")
        made = accounts.create_credential(self.account, "theirs")
        self.headers = world.login(made.client_id, made.secret)

    def may(self, **limits: int) -> None:
        self.world.send("PUT", f"/anypop/v1/accounts/{self.account}/quota", {"quota": limits})

    def declares(self, slug: str, what: dict[str, Any], replicas: int = 1) -> httpx.Response:
        body = a_body(slug, cities=("AMS",), replicas=replicas, anycast=False, **what)
        return self.world.call("POST", WORKLOADS, json=body, headers=self.headers)

    def changes(self, slug: str, what: dict[str, Any]) -> httpx.Response:
        body = {"spec": {"containers": {"web": {"image": "registry.example/web:1", **what}}}}
        return self.world.call("PATCH", f"{WORKLOADS}/{slug}", json={"workload": body}, headers=self.headers)

    def used(self) -> dict[str, int]:
        found: dict[str, int] = self.world.get("/anypop/v1/quota", headers=self.headers)["used"]
        return found


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    with World(tmp_path) as world:
        yield Tenant(world)


def refused(answer: httpx.Response) -> str:
    assert answer.status_code == 429, answer.text
    return str(answer.json()["message"])


def test_limits_are_shown_with_use_and_counted_apart_from_requests(tenant: Tenant) -> None:
    """Without a limit of its own an instance goes as far as it requests."""
    assert tenant.declares("bursts", resources("1", "1Gi", "4", "2Gi"), replicas=2).status_code == 200
    assert tenant.declares("steady", resources("2", "4Gi")).status_code == 200
    used = tenant.used()
    assert (used["cpu_millis"], used["memory_bytes"]) == (4000, 6 * GIB)
    assert (used["cpu_limit_millis"], used["memory_limit_bytes"]) == (10_000, 8 * GIB)
    assert (used["instance_cpu_limit_millis"], used["instance_memory_limit_bytes"]) == (4000, 4 * GIB)


def test_one_instance_goes_no_further_than_its_account_may(tenant: Tenant) -> None:
    """Told with the numbers; also where another that is above it stands since before, and for a change of one."""
    assert tenant.declares("old", resources("1", "1Gi", "8")).status_code == 200
    tenant.may(instance_cpu_limit_millis=2000, instance_memory_limit_bytes=2 * GIB)
    assert "4 CPUs as the limit of one instance" in refused(tenant.declares("new", resources("1", "1Gi", "4")))
    assert "3 GiB of memory as the limit of one" in refused(tenant.declares("new", resources("1", "3Gi")))
    assert tenant.declares("new", resources("1", "1Gi", "2", "2Gi"), replicas=3).status_code == 200
    refused(tenant.changes("new", resources("1", "1Gi", "3", "2Gi")))
    assert tenant.changes("old", resources("1", "1Gi", "4")).status_code == 200, "what shrinks is never refused"
    refused(tenant.changes("old", resources("1", "1Gi", "5")))


def test_all_instances_together_go_no_further_than_their_account_may(tenant: Tenant) -> None:
    tenant.may(cpu_limit_millis=8000, memory_limit_bytes=8 * GIB)
    assert tenant.declares("one", resources("1", "1Gi", "4", "2Gi")).status_code == 200
    words = refused(tenant.declares("two", resources("1", "1Gi", "4", "2Gi"), replicas=2))
    assert "12 CPUs as the limits of all instances" in words
    assert tenant.declares("two", resources("1", "1Gi", "4", "2Gi")).status_code == 200
    assert "limits of all instances" in refused(tenant.declares("three", resources("0.1", "1Gi")))
    found = tenant.world.get(f"/anypop/v1/accounts/{tenant.account}/quota")
    assert found["quota"]["cpu_limit_millis"] == found["used"]["cpu_limit_millis"] == 8000
