"""The resolver's files as the agent keeps them: there, whole, and put into words only when something has changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from anypop.agent import resolving
from anypop.agent.act.network import loopback
from anypop.agent.decide.names import Names
from anypop.agent.resolver import files
from anypop.agent.resolver.wanted import Around, Asker, Called


def test_files_that_are_as_they_were_written_are_not_compared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody takes away, changes or adds is mended at the next look; and what is new is written at once."""
    monkeypatch.setattr(loopback, "prepare", lambda net: None)
    compared: list[str] = []
    whole = files.write_around
    monkeypatch.setattr(files, "write_around", lambda *given: compared.append("all") or whole(*given))  # type: ignore[func-returns-value]
    net: Any = None
    kept = resolving.Resolving(tmp_path, net)
    assert kept._write() is False and not compared, "what there is to be is not known yet"
    kept._wanted = Names(
        around=Around(askers={"i0": Asker(domain="a", name="web", own=("192.0.2.1",))}),
        domains=(Called(domain="a", suffix="a.internal"), Called(domain="b", suffix="b.internal")),
    )
    assert [kept._write() for _ in range(4)] == [True, False, False, False] and len(compared) == 1
    there = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert len(there) == 3

    def taken_away() -> None:
        (tmp_path / "askers.json").unlink()

    def changed() -> None:
        next(iter(files.domain_files(tmp_path))).write_text("nothing")

    def added() -> None:
        (tmp_path / "domain-of-somebody.json").write_text("{}")

    for number, harm in enumerate((taken_away, changed, added), start=2):
        harm()
        assert [kept._write(), kept._write()] == [True, False], harm.__name__
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == there
        assert len(compared) == number
    kept._wanted = Names(around=Around(upstreams=("192.0.2.53",)), domains=kept._wanted.domains)
    assert kept._write() and json.loads((tmp_path / "askers.json").read_text())["upstreams"] == ["192.0.2.53"]
