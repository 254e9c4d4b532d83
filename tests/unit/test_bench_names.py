"""`script/bench` knows every benchmark that is there."""

import ast
from pathlib import Path

import bench
from bench.__main__ import NAMES


def test_every_module_with_rows_is_a_benchmark_by_name() -> None:
    """A benchmark that cannot be called measures nothing."""
    found = set()
    for path in Path(bench.__file__).parent.glob("*.py"):
        names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        if "rows" in names:
            found.add(path.stem)
    assert found == set(NAMES)
