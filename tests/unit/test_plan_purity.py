"""The pure core stays pure, and fast."""

import ast
import sys
import time
from pathlib import Path

import pytest

import anypop
from anypop.judge.memory import History
from anypop.judge.verdict import Received, judge
from anypop.model.plan import World
from anypop.plan.check import check
from anypop.plan.planner import plan
from tests.worlds import HOSTS, after, network, report, workload

PURE = ("plan", "judge")
# the only modules of the standard library that the pure core may use: none of them touches a file, a socket, a clock or
# dice
ALLOWED = {
    "collections", "dataclasses", "decimal", "difflib", "enum", "functools", "hashlib",
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


def test_a_thousand_instances_are_planned_in_less_than_fifty_milliseconds() -> None:
    """Of processor time, from nothing and again from what is there; the best of five, since other work shares the
    machine.
    """
    world = World(network=network(external_bits=20), workloads=tuple(workload(f"w{n}") for n in range(125)))
    planned = plan(world)
    assert len(planned.incarnations) == 1000
    for start in (world, after(world, planned)):
        took = []
        for _ in range(5):
            began = time.process_time()
            check(plan(start), planned.incarnations)
            took.append(time.process_time() - began)
        assert min(took) < 0.050


def test_a_thousand_instances_are_judged_in_less_than_fifty_milliseconds() -> None:
    """Every report of every PoP leads to a judgement, so it must be cheap."""
    world = World(network=network(external_bits=20), workloads=tuple(workload(f"w{n}") for n in range(125)))
    planned = plan(world)
    reports = {h: Received(report=report(planned, h), at=0) for h in HOSTS}
    took = []
    for _ in range(5):
        began = time.process_time()
        judge(planned, reports, now=1, history=History(), generations={})
        took.append(time.process_time() - began)
    assert min(took) < 0.050
