"""Logs of all instances searched, watched and downloaded by way of control: hosts search, hits travel, a host that does
not answer is told and slows nobody.

A control behind a socket; agents are played by threads that read real files with the agent's own code.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.connection import Connection

from anypop.agent import log_streams
from anypop.agent.log_names import LOG
from anypop.agent.observe.log_reader import read_log
from anypop.model.codec import to_json
from anypop.model.streams import FindRequest, LogRequest, Opened, StreamRequest, WatchLogsRequest
from tests.control_world import World
from tests.served import PATIENCE_S, PlayedAgent, Served, served
from tests.unit.test_log_search import at, entry, moment
from tests.wait import wait_until

LOGS = "/anypop/v1/stacks/default/logs"
BAD = "<script>alert(1)</script>"


SAID = '{"level":"error","msg":"' + BAD + '","ts":"t","code":5,"half":"\\ud800"}'


class Reader(PlayedAgent):
    """Of one host; `folders`: of the containers' logs, by uid. `sent`: bytes that have left it."""

    def __init__(self, there: Served, host: str, folders: dict[str, Path]) -> None:
        self.folders, self.sent = folders, 0
        super().__init__(there, host)

    def _answer(self, asked: StreamRequest) -> None:
        with (
            contextlib.suppress(WebSocketException, OSError),
            self._there.socket(f"{self._path}/{asked.id}", self._headers) as stream,
        ):
            stream.send(to_json(Opened()), text=True)
            asyncio.run(self._pieces(stream, asked.wanted))
        self.over.put(asked.wanted)

    async def _pieces(self, stream: Connection, wanted: Any) -> None:
        def where(uids: frozenset[str]) -> dict[tuple[str, str], list[Path]]:
            return {(uid, "web"): [folder] for uid, folder in self.folders.items() if uid in uids}

        match wanted:
            case FindRequest():
                pieces = log_streams.find(wanted, where)
            case WatchLogsRequest():
                pieces = log_streams.watch(wanted, where)
            case LogRequest():
                pieces = read_log(self.folders[wanted.uid], wanted, 0)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                stream.send(piece)
                self.sent += len(piece)


