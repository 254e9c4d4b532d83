"""Predictions and proposals over the API: the same as on the command line, for who may ask, worked out by somebody else
than control.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.api.context import Platform
from anypop.api.graphs import Graphs
from anypop.api.workers import Limits, Workers
from tests.cli_calls import Caller
from tests.contract.test_api_process import running
from tests.control_world import World, a_body, a_network
from tests.unit.test_api_workers import there
from tests.wait import wait_until

LONDON = Path(__file__).parents[1] / "golden" / "cli" / "london"
PREDICTIONS, PROPOSALS = "/anypop/v1/predictions", "/anypop/v1/proposals"
LANDINGS, BASE = "/anypop/v1/stacks/default/plan/landings", "/workload/v1/stacks/default/workloads"
EXPLAIN = "/anypop/v1/routes/explain"
CITIES = ("AMS", "LHR", "JFK", "LAX")
# The upstreams of London's case.
NETWORK = {"AMS": (1299,), "LHR": (1299,), "JFK": (209, 1299), "LAX": (209, 1299)}


def graph_in(folder: Path) -> Path:
    """A folder in which an operator wrote down which graph to use: London's case, in which 209 is a customer of
    3356.
    """
    folder.mkdir(exist_ok=True)
    for name in ("as-rel.txt", "cities.csv"):
        shutil.copy(LONDON / name, folder / name)
    (folder / "graph.yaml").write_text("graph: as-rel.txt\nfootprint: cities.csv\n")
    return folder


def none_is_there(pids: list[int]) -> bool:
    return not any(map(there, pids))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A workload in four PoPs. No test of this module changes what is announced, or what control knows for longer than
    itself.
    """
    folder = tmp_path_factory.mktemp("predicted")
    with World(folder, a_network(NETWORK)) as made:
        made.platform.graphs = Graphs(folder=graph_in(folder / "graph"))
        made.create("fun", cities=CITIES)
        made.create("plain", cities=("AMS",), anycast=False)
        yield made


def tenant(world: World, name: str) -> dict[str, str]:
    """The token of another account, which has a stack of its own."""
    accounts = world.platform.accounts
    account = accounts.create_account(name)
    accounts.create_stack(account.id, f"of {name}", f"of-{name}")
    credential = accounts.create_credential(account.id, name)
    return world.login(credential.client_id, credential.secret)


def refusal(response: httpx.Response, status: int) -> str:
    """The words of a refusal."""
    assert response.status_code == status, response.text
    message: str = response.json()["message"]
    return message


class ToWorld(httpx.BaseTransport):
    """The command line's requests, straight into the application."""

    def __init__(self, world: World) -> None:
        self.world = world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path, headers = str(request.url.raw_path, "ascii"), dict(request.headers)
        answer = self.world.call(request.method, path, content=request.read(), headers=headers)
        return httpx.Response(answer.status_code, content=answer.content, headers={"content-type": "application/json"})


