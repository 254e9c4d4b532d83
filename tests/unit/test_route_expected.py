"""What the model expects of a router, beside what its pasted routes say that it chose."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli_calls import Caller

LONDON = Path(__file__).parents[1] / "golden" / "cli" / "london"
GIVEN = ("--graph", str(LONDON / "as-rel.txt"), "--footprint", str(LONDON / "cities.csv"))
PLAN = ("--plan", str(LONDON / "plan.yaml"))
ROUTE = " {mark}[BGP/170] {age}, localpref {preference}\n   AS path: {path} I, validation-state: unverified\n"


def junos(*routes: tuple[str, int, str]) -> str:
    """A paste of these routes (age, local preference, path), the first of them active."""
    rows = [
        ROUTE.format(mark=" " if i else "*", age=age, preference=preference, path=path)
        for i, (age, preference, path) in enumerate(routes)
    ]
    return "185.2.0.0/24 " + "".join(rows)


@pytest.fixture
def caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(tmp_path, None, monkeypatch)


def expected(caller: Caller, folder: Path, text: str, at: str) -> dict[str, Any]:
    (folder / "paste.txt").write_text(text)
    ran = caller("route", "explain", "--file", str(folder / "paste.txt"), "--at", at, *GIVEN, *PLAN, "-o", "json")
    assert ran.code == 0, ran.err
    (found,) = json.loads(ran.out)
    told: dict[str, Any] = found["expected"]
    assert found["sentences"][-1] == told["says"]
    return told


@pytest.mark.parametrize(
    ("at", "routes", "agrees", "held", "words"),
    [
        ("AS3356-LHR", [("1d", 100, "209 33438"), ("1d", 90, "1299 33438")], True, True, "and so it is"),
        (
            "AS64497-LHR",
            [("3d 13:19:37", 100, "3356 209 33438"), ("23:46:15", 100, "2914 1299 33438")],
            None,
            True,
            "which no graph tells",
        ),
        (
            "AS3356-LHR",
            [("1d", 300, "1299 33438"), ("1d", 200, "209 33438")],
            False,
            True,
            "(lost by: local preference) and prefers another: some policy there is not in the graph",
        ),
        ("AS3356-LHR", [("1d", 100, "1299 33438")], False, False, "does not have that route"),
        ("AS3356-LHR", [("1d", 100, "209 64500")], None, None, "what AS33438 announces; this prefix is AS64500's"),
    ],
    ids=["the same", "as good", "preferred less", "not there", "of others"],
)
def test_where_router_and_model_differ_it_says_about_what(
    caller: Caller, tmp_path: Path, *, at: str, routes: list[tuple[str, int, str]], agrees: Any, held: Any, words: str
) -> None:
    """As data and in a sentence behind the others."""
    told = expected(caller, tmp_path, junos(*routes), at)
    assert (told["agrees"], told["held"]) == (agrees, held)
    assert words in told["says"]


def test_a_graph_without_a_router_is_the_user_s_error(caller: Caller, tmp_path: Path) -> None:
    """So is a network that the graph does not have; without both, no graph is looked for."""
    (tmp_path / "paste.txt").write_text(junos(("1d", 100, "209 33438")))
    base = ("route", "explain", "--file", str(tmp_path / "paste.txt"))
    assert caller(*base, *GIVEN).code == 2
    assert "not in the graph" in caller(*base, "--at", "AS64999", *GIVEN, *PLAN).err
    several = caller(*base, "--at", "AS3356", *GIVEN, *PLAN)
    assert several.code == 2 and "AS64497-LHR" in several.err and "--city" not in several.err
    assert "expected" not in json.loads(caller(*base, "-o", "json").out)[0]
