"""What the maker of images writes down by itself: archives for the kernel, and the order of its modules."""

import stat
import subprocess
from pathlib import Path

from machine_images import cpio, kernel_modules
from machine_images.tree import file, link


def test_an_archive_holds_its_files_with_their_folders_links_and_rights(tmp_path: Path) -> None:
    """Another program unpacks what the kernel is to unpack."""
    tree = {"etc/guest/start": file(b"#!/bin/sh\n", 0o755), "bin/sh": link("busybox"), "init": file(b"abc")}
    subprocess.run(
        ["busybox", "cpio", "-i", "-d", "-m"], cwd=tmp_path, input=cpio.archive(tree), check=True, capture_output=True
    )
    assert (tmp_path / "etc/guest/start").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((tmp_path / "etc/guest/start").stat().st_mode) == 0o755
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")
    assert (tmp_path / "init").read_bytes() == b"abc"


def test_a_module_is_put_in_behind_those_that_it_needs(tmp_path: Path) -> None:
    """What the kernel has built in, or was put in before, is not put in again."""
    needs = {"virtio_net": "virtio_ring,net-failover", "net_failover": "failover", "failover": "", "virtio_ring": ""}
    for name, others in needs.items():
        (tmp_path / f"{name}.ko").write_bytes(b"\x7fELF\0license=GPL\0depends=%s\0name=x\0" % others.encode())
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    found = kernel_modules.in_order(tmp_path, ["virtio_net", "ext4", "failover"])
    assert [path.stem for path in found] == ["virtio_ring", "failover", "net_failover", "virtio_net"]
