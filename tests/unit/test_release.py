"""`script/release`, tried in a clone of a small repository: our pyproject.toml and script, a changelog, and checks that
answer at once.

The origin beside the clone shows that nothing is pushed.
"""

import datetime
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
CHANGELOG = "# Changelog\n\n## Unreleased\n\n- A thing.\n\n## 0.1.0, 2026-11-24\n\n- The first.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A clone and where it came from."""

    origin: Path
    here: Path
    home: Path

    def git(self, *words: str, at: Path | None = None) -> str:
        command = ["git", "-C", str(at or self.here), *words]
        return subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def release(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.here / "script" / "release"), *words]
        return subprocess.run(command, env=self._environment(), check=False, capture_output=True, text=True, timeout=60)

    def write(self, **files: str) -> None:
        """Files of the clone, committed. `check` is the script of that name."""
        for name, text in files.items():
            path = (
                self.here / {"check": "script/check", "changelog": "CHANGELOG.md", "pyproject": "pyproject.toml"}[name]
            )
            path.write_text(text)
            path.chmod(0o755 if name == "check" else 0o644)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "wanted")

    def state(self) -> tuple[str, str, str]:
        """Commit, tags, and what is not committed."""
        return self.git("rev-parse", "HEAD"), self.git("tag"), self.git("status", "--porcelain")

    def _environment(self) -> dict[str, str]:
        """Nobody's own git settings, and none of a git that runs these tests from a hook."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        author = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
        committer = {name.replace("AUTHOR", "COMMITTER"): value for name, value in author.items()}
        person = {**author, **committer}
        return {**kept, **person, "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    made = Clone(origin=tmp_path / "origin", here=tmp_path / "here", home=tmp_path)
    made.git("init", "--quiet", "--bare", "--initial-branch", "main", str(made.origin), at=tmp_path)
    made.git("clone", "--quiet", str(made.origin), str(made.here), at=tmp_path)
    made.git("checkout", "--quiet", "-B", "main")
    (made.here / "script").mkdir()
    shutil.copy(ROOT / "script" / "release", made.here / "script" / "release")
    made.write(check="#!/bin/sh\n", changelog=CHANGELOG, pyproject=PYPROJECT)
    made.git("push", "--quiet", "origin", "main")
    return made


def test_a_dry_run_says_everything_and_changes_nothing(clone: Clone) -> None:
    """Both differences, the commit and the tag; the checks are named and not run."""
    clone.write(check='#!/bin/sh\ntouch "$(dirname "$0")/../ran"\n')
    before = clone.state()
    ran = clone.release("--dry-run", "9.0.0")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert {"would run: script/check", "would commit: release: 9.0.0", "would tag: v9.0.0"} <= set(lines)
    assert any(line.startswith('+version = "9.0.0"') for line in lines)
    assert f"+## 9.0.0, {datetime.datetime.now(datetime.UTC):%F}" in lines
    assert clone.state() == before and not (clone.here / "ran").exists()


def test_a_release_is_one_commit_and_a_tag_and_is_not_pushed(clone: Clone) -> None:
    """Unreleased stays as an empty heading; only the version's line of pyproject.toml changes."""
    theirs = clone.git("for-each-ref", at=clone.origin)
    ran = clone.release("9.0.0")
    assert ran.returncode == 0, ran.stderr
    assert clone.git("log", "-2", "--format=%s") == "release: 9.0.0\nwanted\n"
    assert clone.git("cat-file", "-t", "v9.0.0") == "tag\n"
    assert clone.git("rev-parse", "v9.0.0^{commit}") == clone.git("rev-parse", "HEAD")
    today = f"{datetime.datetime.now(datetime.UTC):%F}"
    assert (clone.here / "CHANGELOG.md").read_text() == CHANGELOG.replace(
        "## Unreleased\n", f"## Unreleased\n\n## 9.0.0, {today}\n"
    )
    assert clone.git("diff", "--numstat", "HEAD~1", "--", "pyproject.toml") == "1\t1\tpyproject.toml\n"
    assert clone.state()[2] == ""
    assert clone.git("for-each-ref", at=clone.origin) == theirs


def test_the_version_that_is_being_worked_on_can_be_released(clone: Clone) -> None:
    """pyproject.toml has it already; only the changelog moves."""
    clone.write(pyproject='[project]\nversion = "9.0.0"\n')
    assert clone.release("9.0.0").returncode == 0
    assert clone.git("diff", "--name-only", "HEAD~1") == "CHANGELOG.md\n"


def test_red_checks_stop_a_release(clone: Clone) -> None:
    """Nothing is committed, tagged or left in the tree."""
    clone.write(check="#!/bin/sh\nexit 1\n")
    before = clone.state()
    assert clone.release("9.0.0").returncode == 1
    assert clone.state() == before


def test_a_commit_that_is_refused_leaves_the_tree_clean(clone: Clone) -> None:
    """By a hook, say: both files are as they were."""
    hook = clone.here / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    before = clone.state()
    assert clone.release("9.0.0").returncode != 0
    assert clone.state() == before


@pytest.mark.parametrize(
    "words", [[], ["--dry-run"], ["v9.0.0"], ["9.0"], ["9.0.0", "9.0.1"], ["09.0.0"], ["--push", "9.0.0"]]
)
def test_a_version_is_three_numbers(clone: Clone, words: list[str]) -> None:
    """Exit code 2 and how to say it."""
    ran = clone.release(*words)
    assert (ran.returncode, ran.stdout) == (2, "") and "script/release [--dry-run] 1.2.3" in ran.stderr


@pytest.mark.parametrize("words", [["--dry-run"], []])
def test_what_stands_in_the_way_is_said_all_at_once(clone: Clone, words: list[str]) -> None:
    """A dirty tree, an older version, a tag and an entry that are there, nothing to release; the dry run refuses it
    too.
    """
    clone.write(changelog="# Changelog\n\n## Unreleased\n\n## 0.0.1, 2026-01-01\n\n- The first.\n")
    clone.git("tag", "v0.0.1")
    (clone.here / "new").touch()
    before = clone.state()
    ran = clone.release(*words, "0.0.1")
    assert (ran.returncode, ran.stdout) == (1, "")
    told = ran.stderr.splitlines()
    assert len(told) == 5
    for expected in ("not clean", "is older than", "a tag v0.0.1", "has 0.0.1 already", "lists nothing"):
        assert sum(expected in line for line in told) == 1, expected
    assert clone.state() == before


def test_our_own_changelog_can_be_released() -> None:
    """Its headings are the ones that the script looks for, the newest first."""
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0] == "## Unreleased"
    for heading in headings[1:]:
        version, _, date = heading.removeprefix("## ").partition(", ")
        assert len(version.split(".")) == 3
        assert datetime.date.fromisoformat(date) <= datetime.datetime.now(datetime.UTC).date()
