"""A disk with one ext4 file system, as qcow2.

In: what it holds. Out: the file. The same bytes each time: times, numbers and seeds that e2fsprogs would take from the
clock and the kernel are given. Root need not run it.
"""

import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from machine_images.tree import Entry

_UUID = "5a1c0a0e-6f0b-4a52-9c3e-5d8f6d3b1a58"
_TIME = "1700000000"  # 2023-11-14; 0 would mean "now" to mke2fs


def write(path: Path, tree: Mapping[str, Entry], *, label: str, size: int, work: Path) -> None:
    """`size`: of the disk, in bytes. `work`: an empty folder for what is made on the way."""
    raw, said = work / "disk.raw", []
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": _TIME, "SOURCE_DATE_EPOCH": _TIME}
    fixed = f"hash_seed={_UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    with raw.open("wb") as file:
        file.truncate(size)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-L", label, "-U", _UUID, "-m", "0", "-E", fixed, raw],
        check=True,
        env=environment,
    )
    for n, (path_in, entry) in enumerate(sorted(tree.items())):
        kind = stat.S_IFMT(entry.mode)
        if kind == stat.S_IFDIR:
            said.append(f"mkdir {path_in}")
        elif kind == stat.S_IFLNK:
            said.append(f"symlink {path_in} {entry.content.decode()}")
        else:
            content = work / f"file-{n}"
            content.write_bytes(entry.content)
            said.append(f"write {content} {path_in}")
        fields = {
            "mode": f"0{entry.mode:o}",
            "uid": 0,
            "gid": 0,
            **dict.fromkeys(("atime", "ctime", "mtime", "crtime"), f"@{_TIME}"),
        }
        fields |= dict.fromkeys(("atime_extra", "ctime_extra", "mtime_extra", "crtime_extra"), 0)
        said += [f"set_inode_field {path_in} {name} {value}" for name, value in fields.items()]
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", raw],
        input="\n".join(said) + "\n",
        check=True,
        env=environment,
        capture_output=True,
        text=True,
    )
    if complaints := [line for line in done.stderr.splitlines()[1:] if line.strip()]:  # its exit code tells nothing
        raise SystemExit("\n".join(complaints[:3]))
    subprocess.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", "-c", raw, path], check=True)
