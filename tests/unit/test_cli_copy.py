"""What comes from an instance by `cp` is written below the place that was named, and nowhere else."""

import io
import tarfile
from pathlib import Path

import pytest

from anypop.cli.copying import _remote, unpack
from anypop.cli.failure import Failure
from anypop.cli.forwarding import Pair, pair_of


def archive(*members: tuple[str, bytes, str]) -> tarfile.TarFile:
    """(name, type, content or where a link leads)."""
    held = io.BytesIO()
    with tarfile.open(mode="w", fileobj=held) as made:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o6755
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                made.addfile(member, io.BytesIO(content.encode()))
            else:
                member.linkname = content
                made.addfile(member)
    return tarfile.open(mode="r|", fileobj=io.BytesIO(held.getvalue()))


def file(name: str, content: str = "theirs") -> tuple[str, bytes, str]:
    return name, tarfile.REGTYPE, content


def test_files_and_folders_come_under_the_name_that_was_given(tmp_path: Path) -> None:
    with archive(("log", tarfile.DIRTYPE, ""), file("log/a"), file("log/deep/b", "B")) as found:
        assert unpack(found, "log", tmp_path, "mine") == (2, [])
    assert (tmp_path / "mine" / "deep" / "b").read_text() == "B"
    assert (tmp_path / "mine" / "a").stat().st_mode & 0o7000 == 0  # nothing becomes set-uid here


@pytest.mark.parametrize(
    "member",
    [
        file("../evil"),
        file("/etc/evil"),
        file("log/../../evil"),
        file("other/evil"),
        ("log/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("log/link", tarfile.LNKTYPE, "../../etc/passwd"),
        ("log/pipe", tarfile.FIFOTYPE, ""),
        ("log/disk", tarfile.BLKTYPE, ""),
    ],
    ids=lambda member: f"{member[0]} {member[1].decode()}",
)
def test_what_leads_outside_is_left_out_and_told(tmp_path: Path, member: tuple[str, bytes, str]) -> None:
    (tmp_path / "in").mkdir()
    with archive(member, file("log/good")) as found:
        count, left_out = unpack(found, "log", tmp_path / "in", "log")
    assert (count, [text.split(": ")[0] for text in left_out]) == (1, [member[0]])
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["in", "in/log", "in/log/good"]


def test_a_link_that_stands_or_comes_before_is_not_followed(tmp_path: Path) -> None:
    """Neither one of the archive, which is never made, nor one that is here already."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    (inside / "log").mkdir(parents=True)
    (outside / "kept").write_text("ours")
    (inside / "log" / "here").symlink_to(outside)
    (inside / "log" / "file").symlink_to(outside / "kept")
    members = [("log/there", tarfile.SYMTYPE, str(outside)), file("log/there/a"), file("log/here/a"), file("log/file")]
    with archive(*members) as found:
        count, left_out = unpack(found, "log", inside, "log")
    assert [text.split(": ")[0] for text in left_out] == ["log/there", "log/here/a", "log/file"]
    assert count == 1 and (inside / "log" / "there" / "a").read_text() == "theirs"
    assert [p.name for p in outside.iterdir()] == ["kept"] and (outside / "kept").read_text() == "ours"


def test_places_are_told_from_paths() -> None:
    assert _remote("web-eu1-lhr-0:/etc/x") == ("web-eu1-lhr-0", "/etc/x")
    assert [_remote(text) for text in ("./a:b", "/a:b", "plain", "a/b:c")] == [None] * 4
    with pytest.raises(Failure):
        _remote("web-0:")


def test_pairs_of_ports() -> None:
    assert [pair_of(text) for text in ("8080:80", "80", ":80")] == [
        Pair(local=8080, remote=80), Pair(local=80, remote=80), Pair(local=0, remote=80),
    ]  # fmt: skip
    for wrong in ("", "0", "80:", "80:0", "a:1", "1:65536", "-1", "1:2:3"):
        with pytest.raises(Failure):
            pair_of(wrong)
