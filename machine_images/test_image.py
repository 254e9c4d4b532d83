"""A small image that boots in seconds: Debian's cloud kernel, and busybox with a few scripts.

In: a folder. Out: in it `kernel`, `initrd`, `disk.qcow2` and `image.json`. The kernel is started by itself; its first
root has the modules and goes on from the disk, which keeps what a guest writes. What the guest does: see `test_guest`.
"""

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from anypop.model.machine import Board, Firmware
from machine_images import cpio, debian, described, ext4, kernel_modules
from machine_images.tree import Entry, file, folder, link

_KERNEL = "linux-image-cloud-amd64"
_MODULES = (
    *("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "virtio_balloon", "virtio_console"),
    *("isofs", "button", "evdev"),
    *("nf_tables", "nft_chain_nat", "nft_nat", "nft_socket"),
)
# `nft`, which the boot hook of a seed calls, and a server by UDP that lets the kernel choose from where it answers
_PROGRAMS = {"nftables": ("usr/sbin/nft",), "netcat-traditional": ("bin/nc.traditional",)}
_LIBRARIES = (
    *("libnftables1", "libnftnl11", "libmnl0", "libxtables12", "libjansson4", "libgmp10"),
    *("libedit2", "libtinfo6", "libbsd0", "libmd0", "libc6"),
)
_DISK = 256 << 20
# The last ones save time, above all where the processor is emulated: they leave out what real machines need.
_CMDLINE = (
    "console=ttyS0 reboot=t panic=-1 quiet rdinit=/init "
    "mitigations=off tsc=reliable no_timer_check noreplace-smp cryptomgr.notests random.trust_cpu=on"
)
_SCRIPTS = Path(__file__).parent / "test_guest"
_APPLETS = (
    "acpid ash awk base64 basename cat chmod chown cp cut date dd df dmesg du echo env expr false find findfs free"
    " getty grep gzip gunzip head hexdump hostname httpd id init insmod ip kill ln login ls lsmod mkdir mke2fs mkfifo"
    " mknod mktemp more mount mv nc netstat nslookup passwd pidof ping ping6 poweroff printf ps pwd readlink reboot rm"
    " rmdir sed seq setsid sh sha256sum sleep sort stat stty switch_root sync sysctl tail tar tee test time timeout"
    " top touch tr traceroute traceroute6 true umount uname uniq uptime vi wc wget which xargs"
)


def make(out: Path) -> str:
    """Gives the image's id."""
    out.mkdir(parents=True, exist_ok=True)
    kernel = debian.needed_by(_KERNEL, "linux-image-")
    packages = debian.unpacked(kernel, "busybox-static", *_PROGRAMS, *_LIBRARIES)
    user_space = _user_space((packages["busybox-static"] / "bin/busybox").read_bytes())
    (modules,) = (packages[kernel] / "lib/modules").iterdir()
    (boot,) = (packages[kernel] / "boot").glob("vmlinuz-*")
    shutil.copyfile(boot, out / "kernel")
    (out / "initrd").write_bytes(cpio.archive(user_space | _first(modules)))
    with tempfile.TemporaryDirectory() as work:
        ext4.write(
            out / "disk.qcow2", user_space | _programs(packages), label="anypop-root", size=_DISK, work=Path(work)
        )
    return described.describe(
        out, reference="test:1", disk_bytes=_DISK, firmware=Firmware.KERNEL, board=Board.Q35, cmdline=_CMDLINE
    )


def _user_space(busybox: bytes) -> dict[str, Entry]:
    names = ("dev", "proc", "sys", "run", "tmp", "root", "etc", "etc/guest", "etc/acpi", "etc/acpi/PWRF", "bin", "sbin")
    tree = {name: folder() for name in (*names, "var", "var/lib", "var/log", "www", "www/cgi-bin")}
    tree |= {"var/run": link("/run"), "bin/busybox": file(busybox, 0o755), "sbin/init": link("/bin/busybox")}
    tree |= {f"bin/{name}": link("busybox") for name in _APPLETS.split()}
    tree |= {f"etc/guest/{name}": _script(name) for name in ("start", "told", "seed", "network", "console")}
    return tree | {
        "etc/inittab": _script("inittab"),
        "etc/acpi/PWRF/00000080": _script("power"),
        "www/cgi-bin/index.cgi": _script("index.cgi"),
        "www/healthz": file(b"ok\n"),
        "etc/passwd": file(b"root:x:0:0:root:/root:/bin/sh\n"),
        "etc/group": file(b"root:x:0:\n"),
        "etc/shadow": file(b"root:*:19000:0:99999:7:::\n", 0o600),
        "etc/hosts": file(b"127.0.0.1\tlocalhost\n::1\tlocalhost\n"),
        "etc/os-release": file(b'ID=anypop-test\nPRETTY_NAME="Anypop test guest"\n'),
    }


def _programs(packages: Mapping[str, Path]) -> dict[str, Entry]:
    """Those that need libraries; on the disk alone, so that the kernel has less to unpack."""
    tree = {name: folder() for name in ("lib", "lib64")}
    for package, paths in _PROGRAMS.items():
        tree |= {f"bin/{Path(path).name}": file((packages[package] / path).read_bytes(), 0o755) for path in paths}
    for package in _LIBRARIES:
        for found in sorted(packages[package].glob("**/x86_64-linux-gnu/lib*.so.*")):
            if not found.is_dir():
                tree[f"lib/{found.name}"] = (
                    link(str(found.readlink())) if found.is_symlink() else file(found.read_bytes())
                )
    loader = next(packages["libc6"].glob("lib/**/ld-linux-x86-64.so.2"))
    return tree | {"lib64/ld-linux-x86-64.so.2": file(loader.read_bytes(), 0o755)}


def _first(modules: Path) -> dict[str, Entry]:
    wanted = kernel_modules.in_order(modules, _MODULES)
    tree = {f"modules/{path.name}": file(path.read_bytes()) for path in wanted}
    order = "".join(f"{path.name}\n" for path in wanted)
    return {"init": _script("init"), "modules/order": file(order.encode())} | tree


def _script(name: str) -> Entry:
    return file((_SCRIPTS / name).read_bytes(), 0o644 if name in ("told", "inittab") else 0o755)


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/make-test-image", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the parts of the image are put"
    )
    print(make(parser.parse_args().out))


if __name__ == "__main__":
    main()
