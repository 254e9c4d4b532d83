"""What the portal's pages cost, counted: work is done for what changed and for what is shown, not for what exists."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from anypop.control.roles import Role
from anypop.model.streams import StreamRequest
from anypop.portal import landing_map, logs, measured, routing
from tests.contract.test_portal import Visitor
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick
from tests.served import PlayedAgent, served

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
    for slug in ("fun", "other"):
        page = ada.ask("GET", f"{STACK}/logs?workload={slug}").text
        assert f'<input id="workload" name="workload" value="{slug}"' in page and page.count("<datalist") == 1
    assert ada.ask("GET", f"{STACK}/logs?workload=gone").status_code == 404


@pytest.mark.parametrize("page", ["map", "routing"])
def test_where_a_list_to_choose_from_has_a_part_the_others_are_found_by_their_names(
    ada: Visitor, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """It says that it has a part; and a filter that holds is told, with how many there are without it."""
    whole = ada.get(f"{STACK}/{page}")
    assert '<option value="fun"' in whole and '<option value="other"' in whole and "Name contains" not in whole
    for module in (landing_map, routing):
        monkeypatch.setattr(module, "MOST_WORKLOADS", 1)
    part = ada.get(f"{STACK}/{page}")
    (first,) = (slug for slug in ("fun", "other") if f'href="{STACK}/workloads/{slug}">{slug}</a>' in part)
    (hidden,) = {"fun", "other"} - {first}
    assert "The list has the first 1;" in part and f'<option value="{hidden}"' not in part
    named = ada.get(f"{STACK}/{page}?q={hidden.upper()}")
    assert "Filtered: 1 of 2 workloads" in named and f'href="{STACK}/workloads/{hidden}">{hidden}</a>' in named
    both = ada.get(f"{STACK}/{page}?q=%20&workload={hidden}")
    assert f'<option value="{hidden}" selected' in both and f'<option value="{first}"' in both
    assert "Filtered" not in both
    none = ada.get(f"{STACK}/{page}?q=nobody")
    assert "Filtered: 0 of 2 workloads" in none and f'href="{STACK}/{page}">Show all</a>' in none
    assert 'value="nobody"' in none and f"{STACK}/workloads/" + hidden not in none
    shown = ada.get(f"{STACK}/{page}?q={hidden[:2]}&workload={hidden}")
    assert "Filtered: 1 of 2" in shown and f'name="q" value="{hidden[:2]}"' in shown


class Silent(PlayedAgent):
    """Connected, and answers nothing."""

    def _answer(self, asked: StreamRequest) -> None:
        self.asked.append(asked.wanted)


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "away"])
def test_one_dead_pop_slows_no_page(
    world: World, ada: Visitor, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    """No page asks its host for anything; a part that must ask waits once, and not again. Of the PoP nothing is said
    to be well, and how old what is known of it is.
    """
    streams = world.platform.streams
    monkeypatch.setattr(streams, "patience_s", 0.3)
    monkeypatch.setattr(measured, "wall", world.clock)
    agents = world.agents()
    for agent in agents:
        agent.obey()
    world.clock.now += 100
    for agent in agents:
        if agent.host != "AMS":
            agent.obey()
    parts = {
        f"{STACK}/map/pops?workload=fun": "No host tells",
        f"{STACK}/measured?chart=cpu&workload=fun": "AMS",
        f"{STACK}/logs/lines?workload=fun": "AMS",
    }
    with served(world) as there:
        dead = Silent(there, "AMS") if connected else None
        asked: list[str] = []  # hosts that somebody waits for
        begun = streams._begun

        def waiting(stream: Any, request: Any) -> Any:
            asked.append(stream.host)
            return begun(stream, request)

        monkeypatch.setattr(streams, "_begun", waiting)
        nav = ada.ask("GET", f"{STACK}/workloads").text.partition('aria-label="Main">')[2].partition("</nav>")[0]
        pages = [*re.findall(r'href="([^"]+)"', nav), f"{STACK}/workloads/fun"]
        assert len(pages) > 8
        for path in pages:
            assert ada.ask("GET", path).status_code == 200
        assert asked == []
        for path, says in parts.items():
            assert says in ada.ask("GET", path).text, path
        waited = len(asked)
        assert waited == (1 if connected else 0), asked
        for path in parts:
            ada.ask("GET", path)
        assert len(asked) == waited
        for path, head in ((f"{STACK}/map", "pops"), (f"{STACK}/routing", "hosts")):
            table = ada.ask("GET", path).text.partition(f'<table class="list {head}">')[2].partition("</table>")[0]
            (row,) = (one for one in table.split("<tr>") if ">AMS<" in one)
            assert "Unknown" in row and "(2 min old)" in row and "0<span" in row, row
        if dead is not None:
            dead.close()
    for agent in agents:
        agent.obey()


def test_of_many_workloads_the_dearest_are_told_and_all_are_in_the_sums(world: World) -> None:
    """And how many there are."""
    agents = world.agents()
    world.create("small", replicas=1, anycast=False)
    world.settle(agents)
    world.clock.now += 600
    every, part = world.get("/anypop/v1/costs"), world.get("/anypop/v1/costs?dearest=2")
    assert {one["slug"] for one in every["results"]} == {"fun", "other", "small"}
    assert {one["slug"] for one in part["results"]} == {"fun", "other"}
    assert (part["total"], part["pops"], part["count"]) == (every["total"], every["pops"], 3)
    for agent in agents:
        agent.obey()
