"""What `-f` names: files, folders, several documents, and everything that is wrong with them told at once."""

from pathlib import Path

import pytest

from anypop.cli.compose import Wishes
from anypop.cli.failure import Failure
from anypop.cli.manifests import read


def test_files_folders_and_documents_in_their_order(tmp_path: Path) -> None:
    """A folder's own files alone, by name; what was read from control comes without what is control's."""
    (tmp_path / "b.yaml").write_text("slug: one\n---\nworkload: {name: Two Words, id: x, status: ACTIVE}\n---\n")
    (tmp_path / "c.json").write_text('[{"slug": "three"}, {"slug": "four"}]')
    (tmp_path / "a.yml").write_text("slug: zero\n")
    (tmp_path / "notes.txt").write_text("slug: never\n")
    (tmp_path / ".hidden.yaml").write_text("slug: never\n")
    found = read([tmp_path], Wishes())
    assert [one.slug for one in found] == ["zero", "one", "two-words", "three", "four"]
    assert found[2].document == {"name": "Two Words", "slug": "two-words"}
    assert found[1].where == f"{tmp_path / 'b.yaml'} (document 1)"


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text("slug: same\n---\n5\n")
    (tmp_path / "c.yaml").write_text("slug: same\n")
    (tmp_path / "d.yaml").write_text("networkPolicy: {name: door}\n")
    (tmp_path / "e.yaml").write_text("spec: {}\n")
    with pytest.raises(Failure) as refused:
        read([tmp_path, tmp_path / "nowhere.yaml"], Wishes())
    told = "\n".join(refused.value.lines())
    assert refused.value.code == 2 and len(refused.value.problems) == 6
    parts = ["a.yaml", "not YAML", "b.yaml (document 2) holds no workload", "c.yaml: same", "anypop policy apply -f"]
    for part in (*parts, "e.yaml: the workload has neither a name nor a slug", "nowhere.yaml cannot be read"):
        assert part in told, told


def test_one_name_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("slug: same\n")
    with pytest.raises(Failure) as refused:
        read([tmp_path], Wishes())
    assert f"{tmp_path / 'b.yaml'}: same stands in {tmp_path / 'a.yaml'}, too" in "\n".join(refused.value.lines())


def test_a_folder_without_workloads_is_refused(tmp_path: Path) -> None:
    """Pruning by it would take everything."""
    with pytest.raises(Failure) as refused:
        read([tmp_path], Wishes())
    assert "no workload in it" in refused.value.message
