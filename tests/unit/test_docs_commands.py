"""Every command that a document shows is one that can be typed: `anypop` reads it by its own command line, scripts and
modules are there, calls of the API are operations. What they do is in the tests of the commands; what a document marks
with capitals (NAME, ID) is the reader's to fill in.
"""

import contextlib
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from anypop.cli import reference

ROOT = Path(__file__).parents[2]
# the reference is written from the commands, and what changed may name commands that are no more
PAGES = [p for p in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]) if p.name != "CHANGELOG.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# programs of the reader's machine, which are no part of this project
THEIRS = {
    "apt-get", "apt", "cat", "cd", "chmod", "cp", "diff", "docker", "echo", "export", "git", "install", "ip", "jq",
    "journalctl", "mkdir", "mv", "pg_dump", "podman", "psql", "python3", "scp", "sed", "set", "ssh", "sudo",
    "systemctl", "systemd-run", "tar", "tee", "terraform", "ansible-inventory", "prometheus", "birdc", "openssl", "rm",
    "nft", "rsync", "sleep", "wget",
}  # fmt: skip
SEPARATORS = {"|", "||", "&&", ";", "&"}


def commands(page: Path) -> Iterator[list[str]]:
    """Each simple command of a page, as words: of blocks for a shell every line, of others those after a prompt."""
    for language, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language not in ("", "sh", "bash", "console"):
            continue
        for line in re.sub(r"\\\n\s*", " ", body).splitlines():
            if language in ("sh", "bash"):
                text = line.strip()
            elif line.startswith("$ "):
                text = line[2:]
            else:
                continue
            text = re.sub(r"[<$]\(", "; ", text)  # what stands in another command is one as well
            yield from _simple(text)


def _simple(text: str) -> Iterator[list[str]]:
    words = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    words.whitespace_split = True
    words.commenters = "#"
    found: list[str] = []
    with contextlib.suppress(ValueError):  # a quote that ends in a later line: what stands before it was seen
        for word in words:
            if word in SEPARATORS:
                yield found
                found = []
            else:
                found.append(word)
    yield found


def stripped(words: list[str]) -> list[str]:
    """Without what stands before a command: sudo, settings of the environment; and without files it reads or writes."""
    kept: list[str] = []
    words = list(words)
    while words and (words[0] == "sudo" or re.fullmatch(r"\w+=.*", words[0])):
        words.pop(0)
    while words:
        word = words.pop(0)
        if word in ("<", ">", ">>"):
            words[:1] = []
        elif not re.fullmatch(r"-s|\d+>.*", word) or kept:
            kept.append(word)
    return kept


@cache
def known() -> dict[str, Any]:
    return dict(reference.commands())


def read(words: list[str]) -> str:
    """What the command line says against it; empty: nothing. Files need not be there."""
    line = " ".join(["anypop", *words[1:]])
    if {"--help", "-h"} & set(words):
        return ""
    name = max((n for n in known() if f"{line} ".startswith(f"{n} ")), key=len, default="")
    if not name:
        return f"there is no such command: {line}"
    rest = words[len(name.split()) :]
    try:
        known()[name].make_context(name, rest).close()
    except Exception as wrong:
        said = getattr(wrong, "format_message", None)  # of an error of use: its class is inside of the library
        if said is None:
            raise
        return "" if "does not exist" in said() else f"{line}: {said()}"
    return ""


def wrong_with(words: list[str]) -> str:
    first = words[0]
    if first in ("anypop", ".venv/bin/anypop"):
        return read(words)
    if first.startswith(("script/", ".ci/")):
        return "" if (ROOT / first).is_file() else f"{first} is not there"
    if first in ("python", ".venv/bin/python") and words[1:2] == ["-m"]:
        return "" if importlib.util.find_spec(words[2]) else f"there is no module {words[2]}"
    if first == "curl":
        return _of_the_api(words)
    if first == "source" or first in THEIRS or first.startswith(("/", ".venv/")) or first == first.upper():
        return ""
    return f"{first} is no program that this test knows: add it, if it is one of the reader's machine"


def _of_the_api(words: list[str]) -> str:
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    patterns = [re.sub(r"{[^}]+}", "[^/]+", path) for path in paths]
    asked = [w.partition("?")[0] for w in words if "/v1" in w]
    paths_asked = [re.sub(r"^(\$\w+|https?://[^/]+)", "", a) for a in asked]
    unknown = [a for a in paths_asked if not any(re.fullmatch(p, a) for p in patterns)]
    return f"no operation of the API: {unknown}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_can_be_typed(page: Path) -> None:
    found = [stripped(words) for words in commands(page)]
    assert [said for words in found if words and (said := wrong_with(words))] == []


def test_there_are_commands_and_a_wrong_one_is_found() -> None:
    """Of each kind; and the many that the documents show are really seen."""
    assert sum(1 for page in PAGES for words in commands(page) if stripped(words)) > 90
    for line in (
        "anypop no-such-thing", "anypop probe --no-such-option", "anypop lab cut", "script/nothing",
        ".venv/bin/python -m anypop.nothing", "curl $url/anypop/v1/nothing", "frobnicate --all",
    ):  # fmt: skip
        assert wrong_with(line.split()), line
    assert not wrong_with(["anypop", "probe", "--all"])
