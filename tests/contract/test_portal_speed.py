"""What the portal's pages cost, counted: work is done for what changed and for what is shown, not for what exists."""

from collections.abc import Iterator

import pytest

from anypop.control.roles import Role
from anypop.portal import logs, routing
from tests.contract.test_portal import Visitor
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick

STACK = "/portal/stacks/default"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("speed")) as made:
        quick(made)
        a_user(made, made.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        made.create()
        made.create("other")
        made.settle()
        yield made


@pytest.fixture(scope="module")
def ada(world: World) -> Visitor:
    return Visitor(world).sign_in("ada")


def test_a_list_of_hosts_works_out_only_those_that_changed(world: World) -> None:
    """However often it is looked at; a host that has reported anew, or has gone silent, is told as it is now."""
    states = world.platform.host_states
    agents = world.agents()
    for agent in agents:
        agent.obey()
    first = world.get("/anypop/v1/pops")["results"]
    known = states.made
    assert world.get("/anypop/v1/pops")["results"] == first
    world.get("/anypop/v1/hosts")
    assert states.made == known
    world.clock.now += 1
    agents[0].obey()
    world.get("/anypop/v1/pops")
    assert states.made == known + 1
    world.clock.now += 60
    silent = world.get("/anypop/v1/pops")["results"]
    assert states.made == known + 1 + len(agents)
    assert all(one["instances"]["healthy"] == 0 for one in silent)
    assert all(host["report_age_s"] >= 60 for one in silent for host in one["hosts"])
    for agent in agents:
        agent.obey()


def test_a_long_table_shows_what_is_not_well_and_says_that_it_shows_a_part(
    ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a link leads to all of it."""
    whole = ada.ask("GET", f"{STACK}/routing").text
    assert "not well first" not in whole
    monkeypatch.setattr(routing, "MOST_ROWS", 2)
    part = ada.ask("GET", f"{STACK}/routing").text
    assert "2 of 4 hosts, those that are not well first" in part
    assert part.count(" healthy</span>") == 2
    every = ada.ask("GET", f"{STACK}/routing?all=1").text
    assert "not well first" not in every and every.count(" healthy</span>") == 4
    found = routing.rows(["b", "a!", "c", "d!"], lambda one: not one.endswith("!"), 3)
    assert (found.shown, found.total) == (["a!", "d!", "b"], 4)


def test_where_there_are_more_workloads_than_are_listed_any_of_them_can_be_written(
    ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of logs lists some to choose from, and takes the others."""
    assert '<select id="workload"' in ada.ask("GET", f"{STACK}/logs").text
    monkeypatch.setattr(logs, "LISTED", 1)
    page = ada.ask("GET", f"{STACK}/logs?workload=other").text
    assert '<input id="workload" name="workload" value="other"' in page and "<option>fun</option>" in page
    assert ada.ask("GET", f"{STACK}/logs?workload=gone").status_code == 404