def command_line(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """That of the world's operator, whose client file is in the folder."""
    made = Caller(folder, ToWorld(world), monkeypatch)
    client = {"url": "https://control", "ca": "", "stack": "default"}
    client |= {"client_id": world.credential.client_id, "client_secret": world.credential.secret}
    (folder / "client.json").write_text(json.dumps(client))
    return made


@pytest.fixture
def call(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """The command line of the same operator, with the same graph."""
    return command_line(world, graph_in(tmp_path), monkeypatch)


def of_command_line(call: Caller, *argv: str) -> Any:
    ran = call(*argv, "-o", "json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


@pytest.mark.parametrize(
    ("body", "argv"),
    [
        ({}, []),
        ({"workload": "fun", "stack": "default", "top": 3, "graph": "files"}, ["--workload", "fun", "--biggest", "3"]),
        (
            {"what_if": ["withhold:JFK:209", "reset:LAX:*"]},
            ["--what-if", "withhold:JFK:209", "--what-if", "reset:LAX:*"],
        ),
    ],
)
def test_a_prediction_is_the_one_of_the_command_line(
    world: World, call: Caller, body: dict[str, Any], argv: list[str]
) -> None:
    """Member by member, with and without a change."""
    found = world.send("POST", PREDICTIONS, body)
    assert found == of_command_line(call, "catchment", "predict", *argv)
    assert ("change" in found) is ("what_if" in body)


def test_a_plan_tells_where_networks_would_land_and_does_nothing(world: World) -> None:
    """Of a new workload by its own PoPs alone; of one that is there what would move too, as the same withdrawal by
    rules has it; of one that would announce nothing, that.
    """
    before = world.state.workloads
    found = world.send("POST", LANDINGS, a_body("web", cities=("AMS", "JFK")))
    assert {share["name"] for share in found["by_pop"]} == {"AMS", "JFK"} and "change" not in found
    assert not any("was" in row for row in found["biggest"]) and found["carried_to"] == {}
    declared = world.get(f"{BASE}/fun")["workload"]
    declared["targets"]["eu"]["spec"]["deployments"]["selectors"][0]["values"] = ["AMS", "JFK", "LAX"]
    found = world.send("POST", LANDINGS, {"workload": declared})
    by_rules = world.send("POST", PREDICTIONS, {"workload": "fun", "what_if": ["withhold:LHR:*"]})
    assert found["by_pop"] == by_rules["by_pop"] and found["change"]["moves"] == by_rules["change"]["moves"] != []
    moved = [row for row in found["biggest"] if row["was"] != row["pop"]]
    assert moved and {row["was"] for row in moved} == {"LHR"}
    plain = world.call("POST", LANDINGS, json=a_body("other", cities=("AMS",), anycast=False))
    assert "nothing would be announced" in refusal(plain, 400)
    assert world.state.workloads == before


def test_what_one_should_know_of_an_answer_is_in_its_headers(world: World) -> None:
    """The body is the command line's; there it is on standard error."""
    warnings = world.call("POST", PREDICTIONS, json={"what_if": ["add:AMS:3356"]}).headers.get_list("warning")
    assert warnings == ['299 anypop "the footprint has no AS3356 in AMS: what it hears there enters in LHR"']


def test_proposals_are_those_of_the_command_line(world: World, call: Caller) -> None:
    """With the commands and the lines of bird.conf that make them."""
    found = world.send("POST", PROPOSALS, {"causes": 2, "repairs": 3, "far_km": 1000})
    assert found == of_command_line(call, "doctor", "--causes", "2", "--repairs", "3", "--far-km", "1000")
    (first, *_) = found["causes"][0]["repairs"]
    assert first["commands"][0].startswith("anypop announce ") and first["bird_conf"]
    assert found["workload"] == "fun"


PASTE = (
    "198.51.100.0/24    *[BGP/170] 1d 00:00:00, localpref 300\n   AS path: 1299 {asn} I, validation-state: unverified\n"
    "                    [BGP/170] 1d 00:00:00, localpref 200\n   AS path: 209 {asn} I, validation-state: unverified\n"
)


def test_what_the_model_expects_of_a_router_is_as_on_the_command_line(
    world: World, call: Caller, tmp_path: Path
) -> None:
    """Beside what it chose, by what the workload announces; without `at` nothing of it is there."""
    text = PASTE.format(asn=world.platform.core.state.network.asn)
    (tmp_path / "paste.txt").write_text(text)
    base = ("route", "explain", "--file", str(tmp_path / "paste.txt"), "--at", "AS3356-LHR")
    body = {"text": text, "at": "AS3356-LHR"}
    found = world.send("POST", EXPLAIN, body)["results"]
    assert found == of_command_line(call, *base)
    (one,) = found
    assert one["expected"]["agrees"] is False and one["expected"]["held"] is True
    assert one["sentences"][-1] == one["expected"]["says"] and one["expected"]["as_path"][0] == 209
    named = {"workload": "fun", "stack": "default", "graph": "files"}
    assert world.send("POST", EXPLAIN, body | named)["results"] == found
    assert "expected" not in world.send("POST", EXPLAIN, {"text": text})["results"][0]
    assert "expected" not in of_command_line(call, *base[:4])[0]


def test_whose_router_it_is_must_be_in_the_graph_and_the_workload_one_s_own(world: World) -> None:
    """Each refusal names its field, and what is there instead."""
    text = PASTE.format(asn=64500)

    def refused(body: dict[str, Any], status: int = 400, **more: Any) -> str:
        answer = world.call("POST", EXPLAIN, json={"text": text} | body, **more)
        assert answer.status_code == status, answer.text
        return answer.text

    assert '"at"' in (there := refused({"at": "AS64999"})) and "not in the graph" in there
    assert "in several cities" in refused({"at": "AS3356"}) and "it is in" in refused({"at": "AS3356-SYD"})
    assert "neither a network" in refused({"at": "london"})
    assert "whose router it is" in refused({"graph": "files"})
    eve = tenant(world, "asking-of-others")
    refused({"at": "AS3356-LHR", "workload": "fun"}, 404, headers=eve)
    refused({"at": "AS3356-LHR", "workload": "fun", "stack": "default"}, 404, headers=eve)


def test_what_is_announced_now_is_what_counts(tmp_path: Path) -> None:
    """A rule that holds changes the next prediction."""
    with World(tmp_path, a_network(NETWORK)) as own:
        own.platform.graphs = Graphs(folder=graph_in(tmp_path / "graph"))
        own.create("fun", cities=CITIES)
        before = own.send("POST", PREDICTIONS, {})
        rules = [{"pop": pop, "upstream": "as209", "scope": {"keep_in": "NA"}} for pop in ("JFK", "LAX")]
        own.send("PATCH", "/anypop/v1/stacks/default/workloads/fun/announcements", {"rules": rules})
        after = own.send("POST", PREDICTIONS, {})
        assert before["by_pop"] != after["by_pop"]
        assert after["mean_extra_km"] < before["mean_extra_km"]
        assert own.send("POST", PREDICTIONS, {"what_if": ["reset:*:209"]})["by_pop"] == before["by_pop"]


def test_without_a_workload_every_pop_counts_as_if_it_announced(tmp_path: Path) -> None:
    """Before the first one is made: the network alone is enough."""
    with World(tmp_path, a_network(NETWORK)) as own:
        own.platform.graphs = Graphs(folder=graph_in(tmp_path / "graph"))
        assert {row["name"] for row in own.send("POST", PREDICTIONS, {})["by_pop"]} <= {*CITIES, None}
        assert own.send("POST", PROPOSALS, {})["workload"] is None
        own.create("one")
        own.create("two")
        assert "several have an anycast address: one, two" in refusal(own.call("POST", PREDICTIONS, json={}), 400)


def test_only_the_own_account_and_the_operator_may_ask_about_a_workload(world: World) -> None:
    """To others it does not exist; the operator names somebody's workload by its slug or id, and the stack where there
    are two.
    """
    other, third = tenant(world, "other"), tenant(world, "third")
    for path in (PREDICTIONS, PROPOSALS):
        assert "no workload fun" in refusal(world.call("POST", path, json={"workload": "fun"}, headers=other), 404)
        asked = {"workload": "fun", "stack": "default"}
        assert "no stack default" in refusal(world.call("POST", path, json=asked, headers=other), 404)
        assert world.call("POST", path, json={}, headers={}).status_code == 401
    base = "/workload/v1/stacks/of-other/workloads"
    made = world.call("POST", base, json=a_body("secret", cities=("LHR",)), headers=other).json()["workload"]
    assert world.call("POST", PREDICTIONS, json={"workload": "secret"}, headers=other).status_code == 200
    assert world.call("POST", PREDICTIONS, json={"workload": "secret"}, headers=third).status_code == 404
    for body in ({"workload": "secret"}, {"workload": made["id"]}, {"workload": "secret", "stack": "of-other"}):
        assert world.send("POST", PROPOSALS, body)["workload"] == "secret"
    world.call(
        "POST",
        "/workload/v1/stacks/of-third/workloads",
        json=a_body("secret", cities=("LHR",), anycast=False),  # both prefixes belong to the other accounts
        headers=third,
    ).raise_for_status()
    assert "2 stacks have a workload secret" in refusal(
        world.call("POST", PREDICTIONS, json={"workload": "secret"}), 400
    )


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        (PREDICTIONS, {"top": -1, "what_if": "withhold:JFK:209", "graph": "/etc/passwd"}, {"top", "what_if", "graph"}),
        (PREDICTIONS, {"what_if": ["withhold:SIN:209", "reset:JFK:209", "shout"]}, {"what_if[0]", "what_if[2]"}),
        (PREDICTIONS, {"what_if": ["reset:JFK:209"] * 101}, {"what_if"}),
        (PREDICTIONS, {"graph": "lab"}, {"graph"}),
        (PROPOSALS, {"causes": 0, "repairs": "many", "far_km": 0}, {"causes", "repairs", "far_km"}),
        (PROPOSALS, {"graph": "lab"}, {"graph"}),
    ],
)
def test_everything_wrong_with_a_question_is_said_by_its_field(
    world: World, path: str, body: dict[str, Any], fields: set[str]
) -> None:
    """Before any process is started for it."""
    response = world.call("POST", path, json=body)
    assert response.status_code == 400, response.text
    assert {v["field"] for d in response.json()["details"] for v in d.get("fieldViolations", ())} == fields


def test_what_does_not_fit_is_told_in_words(world: World) -> None:
    """A workload without an address; an upstream that the graph does not have."""
    assert "plain announces nothing" in refusal(world.call("POST", PREDICTIONS, json={"workload": "plain"}), 400)
    message = refusal(world.call("POST", PREDICTIONS, json={"what_if": ["add:SIN:64999"]}), 400)
    assert message == "AS64999: is not in as-rel.txt with cities.csv (SIN to as64999)"


@pytest.fixture
def other_graph(world: World) -> Iterator[Platform]:
    """What control knows of graphs may be changed for one test."""
    platform = world.platform
    kept = platform.graphs, platform.workers
    yield platform
    if platform.workers is not kept[1]:
        platform.workers.close()
    platform.graphs, platform.workers = kept


def test_without_a_graph_control_says_how_to_give_it_one(world: World, other_graph: Platform, tmp_path: Path) -> None:
    """It is no mistake of who asks."""
    other_graph.graphs = Graphs(folder=tmp_path)
    for path in (PREDICTIONS, PROPOSALS):
        assert "graph.yaml" in refusal(world.call("POST", path, json={}), 400)


def test_a_graph_that_is_broken_is_explained_to_the_operator_alone(
    world: World, other_graph: Platform, tmp_path: Path
) -> None:
    """503, since it is the operator's to mend; nobody else reads paths of control's machine."""
    other = tenant(world, "curious")
    (graph_in(tmp_path / "g") / "as-rel.txt").write_text("1|2|x\n")
    other_graph.graphs = Graphs(folder=tmp_path / "g")
    assert "as-rel.txt:1" in refusal(world.call("POST", PREDICTIONS, json={}), 503)
    assert str(tmp_path) not in refusal(world.call("POST", PREDICTIONS, json={}, headers=other), 503)
    (tmp_path / "g" / "graph.yaml").write_text("- x\n")
    assert "must name files" in refusal(world.call("POST", PREDICTIONS, json={}), 503)
    assert "must name files" not in refusal(world.call("POST", PREDICTIONS, json={}, headers=other), 503)


def test_too_much_at_once_and_too_long_are_refused_in_words(world: World, other_graph: Platform) -> None:
    """429 and 503, and the next question is answered."""
    other_graph.workers.close()
    other_graph.workers = Workers(Limits(asked=0))
    response = world.call("POST", PREDICTIONS, json={})
    assert "ask again" in refusal(response, 429) and response.json()["code"] == 8
    other_graph.workers = Workers(Limits(timeout_s=0.0001))
    assert "took more than 0.0001 s" in refusal(world.call("POST", PROPOSALS, json={}), 503)
    other_graph.workers = Workers()
    assert world.call("POST", PREDICTIONS, json={}).status_code == 200


def test_the_lab_s_own_graph_is_known_by_its_name(world: World, other_graph: Platform, tmp_path: Path) -> None:
    """The article's internet, as it was laid out; the operator's files come first where nobody names one."""
    from anypop.lab import address, topology_read  # noqa: PLC0415 - for this test alone
    from anypop.model import codec  # noqa: PLC0415

    plan = address.plan(
        topology_read.load((Path(__file__).parents[2] / "topologies" / "article.yaml").read_text(), name="article"), "t"
    )
    (tmp_path / "lab.json").write_bytes(codec.to_json(plan))
    other_graph.graphs = Graphs(folder=tmp_path / "none", lab=tmp_path)
    assert world.send("POST", PREDICTIONS, {})["graph"] == "the lab's own topology"
    other_graph.graphs = Graphs(folder=graph_in(tmp_path / "g"), lab=tmp_path)
    assert world.send("POST", PREDICTIONS, {})["graph"] == "as-rel.txt with cities.csv"
    assert world.send("POST", PREDICTIONS, {"graph": "lab"})["graph"] == "the lab's own topology"


def maps(pid: int) -> set[str]:
    """Which of the heavy libraries a process has in its memory."""
    text = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in ("numpy", "numba", "llvmlite") if f"/{name}/" in text}


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_control_itself_loads_no_numpy_and_its_workers_end_with_it(tmp_path: Path) -> None:
    """They have it; control does not, before and after; a SIGTERM and a kill -9 leave none of them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        folder = tmp_path / number.name
        folder.mkdir()
        with running(folder) as process:
            graph_in(folder / "control")
            # beside what any first request costs: the framework's work on all operations
            process.client.get("/anypop/v1/pops").raise_for_status()
            before = Path(f"/proc/{process.child.pid}/statm").read_text().split()[1]
            for path in (PREDICTIONS, PROPOSALS):
                process.client.post(path, json={}).raise_for_status()
            workers = [pid for pid in children(process.child.pid) if maps(pid)]
            assert len(workers) == 1 and maps(process.child.pid) == set()
            after = Path(f"/proc/{process.child.pid}/statm").read_text().split()[1]
            grown = (int(after) - int(before)) * os.sysconf("SC_PAGE_SIZE")
            assert grown < 16 << 20, f"control has grown by {grown >> 20} MiB"
            assert process.end(number) < 1
        wait_until(partial(none_is_there, workers), timeout_s=10, reason="no worker outlives control")
