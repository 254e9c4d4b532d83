"""Commands that wait for what control does follow its stream: one question, however many changes, and nothing asked
again; and the streams themselves tell each change once.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from anypop.api import told
from anypop.control.bell import Bell
from anypop.control.core import ANY_CHANGE, Core
from tests.cli_calls import Caller, Ran

DIAL = {"pop": "LHR", "percent": 50, "keeps": 50, "version": 1, "says": "waits"}
DRAIN = {"id": "d1", "target": "LHR", "says": "waits", "deadline_s": 300, "stages": []}
VOLUME = {"id": "v1", "host": "LHR-1", "instance": "db-eu-lhr-0", "claim": "data", "size_bytes": 1 << 30, "told": True}


def served(*shown: Any) -> httpx.Response:
    text = "".join(f"event: shown\ndata: {json.dumps(one)}\n\n: still here\n\n" for one in shown)
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


Answers = Callable[[str, str], httpx.Response]


@pytest.fixture
def calling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Ran, list[str]]]:
    """A command, where control answers so: how it went, and what was asked."""

    def call(answers: Answers, *argv: str) -> tuple[Ran, list[str]]:
        asked: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/token"):
                return httpx.Response(200, json={"access_token": "t"})
            asked.append(f"{request.method} {request.url.path}")
            return answers(request.method, request.url.path)

        return Caller(tmp_path, httpx.MockTransport(answer), monkeypatch)(*argv), asked

    return call


def by_path(changed: Any, *shown: Any) -> Answers:
    return lambda _, path: served(*shown) if path.endswith("/watch") else httpx.Response(200, json=changed)


def test_a_dial_is_followed_until_it_is_in_force(calling: Any) -> None:
    states = [{"results": [{**DIAL, "in_force": force}]} for force in ("no", "partly", "yes", "no")]
    ran, asked = calling(by_path({"dial": {**DIAL, "in_force": "no"}}, *states), "dial", "LHR", "50", "--yes")
    assert ran.code == 0 and "yes" in ran.out, ran
    assert asked == ["PUT /anypop/v1/dials", "GET /anypop/v1/dials/watch"]


def test_a_drain_is_followed_stage_by_stage_each_told_once(calling: Any) -> None:
    states = [{"drain": {**DRAIN, "stage": stage}} for stage in ("preferring-less", "withdrawing", "withdrawing")]
    begun = {"drain": {**DRAIN, "stage": "preferring-less"}}
    ran, asked = calling(by_path(begun, *states, {"drain": {**DRAIN, "stage": "drained"}}), "drain", "LHR", "--yes")
    assert ran.code == 0, ran
    assert asked == ["POST /anypop/v1/drains", "GET /anypop/v1/drains/d1/watch"]
    assert [line.split(",")[0] for line in ran.err.splitlines() if line.startswith("LHR:")] == [
        "LHR: preferring-less", "LHR: withdrawing", "LHR: drained",
    ]  # fmt: skip


def test_a_snapshot_is_followed_until_it_is_complete(calling: Any) -> None:
    states = [
        {"results": [{**VOLUME, "snapshots": [{"name": "a", "complete": complete, "leaving": False}]}]}
        for complete in (False, True)
    ]
    ran, asked = calling(
        by_path({"volume": VOLUME}, *states), "volume", "snapshot", "db-eu-lhr-0:data", "a", "--no-wait"
    )
    assert ran.code == 0 and len(asked) == 1
    ran, asked = calling(by_path({"volume": VOLUME}, *states), "volume", "snapshot", "db-eu-lhr-0:data", "a")
    assert ran.code == 0 and [one.partition("/volumes")[2] for one in asked] == [
        "/db-eu-lhr-0:data/snapshots",
        "/watch",
    ]


@pytest.mark.parametrize("silent", [(), ({"results": []},)])
def test_what_does_not_come_ends_in_time_with_code_6(calling: Any, silent: tuple[Any, ...]) -> None:
    """A stream that ends at once is opened anew, and not a hundred times."""
    ran, asked = calling(
        by_path({"dial": {**DIAL, "in_force": "no"}}, *silent), "dial", "LHR", "50", "--yes", "--timeout", "1"
    )
    assert ran.code == 6 and "not in force yet" in ran.err
    assert 2 <= len(asked) <= 8


def test_a_stream_tells_each_change_once_and_the_end() -> None:
    """What the clock alone changes is no change; `gone` is the last word."""

    class Place:
        def __init__(self) -> None:
            self.bell, self.state = Bell(), object()

    async def read() -> list[str]:
        place = Place()
        steps: Iterator[Any] = iter([{"a": 1, "age": 1}, {"a": 1, "age": 2}, {"a": 2, "age": 3}, None])

        def look() -> Any:
            asyncio.get_running_loop().call_later(0.01, step)
            return next(steps)

        def step() -> None:
            place.state = object()
            place.bell.ring(ANY_CHANGE)

        pieces = told.told(cast("Core", place), "thing", look, same=lambda shown: shown["a"])
        return [piece async for piece in pieces]

    found = asyncio.run(read())
    assert [piece.splitlines()[0] for piece in found] == ["event: thing", "event: thing", "event: gone"]
    assert '"age": 3' in found[1]


def test_a_stream_ends_when_its_time_is_over() -> None:
    class Place:
        bell, state = Bell(), object()

    async def read() -> list[str]:
        return [piece async for piece in told.told(cast("Core", Place()), "thing", lambda: 1, longest_s=1)]

    assert asyncio.run(read())[0] == "event: thing\ndata: 1\n\n"
