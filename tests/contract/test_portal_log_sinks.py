"""Receivers of logs and traces in the portal, over the real API: added, changed, removed; how they fare; what never
comes back; who may.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.test_portal import Visitor
from tests.control_world import World
from tests.people import two_accounts

HERE, ALL = "/portal/stacks/default/logs/receivers", "/portal/receivers"
API = "/anypop/v1/stacks/default/log-sinks"
LOKI: dict[str, Any] = {"name": "loki", "kind": "loki", "address": "https://logs.example.net/loki/api/v1/push"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_accounts(tmp_path_factory.mktemp("receivers")) as made:
        made.create("fun")
        made.settle()
        yield made


@pytest.fixture
def ada(world: World) -> Iterator[Visitor]:
    yield Visitor(world).sign_in("ada")
    for path in (API, "/anypop/v1/log-sinks"):
        world.send("PUT", path, {"sinks": []})


def there(world: World) -> list[dict[str, Any]]:
    return [{k: v for k, v in one.items() if k != "hosts"} for one in world.get(API)["sinks"]]


def known(visitor: Visitor, name: str) -> str:
    found = re.search(rf'name="name" value="{name}"><input type="hidden" name="known" value="(\w+)"', shown(visitor))
    assert found is not None
    return found[1]


def shown(visitor: Visitor) -> str:
    return visitor.get(f"{HERE}/state")


def test_a_receiver_is_added_changed_and_removed_and_its_secret_never_comes_back(world: World, ada: Visitor) -> None:
    """The others stay as they are; a secret that is not typed anew stays, and goes where that is said."""
    assert "Nothing is sent anywhere" in shown(ada) and "Add it" in ada.get(HERE)
    assert ada.ask("POST", HERE, **LOKI, tenant="me", authorization="Bearer hush").status_code == 303
    ada.get(HERE)
    assert ada.ask("POST", HERE, name="central", kind="syslog", address="tls://logs.example.net").status_code == 303
    page = shown(ada)
    assert "authorized" in page and "hush" not in page + ada.get(HERE)
    assert "AMS: " in page and "Unknown" in page, "hosts that say nothing are told"
    changed: dict[str, Any] = {**LOKI, "tenant": "you", "level": "error", "known": known(ada, "loki")}
    assert ada.ask("POST", f"{HERE}/change", **changed).status_code == 303
    loki, central = there(world)
    assert (loki["tenant"], loki["level"], loki["authorized"], central["name"]) == ("you", "error", True, "central")
    ada.ask("POST", f"{HERE}/change", **LOKI, drop="yes", known=known(ada, "loki"))
    assert not there(world)[0]["authorized"]
    stamp = known(ada, "central")
    assert "type central" in ada.ask("POST", f"{HERE}/remove", name="central", known=stamp, confirm="").text
    assert ada.ask("POST", f"{HERE}/remove", name="central", known=stamp, confirm="central").status_code == 303
    assert [one["name"] for one in there(world)] == ["loki"]


def test_what_somebody_else_changed_is_not_overwritten_and_a_name_is_not_taken_twice(
    world: World, ada: Visitor
) -> None:
    world.send("PUT", API, {"sinks": [LOKI]})
    stamp = known(ada, "loki")
    world.send("PUT", API, {"sinks": [{**LOKI, "tenant": "other"}]})
    before = there(world)
    for way in ("change", "remove"):
        said = ada.ask("POST", f"{HERE}/{way}", **LOKI, known=stamp, confirm="loki")
        assert said.status_code == 409 and "Somebody has changed loki" in said.text
    said = ada.ask("POST", HERE, **LOKI, authorization="Bearer hush")
    assert said.status_code == 409 and "already" in said.text and "hush" not in said.text
    wrong = ada.ask("POST", HERE, name="in", kind="otlp", address="http://10.0.0.1/v1/logs")
    assert wrong.status_code == 400 and "private or reserved" in wrong.text and 'value="http://10.0.0.1' in wrong.text
    assert there(world) == before


def test_the_platforms_are_the_operators_and_traces_are_told_by_control(world: World, ada: Visitor) -> None:
    ada.get(ALL)
    traces: dict[str, Any] = {"name": "t", "kind": "otlp-traces", "address": "http://10.0.0.1:4318/v1/traces"}
    assert ada.ask("POST", ALL, **traces).status_code == 303
    assert "OTLP, traces of deployments" in ada.get(f"{ALL}/state") and "Sending" in ada.get(f"{ALL}/state")
    eve, vic = Visitor(world).sign_in("eve"), Visitor(world).sign_in("vic")
    for path in (ALL, f"{ALL}/state", HERE, f"{HERE}/state"):
        assert eve.ask("GET", path).status_code in (403, 404), path
    assert "Add it" not in vic.get(HERE) and "data-dialog" not in vic.get(f"{HERE}/state")
    assert vic.ask("POST", HERE, **LOKI).status_code == 403 and there(world) == []
