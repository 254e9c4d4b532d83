"""The units for systemd that the documentation shows, as systemd itself reads them; and a bad one fails."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
_UNIT = re.compile(r"/etc/systemd/system/(\S+\.service)`.*?^```\n(\[Unit\]\n.*?)^```", re.DOTALL | re.MULTILINE)
UNITS = {name: text for page in sorted(DOCS.glob("*.md")) for name, text in _UNIT.findall(page.read_text())}


def verified(folder: Path, units: dict[str, str]) -> str:
    """What is wrong with them, in systemd's words. The program that they start is one that is here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    for name, text in units.items():
        (folder / name).write_text(text.replace("/opt/anypop/.venv/bin/python", sys.executable))
    argv = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(str(folder / name) for name in units)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in done.stderr.splitlines() if any(name in line for name in units)]
    return "\n".join(said) or ("" if done.returncode == 0 else done.stderr)


def test_the_units_of_the_documentation_are_ones_for_systemd(tmp_path: Path) -> None:
    """Of the agent, of control and of the store of metrics."""
    assert {"anypop-agent.service", "anypop-control.service", "anypop-metrics.service"} <= UNITS.keys()
    assert verified(tmp_path, UNITS) == ""


def test_a_unit_with_a_word_that_systemd_does_not_know_fails(tmp_path: Path) -> None:
    name = "anypop-metrics.service"
    assert "RestartSecs" in verified(tmp_path, {name: UNITS[name].replace("RestartSec=", "RestartSecs=")})
