"""The tree of commands: its help at once, no command without its words, words completed, manual pages."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from anypop.cli import completion, manual, reference, tree
from anypop.cli.main import whole
from tests.cli_calls import Caller
from tests.fake_control import FakeControl
from tests.unit.test_cli_commands import CREATE

HELP = "import sys; sys.argv = ['anypop', '--help']; from anypop.cli.entry import main; main()"


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def call(control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(tmp_path, control.transport, monkeypatch)


def spent(code: str) -> float:
    """Seconds of processor that Python takes for it."""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return used.ru_utime + used.ru_stime


def test_help_costs_less_than_three_times_a_bare_python() -> None:
    """Of processor time, the least of several turns: a machine that does other things too only adds to it."""
    turns = [(spent("pass"), spent(HELP)) for _ in range(12)]
    bare, ours = (min(column) for column in zip(*turns, strict=True))
    assert ours < 3 * bare, (ours, bare)


def test_help_imports_neither_typer_nor_the_commands() -> None:
    code = f"{HELP}\nprint(sorted(m for m in sys.modules if m == 'typer' or m.startswith('anypop.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['anypop.cli', 'anypop.cli.entry', 'anypop.cli.tree']"


def test_a_command_imports_no_other() -> None:
    code = "import sys; from anypop.cli.main import run; run(['pops', '--help'])\n"
    code += (
        "print([m for m in ('workloads', 'labs', 'announce', 'compose', 'probes') if f'anypop.cli.{m}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_help_has_every_command_and_fits(width: int) -> None:
    """No line is longer than the place, but an example that is to be copied; every option of the root stands in it."""
    text = tree.help_text(width)
    examples = {example for example, _ in tree.EXAMPLES}
    least = 2 + 28 + 20  # an example beside which there is room for words
    assert all(len(line) <= max(width, least) or line.strip() in examples for line in text.splitlines())
    for name in tree.names():
        assert f"\n  {name.ljust(12)}  " in text
    assert set(tree.names()) == set(whole().commands)
    words = set(re.findall(r"-{1,2}[a-z]+", text))
    root = {name for parameter in whole().params for name in parameter.opts}
    assert root <= words | {"--help"}


def test_every_command_has_an_output_for_programs() -> None:
    """`-o json`, or that of its group; and nothing that is hidden is in the help."""
    for name, found in reference.commands():
        assert "-o" in {option for parameter in found.params for option in parameter.opts}, name
        assert not found.hidden, name


@pytest.mark.parametrize("ask", ["-h", "--help"])
def test_h_is_help_everywhere(call: Caller, ask: str) -> None:
    """Of the root, of a group, of a command."""
    assert "Things of any kind:" in call(ask).out
    assert "set-image" in call("workload", ask).out
    assert "--merge" not in call("get", ask).out and "--workload" in call("get", ask).out


def test_a_mistyped_command_is_answered_with_the_nearest(call: Caller) -> None:
    for typed, meant in (("worklod", "workload"), ("describ", "describe")):
        ran = call(typed)
        assert ran.code == 2 and f"'{meant}'" in ran.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["des"], ["describe"]),
        (["-o", "json", "workload", "set"], ["set-image"]),
        (["workload", "create", "--any"], ["--anycast"]),
        (["--st"], ["--state", "--stack"]),
        (["get", "pop"], ["pops", "pop"]),
        (["get", "workloads", "w"], ["web"]),
        (["describe", "instances", "web-eu1-a"], ["web-eu1-ams-0", "web-eu1-ams-1"]),
        (["logs", "-f", "we"], ["web-eu1", "web-na1"]),
        (["wait", "w"], ["web"]),
        (["wait", "--for", "run"], ["running"]),
        (["get", "-o", "y"], ["yaml"]),
        (["apply", "-f", ""], [completion.FILES]),
        (["completion", "z"], ["zsh"]),
        (["nothing", "of", "this"], []),
    ],
    ids=" ".join,
)
def test_words_are_completed(call: Caller, words: list[str], expected: list[str]) -> None:
    """Commands, options, kinds, names of what there is, values, files."""
    call(*CREATE)
    found = [line.split("\t")[0] for line in call("_complete", *words).out.splitlines()]
    if expected == ["web-eu1", "web-na1"]:
        assert {name.rpartition("-")[0].rpartition("-")[0] for name in found if name != "web"} == set(expected)
    else:
        assert found == expected


def test_where_control_is_away_nothing_is_completed_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Caller(tmp_path, None, monkeypatch)
    (tmp_path / "client.json").unlink()
    ran = call("_complete", "get", "workload", "")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_bash_completes_by_the_script(call: Caller, tmp_path: Path) -> None:
    """The real shell, with the script that is printed."""
    (tmp_path / "anypop").write_text(f'#!/bin/sh\nexec {sys.executable} -m anypop.cli.entry "$@"\n')
    (tmp_path / "anypop").chmod(0o755)
    script = call("completion", "bash").out
    lines = f"{script}\nCOMP_WORDS=(anypop workload set); COMP_CWORD=2; _anypop; echo ${{COMPREPLY[@]}}"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "set-image"
    for shell in ("zsh", "fish"):
        assert "_complete" in call("completion", shell).out
    assert call("completion", "tcsh").code == 2


def test_manual_pages_are_of_every_command(call: Caller, tmp_path: Path) -> None:
    """Each with its options and examples; no line that roff would take for a request of its own."""
    ran = call("man", str(tmp_path / "man"))
    assert ran.code == 0
    pages = {path.name: path.read_text() for path in (tmp_path / "man").iterdir()}
    assert {"anypop.1", "anypop-get.1", "anypop-workload-create.1"} <= set(pages)
    assert "anypop quote" in pages["anypop-quote.1"].replace("\\-", "-") and ".SH EXAMPLES" in pages["anypop-quote.1"]
    requests = {"TH", "SH", "B", "TP", "PP", "nf", "fi"}
    for name, text in pages.items():
        for line in text.splitlines():
            assert not line.startswith((".", "'")) or line[1:].split()[0] in requests, (name, line)
    assert pages == manual.pages()
