"""A whole Debian with cloud-init, as somebody would run it: systemd, SSH, nft; by debootstrap, from a mirror.

In: a folder, a release and a mirror. Out: in the folder `kernel`, `initrd`, `disk.qcow2` and `image.json`, as
`test_image` leaves them. The disk is one file system without a boot loader: the kernel is started by itself. Root runs
it, since programs of the packages are run in their new system. Nothing of one system is in the image: keys of SSH, the
machine id and the host name are made when a guest first starts.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from anypop.model.machine import Board, Firmware
from machine_images import described

# What the boot hook of a seed calls: ip, nft, mkfs.ext4 and resize2fs, curl. The agent holds file systems still while
# a snapshot is taken; systemd-logind hears the power button by D-Bus.
_PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "zstd", "systemd-sysv", "udev", "dbus", "libpam-systemd"),
    *("cloud-init", "netplan.io", "openssh-server", "sudo", "iproute2", "iputils-ping", "nftables", "curl"),
    *("e2fsprogs", "qemu-guest-agent", "ca-certificates", "python3", "less", "vim-tiny", "procps"),
)
# The disk is known by the serial number that its host gives it: one that is mended by the same image has two alike.
_ROOT = "/dev/disk/by-id/virtio-root"
_CMDLINE = f"root={_ROOT} ro console=tty0 console=ttyS0 net.ifnames=0"
_WHILE_INSTALLING = {
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",  # nothing that is installed is started
    # of the kernel's modules those that find the root disk; the others come from there
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_mmio\nvirtio_blk\next4\ncrc32c_generic\n",
    "etc/initramfs-tools/conf.d/anypop": "MODULES=list\n",
}
_FILES = {
    "etc/fstab": f"{_ROOT} / ext4 errors=remount-ro 0 1\n",
    "etc/hostname": "localhost\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    # nobody else is asked, so none is waited for; nobody changes the disk's partitions, since it has none
    "etc/cloud/cloud.cfg.d/90-anypop.cfg": "datasource_list: [NoCloud, None]\nlocale: C.UTF-8\n"
    "growpart: {mode: 'off'}\n",
    "etc/machine-id": "",
    "etc/resolv.conf": "",
}
_LEFT_OUT = ("var/lib/apt/lists", "var/cache/apt", "var/log", "tmp", "run")


def make(out: Path, *, suite: str, mirror: str, size: int) -> str:
    """Gives the image's id. `size`: of its disk, in bytes; a file system in it grows at the first start."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as work:
        root = Path(work, "root")
        subprocess.run(["debootstrap", "--variant=minbase", suite, root, mirror], check=True)
        _write(root, _WHILE_INSTALLING)
        shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
        # not by debootstrap, which does not always find an order in which all of these can be configured
        _inside(root, "apt-get", "-q=2", "-y", "--no-install-recommends", "install", *_PACKAGES)
        (root / "usr/sbin/policy-rc.d").unlink()
        _write(root, _FILES)
        for key in (root / "etc/ssh").glob("ssh_host_*"):
            key.unlink()
        for name in _LEFT_OUT:
            for left in (root / name).iterdir():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        (kernel,), (initrd,) = (list((root / "boot").glob(f"{name}-*")) for name in ("vmlinuz", "initrd.img"))
        shutil.copyfile(kernel, out / "kernel")
        shutil.copyfile(initrd, out / "initrd")
        _write_disk(root, Path(work, "disk.raw"), out / "disk.qcow2", size)
    return described.describe(
        out, reference=f"debian:{suite}", disk_bytes=size, firmware=Firmware.KERNEL, board=Board.Q35, cmdline=_CMDLINE
    )


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)


def _inside(root: Path, *words: str) -> None:
    """Run a program of the new system. What it needs mounted is so for itself alone."""
    inside = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    subprocess.run(["unshare", "--mount", "--", "sh", "-c", inside, root, *words], check=True, env=environment)


def _write_disk(root: Path, raw: Path, disk: Path, size: int) -> None:
    with raw.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, raw], check=True)
    subprocess.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", "-c", raw, disk], check=True)


def own_mirror() -> tuple[str, str]:
    """From where this machine has its Debian, and which one that is."""
    told = Path("/etc/os-release").read_text()
    fields = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    suite = fields.get("VERSION_CODENAME", "").strip('"')
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages", "Component: main"]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    found = [uri for uri, release in (line.split() for line in lines) if release == suite]
    if fields.get("ID") != "debian" or not found:
        raise SystemExit("this machine has no Debian of its own: say --suite and --mirror")
    return suite, found[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/make-debian-image", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where its parts are put")
    parser.add_argument("--suite", help="the release, bookworm say (default: this machine's)")
    parser.add_argument("--mirror", help="from where its packages come (default: from where this machine's do)")
    parser.add_argument("--size", type=int, default=4, metavar="GIB", help="of its disk (default: 4)")
    asked = parser.parse_args()
    own = own_mirror() if asked.suite is None or asked.mirror is None else ("", "")
    suite, mirror = asked.suite or own[0], asked.mirror or own[1]
    print(make(asked.out, suite=suite, mirror=mirror, size=asked.size << 30))


if __name__ == "__main__":
    main()
