"""The state folder: marked, closed to others, and the only thing that is ever removed."""

import os
from pathlib import Path

import pytest

from anypop.lab import folder, platform
from anypop.model.errors import Invalid, WorldError

ARTICLE = Path(__file__).parents[2] / "topologies" / "article.yaml"


def quiet(_: str) -> None:
    """No progress is shown."""


@pytest.mark.parametrize("there", [False, True])
def test_a_new_or_empty_folder_becomes_a_platforms_and_closed_to_others(tmp_path: Path, there: bool) -> None:
    """Whatever the umask was and whoever made it."""
    state = tmp_path / "state"
    if there:
        state.mkdir()
        state.chmod(0o777)
    before = os.umask(0)
    try:
        folder.enter(state)
        with folder.unwritable():
            (state / "made").mkdir()
    finally:
        os.umask(before)
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "made").stat().st_mode & 0o022 == 0
    folder.enter(state)  # once more, now that it is in use
    folder.purge(state)
    assert not state.exists()


def test_a_folder_of_other_things_is_refused_and_never_removed(tmp_path: Path) -> None:
    """Neither taken by `up` nor removed by `--purge`; not even its mode changes."""
    (tmp_path / "letters").mkdir()
    tmp_path.chmod(0o755)
    with pytest.raises(Invalid, match="holds other things"):
        folder.enter(tmp_path)
    with pytest.raises(WorldError, match="left as it is"):
        folder.purge(tmp_path)
    assert (tmp_path / "letters").exists() and tmp_path.stat().st_mode & 0o777 == 0o755
    with pytest.raises(Invalid, match="not a folder"):
        folder.enter(ARTICLE)


def test_a_folder_into_which_somebody_still_writes_keeps_its_mark_until_it_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late writer makes the removal wait; one without an end makes it fail loudly, and then it can be asked again."""
    state = tmp_path / "state"
    folder.enter(state)
    (state / "pops" / "lhr").mkdir(parents=True)
    late, endless, emptied = iter(("one", "two")), [False], folder._emptied

    def written(where: Path) -> set[str]:
        left = emptied(where)
        if endless[0] or next(late, None):
            (where / "pops").mkdir()
            return {"pops has come back"}
        return left

    monkeypatch.setattr(folder, "_emptied", written)
    monkeypatch.setattr(folder, "PATIENCE_S", 0.2)
    endless[0] = True
    with pytest.raises(WorldError, match="pops has come back; what is left is still marked"):
        folder.purge(state)
    endless[0] = False
    folder.enter(state)
    monkeypatch.setattr(folder, "PATIENCE_S", 5.0)
    folder.purge(state)
    assert not state.exists()


@pytest.mark.parametrize("prefix", ["", "UP", "toolong", "../../x", "a/b"])
def test_a_wrong_prefix_is_refused_before_anything_is_written(tmp_path: Path, prefix: str) -> None:
    """It becomes part of paths that `down` removes."""
    with pytest.raises(Invalid, match="1 to 6 of a-z and 0-9"):
        platform.up(ARTICLE, state=tmp_path / "state", prefix=prefix, api_port=0, registry_port=0, progress=quiet)
    assert not (tmp_path / "state").exists()


def test_down_is_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody else hears so, and what to do."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Invalid, match="sudo"):
        platform.down(tmp_path, progress=quiet)
