"""The pure core stays pure, and cheap."""

import ast
import sys
from pathlib import Path

import pytest

import anypop
from anypop.judge.memory import History
from anypop.judge.verdict import Received, judge
from anypop.model.plan import World
from anypop.plan.check import check
from anypop.plan.planner import plan
from tests.counted import calls
from tests.worlds import HOSTS, after, network, report, workload

PURE = ("plan", "judge")
# the only modules of the standard library that the pure core may use: none of them touches a file, a socket, a clock or
# dice
ALLOWED = {
    "base64", "collections", "dataclasses", "decimal", "difflib", "enum", "functools", "hashlib",
    "importlib", "ipaddress", "itertools", "json", "math", "operator", "re",
    "string", "types", "typing", "uuid",
}  # fmt: skip
DICE = {"uuid1", "uuid4"}


def modules() -> list[Path]:
    root = Path(anypop.__file__).parent
    return sorted(path for part in PURE for path in (root / part).rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_nothing_under_plan_or_judge_does_io(path: Path) -> None:
    """No module of them imports what could read a file, a clock or dice."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names, members = [a.name for a in node.names], set()
        elif isinstance(node, ast.ImportFrom):
            names, members = [node.module or ""], {a.name for a in node.names}
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            assert top not in sys.stdlib_module_names or top in ALLOWED, f"{path.name} imports {name}"
        assert not members & DICE, f"{path.name} rolls dice"


# Calls for each of a thousand instances, with a quarter of room. Where they were counted, a million calls took a sixth
# of a second: a plan 40 ms, a judgement 3.
MOST_TO_PLAN, MOST_TO_PLAN_AGAIN, MOST_TO_JUDGE = 300, 205, 23


def test_a_thousand_instances_are_planned_in_so_many_calls() -> None:
    """From nothing, and again from what is there."""
    world = World(network=network(external_bits=20), workloads=tuple(workload(f"w{n}") for n in range(125)))
    planned = plan(world)
    assert len(planned.incarnations) == 1000
    again = after(world, planned)
    assert calls(lambda: check(plan(world), planned.incarnations)) < MOST_TO_PLAN * 1000
    assert calls(lambda: check(plan(again), planned.incarnations)) < MOST_TO_PLAN_AGAIN * 1000


def test_a_thousand_instances_are_judged_in_so_many_calls() -> None:
    """Every report of every PoP leads to a judgement, so it must be cheap."""
    world = World(network=network(external_bits=20), workloads=tuple(workload(f"w{n}") for n in range(125)))
    planned = plan(world)
    reports = {h: Received(report=report(planned, h), at=0) for h in HOSTS}
    assert calls(lambda: judge(planned, reports, now=1, history=History(), generations={})) < MOST_TO_JUDGE * 1000
