"""What a person is told to type next, and what is said of files that cannot be used."""

import sys
from pathlib import Path

import pytest

from anypop.cli.call import called
from anypop.cli.demo import CLICKS, how_to_go_on
from anypop.lab.generate import generate
from anypop.lab.place import Platform
from tests.cli_calls import Caller

NAVIGATION = (Path(__file__).parents[2] / "src/anypop/portal/templates/base.html").read_text()
ARTICLE = Path(__file__).parents[2] / "topologies" / "article.yaml"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(tmp_path, None, monkeypatch)


def test_advice_names_the_program_as_it_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its path where its name is not on the path, with sudo where it came by sudo: what is shown can be typed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "venv" / "anypop")])
    assert called() == str(tmp_path / "venv" / "anypop")
    monkeypatch.setenv("SUDO_USER", "me")
    assert called() == f"sudo {tmp_path}/venv/anypop"
    (tmp_path / "anypop").touch(mode=0o755)
    assert called() == "sudo anypop"


@pytest.mark.parametrize("argv", [["lab", "validate"], ["up", "--topology"], ["demo", "--topology"]])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"\xff\xfe", "it is not text", id="not text"),
        # in one line PyYAML looks for the end of a key, for a second
        pytest.param(b"[\n" * 3000, "too deep", id="too deep"),
        pytest.param(b"a: [", "not YAML", id="not YAML"),
    ],
)
def test_a_topology_that_cannot_be_read_is_one_line(
    call: Caller, tmp_path: Path, argv: list[str], content: bytes, says: str
) -> None:
    """Exit code 2, and no traceback."""
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    found = call(*argv, str(file))
    assert found.code == 2
    assert found.err.startswith("anypop: ") and says in found.err


@pytest.mark.parametrize("content", [pytest.param("[" * 3000, id="lists"), pytest.param("{a: " * 3000, id="mappings")])
def test_a_workload_nested_too_deep_is_one_line(call: Caller, tmp_path: Path, content: str) -> None:
    """Exit code 2, in YAML and in JSON."""
    (tmp_path / "file").write_text(content)
    found = call("quote", "-f", str(tmp_path / "file"))
    assert (found.code, "nested too deep" in found.err) == (2, True)


def test_the_demo_is_refused_on_a_stage_that_it_does_not_fit(call: Caller, tmp_path: Path) -> None:
    """Before anything starts, with what is missing and what to do with that topology instead."""
    file = tmp_path / "other.yaml"
    file.write_text(generate(ases=10, pops=2, seed=1))
    found = call("demo", "--topology", str(file))
    assert found.code == 2
    assert "a vantage named london" in found.err and "up --topology" in found.err


def test_the_demo_ends_with_a_link_to_the_portal_and_what_to_click(tmp_path: Path) -> None:
    """Where it is, that it counts once, and each page that it names is one of the portal's navigation."""
    place = Platform(
        state=tmp_path, prefix="x", topology=ARTICLE, api_port=8443, registry_port=5050, cities=("AMS",), hosts=("AMS",)
    )
    link = {"url": "https://127.0.0.1:8443/portal/sign-in/link?code=abc", "expires_in": 600}
    told = "\n".join(map(str, how_to_go_on(place, link)))
    assert str(link["url"]) in told and "once, within 10 minutes" in told and f"portal --state {tmp_path}" in told
    for click in CLICKS:
        named = click.partition(":")[0].partition(",")[0]
        assert named == "Restart all" or f">{named}</a>" in NAVIGATION, click
