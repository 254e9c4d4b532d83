"""The command line's docs: whole, and written from what it really does."""

import subprocess
import sys
from pathlib import Path

from anypop.cli import reference

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_every_command_and_option_is_in_the_docs() -> None:
    """Each command has a heading, each argument and option stands in the text."""
    missing = [name for name, _ in reference.commands() if f"### `{name}`" not in DOCS]
    for name, found in reference.commands():
        missing += [
            f"{name} {shown}"
            for shown, _ in reference.options(found)
            if f"`{shown.replace('|', chr(92) + '|')}`" not in DOCS
        ]
    assert missing == []


def test_the_reference_in_the_docs_is_the_one_that_the_commands_write_today() -> None:
    """A changed help text shows as a difference here; the first line of the reference says how to write it anew."""
    assert reference.MARK + DOCS.partition(reference.MARK)[2] == reference.markdown()


def test_every_option_has_a_help_text_and_every_command_an_example() -> None:
    """Nothing is left for the reader to guess."""
    silent = [
        f"{name} {shown}"
        for name, found in reference.commands()
        for shown, text in reference.options(found)
        if not text
    ]
    silent += [name for name, found in reference.commands() if "Examples:" not in (found.help or "")]
    assert silent == []


def test_every_command_line_of_the_tutorial_is_one_that_exists() -> None:
    """Its commands are commands, its options are theirs."""
    known = dict(reference.commands())
    text = (Path(__file__).parents[2] / "docs" / "catchment.md").read_text()
    lines = [
        part.strip()
        for line in text.splitlines()
        if line.startswith("$ ")
        for part in line.removeprefix("$ ").split(" | ")
    ]
    assert len(lines) > 8
    for line in lines:
        name = max((name for name in known if line.startswith(f"{name} ") or line == name), key=len, default="")
        assert name, line
        options = {
            option for parameter in known[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word for word in line.split() if word.startswith("-") and word != "-"} <= options, line


def test_commands_stand_in_the_same_order_whichever_file_of_theirs_is_imported_first() -> None:
    """The reference is written in a process that has imported nothing else; others have."""
    said = "import anypop.cli.timeline, sys; from anypop.cli import reference; sys.stdout.write(reference.markdown())"
    done = subprocess.run([sys.executable, "-c", said], check=True, capture_output=True, text=True)
    assert reference.MARK + DOCS.partition(reference.MARK)[2] == done.stdout