class Place:
    """`mine`: name of each instance, and the file of its log."""

    def __init__(self, world: World, there: Served, folder: Path) -> None:
        self.world, self.there = world, there
        self.mine: dict[str, Path] = {}
        by_host: dict[str, dict[str, Path]] = {}
        for placed in world.state.incarnations.values():
            life = placed.incarnation
            home = folder / life.uid
            home.mkdir()
            by_host.setdefault(life.host, {})[life.uid] = home
            self.mine[life.name] = home / LOG
            self.mine[life.name].write_bytes(b"")
        self.agents = {host: Reader(there, host, folders) for host, folders in by_host.items()}

    def get(self, path: str = LOGS, **query: Any) -> Any:
        answer = self.there.http.get(path, params=query, headers=dict(self.world.headers))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def texts(self, **query: Any) -> list[str]:
        return [line["text"] for line in self.get(**query)["lines"]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with World(tmp_path_factory.mktemp("search")) as world:
        world.create()
        with served(world) as there:
            made = Place(world, there, tmp_path_factory.mktemp("logs"))
            for number, (_, file) in enumerate(sorted(made.mine.items())):
                file.write_bytes(
                    b"".join(entry(f"line {n} of {number}", at(10 * n + number)) for n in range(300))
                    + entry(SAID, at(5000 + number), stream="stderr")
                )  # fmt: skip
            yield made
            for agent in made.agents.values():
                agent.close()


def test_lines_of_all_instances_are_one_list_and_only_hits_travel(place: Place) -> None:
    count = len(place.mine)
    assert count > 1 and len(place.agents) > 1
    found = place.get(text="SCRIPT", level="warning")
    assert [line["level"] for line in found["lines"]] == ["error"] * count
    one = found["lines"][0]
    assert one["at"] == moment(at(5000 + count - 1)).replace("+00:00", "Z")
    assert (one["message"], one["time"], one["fields"]["code"], one["stream"]) == (BAD, "t", 5, "stderr")
    assert one["instance"] in place.mine and one["workload"] == "fun" and one["pop"] in one["instance"].upper()
    assert (found["cut"], found["silent"]) == (False, [])
    before = sum(agent.sent for agent in place.agents.values())
    assert place.texts(text="line 7 of 1") == ["line 7 of 1"]
    assert sum(agent.sent for agent in place.agents.values()) - before < 1000


def test_pages_back_to_the_first_line_miss_and_repeat_nothing(place: Place) -> None:
    seen: list[tuple[str, str]] = []
    query: dict[str, Any] = {"text": "line", "limit": 97}
    while True:
        page = place.get(**query)
        seen += [(line["at"], line["text"]) for line in page["lines"]]
        if not page["cut"]:
            break
        query["until"] = page["back_to"]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 300 * len(place.mine)


def test_what_is_asked_is_narrowed_and_every_wrong_word_is_told(place: Place) -> None:
    name = min(place.mine)
    assert {line["instance"] for line in place.get(instance=name, limit=50)["lines"]} == {name}
    assert {line["pop"] for line in place.get(pop="lhr", limit=50)["lines"]} == {"LHR"}
    assert place.texts(container="db") == []
    assert place.texts(since=moment(at(0)), until=moment(at(1)), workload="fun") == ["line 0 of 0"]
    answer = place.there.http.get(
        LOGS, params={"since": "noon", "until": "x", "level": "loud"}, headers=dict(place.world.headers)
    )
    fields = {v["field"] for d in answer.json()["details"] for v in d.get("fieldViolations", ())}
    assert (answer.status_code, fields) == (400, {"since", "until", "level"})
    for query in ({"workload": "nobody"}, {"instance": "nobody"}):
        assert place.there.http.get(LOGS, params=query, headers=dict(place.world.headers)).status_code == 404


def test_a_host_that_does_not_answer_is_told_and_waited_for_but_once(place: Place) -> None:
    """Its connection is there, but nobody listens at its other end: as after a host was cut off."""
    host = min(place.agents)
    headers = place.agents[host]._headers
    asked = 0
    with place.there.socket(f"/anypop/v1/agents/{host}/streams", headers) as dead:
        wait_until(
            lambda: place.get(limit=1)["silent"] != [], timeout_s=PATIENCE_S, reason="the dead one has taken its place"
        )
        for _ in range(3):
            found = place.get(text="line 1 of")
            assert [one["host"] for one in found["silent"]] == [host]
            assert found["lines"] and host not in {line["pop"] for line in found["lines"]}
        with contextlib.suppress(TimeoutError):
            while dead.recv(0.2):
                asked += 1
    assert asked <= 2, "whoever is known not to hear is not waited for again"
    back = Reader(place.there, host, place.agents[host].folders)
    place.agents[host] = back
    wait_until(lambda: place.get(limit=1)["silent"] == [], timeout_s=PATIENCE_S, reason="it answers again")


def test_what_a_host_says_that_is_no_log_or_not_its_own_is_left_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = min(place.agents)
    other = next(uid for name, agent in place.agents.items() if name != host for uid in agent.folders)
    forged = json.dumps(["line", 1, other, "web", False, None, "forged", None]).encode() + b"\n"

    async def forge(stream: Connection, _: Any) -> None:
        for piece in (forged, b"{" * 30_000):
            with contextlib.suppress(ConnectionClosed):
                stream.send(piece)

    monkeypatch.setattr(place.agents[host], "_pieces", forge)
    found = place.get(text="forged")
    assert found["lines"] == []
    assert [one["host"] for one in found["silent"]] == [host]
    assert "is no log" in found["silent"][0]["message"]


def test_lines_are_watched_as_they_are_written(place: Place) -> None:
    """Of all instances; from a moment on; a host's absence and return are told; what was written meanwhile comes."""
    seen: list[Any] = []
    begun = threading.Event()

    def read() -> None:
        query = urlencode({"text": "news", "since": moment(at(90_000))})
        with (
            contextlib.suppress(Exception),
            place.there.http.stream(
                "GET", f"{LOGS}/watch?{query}", headers=dict(place.world.headers), timeout=PATIENCE_S
            ) as answer,
        ):
            for line in answer.iter_lines():
                begun.set()
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: ")))

    def texts() -> list[str]:
        return [line["text"] for told in seen for line in told["lines"]]

    def write(name: str, text: str, number: int) -> None:
        with place.mine[name].open("ab") as file:
            file.write(entry(text, at(number)))

    threading.Thread(target=read, daemon=True).start()
    assert begun.wait(PATIENCE_S)
    first, last = min(place.mine), max(place.mine)
    write(first, "old news", 80_000)
    write(first, "news 1", 90_000)
    write(last, "news 2", 90_001)
    wait_until(lambda: sorted(texts()) == ["news 1", "news 2"], timeout_s=PATIENCE_S, reason="both came")
    host = next(line["pop"] for told in seen for line in told["lines"] if line["instance"] == first)
    agent = place.agents[host]
    agent.close()
    folders, agent.folders = agent.folders, {}

    def silent() -> list[str]:
        return [one["message"] for told in seen for one in told["silent"] if one["host"] == host]

    for stream in list(place.world.platform.streams._asked.values()):
        if stream.host == host:
            place.world._loop.call_soon_threadsafe(stream.over.set)  # as if the host's connection ended
    wait_until(silent, timeout_s=PATIENCE_S, reason="its absence is told")
    write(first, "news while away", 90_002)
    place.agents[host] = Reader(place.there, host, folders)
    wait_until(lambda: "news while away" in texts(), timeout_s=PATIENCE_S, reason="what was written meanwhile came")
    assert silent()[-1] == ""
    assert texts().count("news 1") == 1


def test_all_that_is_kept_is_downloaded_whole(place: Place) -> None:
    answer = place.there.http.get(f"{LOGS}/download", params={"workload": "fun"}, headers=dict(place.world.headers))
    lines = answer.text.splitlines()
    assert sum(" line " in line for line in lines) == 300 * len(place.mine)
    name = min(place.mine)
    assert lines[0] == f"{moment(at(0))} {name} web line 0 of 0"
    assert answer.headers["content-disposition"] == 'attachment; filename="fun-logs.txt"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_another_account_finds_nothing_of_this_one(place: Place) -> None:
    accounts = place.world.platform.accounts
    theirs = accounts.create_credential(accounts.create_account("stranger").id, "theirs")
    headers = place.world.login(theirs.client_id, theirs.secret)
    for path in (LOGS, f"{LOGS}/watch", f"{LOGS}/download"):
        answer = place.there.http.get(path, params={"workload": "fun"}, headers=dict(headers))
        assert answer.status_code == 404


def test_the_command_line_searches_and_tells_what_is_missing(place: Place, tmp_path: Path) -> None:
    address = str(place.there.http.base_url)
    secret = place.world.headers["authorization"].removeprefix("Bearer ")
    (tmp_path / "client.json").write_text(json.dumps({"url": address, "token": secret, "stack": "default"}))

    def anypop(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "anypop.cli.main", "--state", str(tmp_path), "logs", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    name = min(place.mine)
    found = anypop("fun", "--grep", "LINE 7 of", "--timestamps")
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[0] == f"{moment(at(70)).replace('+00:00', 'Z')} {name} line 7 of 0"
    assert len(found.stdout.splitlines()) == len(place.mine)
    few = anypop(name, "--level", "error", "--most", "1", "-o", "json")
    assert json.loads(few.stdout)["fields"]["code"] == 5
    cut = anypop("fun", "--grep", "line", "--most", "10")
    assert len(cut.stdout.splitlines()) == 10 and "there are older ones" in cut.stderr
    assert "must be trace" in anypop("fun", "--level", "loud").stderr
