"""Announcement rules that say what the upstream shall do: control finds the community, or says that there is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.control_world import World

RULES = "/anypop/v1/stacks/default/workloads/fun/announcements"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        made.create(cities=("LHR", "JFK", "LAX"))
        yield made


def scopes(answer: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """The communities of each rule."""
    return {(rule["pop"], rule["upstream"]): rule["scope"]["communities"] for rule in answer["rules"]}


def test_an_intent_becomes_the_community_of_its_upstream(world: World) -> None:
    """Resolved once, kept as a community, and it stands in the order of the PoP."""
    wanted = [
        {"pop": "JFK", "upstream": "as209", "scope": {"keep_in": "NA"}},
        {
            "pop": "LAX",
            "upstream": 209,
            "scope": {"keep_in": "NA", "lower_preference": "lowest", "prepend": 1},
            "note": "London",
        },
        {"pop": "JFK", "upstream": "as2914", "scope": {"no_export_to": "peers"}},
    ]
    answer = world.send("PATCH", RULES, {"rules": wanted})
    assert scopes(answer) == {
        ("JFK", "as209"): ["209:7100"],
        ("LAX", "as209"): ["209:50", "209:7100"],
        ("JFK", "as2914"): ["2914:429"],
    }
    assert scopes(world.get(RULES)) == scopes(answer)
    order = next(agent for agent in world.agents() if agent.pop == "JFK").fetch()
    assert order is not None
    told = {a.scope.communities for a in order.announcements if a.upstream == "as209" and a.gates}
    assert told == {((209, 7100),)}


def test_what_an_upstream_cannot_do_is_refused_in_words_with_all_problems(world: World) -> None:
    """Nothing is changed then."""
    wanted = [
        {"pop": "LHR", "upstream": "as1299", "scope": {"keep_in": "EU"}},
        {"pop": "LHR", "upstream": "as3257", "scope": {"no_export_to": "friends"}},
        {"pop": "XXX", "upstream": "as1299", "scope": {"keep_in": "EU"}},
        {"pop": "JFK", "upstream": "as209", "scope": {"keep_in": "NA", "colour": 1}},
    ]
    refused = world.call("PATCH", RULES, json={"rules": wanted})
    assert refused.status_code == 400
    (detail,) = [d for d in refused.json()["details"] if d["@type"] == "stackpath.rpc.BadRequest"]
    found = {violation["field"]: violation["description"] for violation in detail["fieldViolations"]}
    assert set(found) == {
        "rules[0].scope.keep_in",
        "rules[1].scope.no_export_to",
        "rules[2].pop",
        "rules[3].scope.colour",
    }
    assert found["rules[0].scope.keep_in"].startswith("AS1299 has no community that keeps a route in EU: ")
    assert world.get(RULES)["rules"] == []
