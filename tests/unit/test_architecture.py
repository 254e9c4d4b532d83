"""The first page of ARCHITECTURE.md is true: the six functions are where it says, and take what it says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "anypop"
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
ROW = re.compile(r"^([\w/]+)/(\w+)\.py +(\w+)\(([^)]*)\) -> ([\w\[\], ]+?)  ", re.MULTILINE)


def test_six_functions_are_named() -> None:
    """parse, plan, check, order_for, converge and judge."""
    assert [row[2] for row in ROW.findall(PAGE)] == ["parse", "plan", "check", "order_for", "converge", "judge"]


@pytest.mark.parametrize(("package", "module", "name", "parameters", "result"), ROW.findall(PAGE))
def test_a_signature_is_the_documented_one(package: str, module: str, name: str, parameters: str, result: str) -> None:
    """Parameters in order, keyword-only ones after the star, and the result."""
    tree = ast.parse((SOURCE / package / f"{module}.py").read_text())
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    by_name = [argument.arg for argument in function.args.kwonlyargs]
    assert (
        ", ".join([argument.arg for argument in function.args.args] + (["*", *by_name] if by_name else []))
        == parameters
    )
    assert function.returns is not None
    assert ast.unparse(function.returns) == result


CONVERSIONS = re.compile(
    "^from socket import (?:AF_INET6, inet_ntoa, inet_ntop|AF_INET, AF_INET6, inet_pton)\n", re.MULTILINE
)


@pytest.mark.parametrize("folder", ["model", "plan", "judge", "routing", "advice", "agent/decide"])
def test_the_pure_middle_reads_no_clock_and_opens_nothing(folder: str) -> None:
    """No module there imports time, random, socket, subprocess or asyncio; package data is read by importlib.resources
    alone. Of socket only the functions that turn an address into text and back, and open nothing.
    """
    root = SOURCE / folder
    forbidden = re.compile(
        r"^\s*(?:import|from) (time|random|secrets|socket|subprocess|asyncio|sqlalchemy|httpx)\b", re.MULTILINE
    )
    texts = {path: CONVERSIONS.sub("", path.read_text()) for path in root.rglob("*.py")}
    found = {
        f"{path.relative_to(root)}: {match.group(1)}"
        for path, text in texts.items()
        for match in forbidden.finditer(text)
    }
    assert found == set()
