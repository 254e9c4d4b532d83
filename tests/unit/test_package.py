"""What is shipped: the package works away from its checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from anypop.cli import labs
from tests.cli_calls import Caller

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel of this checkout holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = folder.glob("anypop-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def _asked(site: Path, question: str) -> str:
    """What Python prints when it finds Anypop in `site` first."""
    command = [sys.executable, "-c", question]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        command, env=environment, cwd=site.parent, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_the_article_is_found_in_a_checkout_and_in_a_wheel(site: Path) -> None:
    """`anypop up` without a topology builds the same internet however Anypop was installed."""
    assert labs.article() == ROOT / "topologies" / "article.yaml"
    found = Path(_asked(site, "from anypop.cli import labs; print(labs.article())"))
    assert found.is_relative_to(site)
    assert found.read_bytes() == labs.article().read_bytes()


def test_the_wheel_tells_type_checkers_that_it_is_typed(site: Path) -> None:
    """PEP 561: without this file nobody's mypy reads our annotations."""
    assert (site / "anypop" / "py.typed").read_bytes() == b""


def test_the_wheel_has_all_that_the_portal_shows(site: Path) -> None:
    """Its templates, and each file that it serves: nothing is built or fetched by whoever installs it."""
    here = ROOT / "src" / "anypop" / "portal"
    shown = sorted(p.relative_to(here) for kind in ("assets", "templates") for p in (here / kind).iterdir())
    assert len(shown) > 40
    assert [p for p in shown if (site / "anypop" / "portal" / p).read_bytes() != (here / p).read_bytes()] == []
    served = (
        "from anypop.portal import files; print(sum(len(files.file(n).content) for n in files.TYPES), files.__file__)"
    )
    size, where = _asked(site, served).split()
    assert int(size) > 100_000 and Path(where).is_relative_to(site)


def test_the_version_of_the_wheel_is_the_one_in_pyproject(site: Path) -> None:
    """It is written in one place."""
    assert [folder.name for folder in site.glob("*.dist-info")] == [f"anypop-{VERSION}.dist-info"]
    assert _asked(site, "from anypop.cli.main import run; run(['--version'])") == f"anypop {VERSION}"


@pytest.mark.parametrize(
    "argv", [["--version"], ["-o", "json", "--version"], ["--version", "pops"], ["--version", "--state", "no-such"]]
)
def test_the_version_is_one_line_and_needs_no_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    """Whatever else is said: it comes first, and nothing else happens."""
    ran = Caller(tmp_path, None, monkeypatch)(*argv)
    assert (ran.code, ran.out, ran.err) == (0, f"anypop {VERSION}\n", "")
