"""The hooks of .pre-commit-config.yaml: they fetch nothing, and what they call is there."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PARTS = {"format", "lint", "types", "contracts", "unit"}


def test_hooks_are_local_and_call_parts_of_the_checks() -> None:
    """Together they are the whole of script/check, which knows each of their words."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    called: set[str] = set()
    for hook in repository["hooks"]:
        program, *parts = hook["entry"].split()
        assert (program, hook["language"], hook["pass_filenames"]) == ("script/check", "system", False)
        called |= set(parts)
    assert called == PARTS
    text = (ROOT / "script" / "check").read_text()
    assert all(f"\n{part}() {{" in text for part in PARTS)
