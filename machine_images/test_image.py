"""A small image that boots in seconds: Debian's cloud kernel, and busybox with a few scripts.

In: a folder. Out: in it `kernel`, `initrd`, `disk.qcow2` and `image.json`. The kernel is started by itself; its first
root has the modules and goes on from the disk, which keeps what a guest writes. What the guest does: see `test_guest`.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from anypop.model.machine import Board, Firmware
from machine_images import cpio, debian, described, ext4, kernel_modules
from machine_images.tree import Entry, file, folder, link

_KERNEL = "linux-image-cloud-amd64"
_MODULES = (
    *("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "virtio_balloon", "virtio_console"),
    *("isofs", "button", "evdev"),
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
    kernel = debian.unpacked(debian.needed_by(_KERNEL, "linux-image-"))
    busybox = (debian.unpacked("busybox-static") / "bin/busybox").read_bytes()
    user_space = _user_space(busybox)
    (modules,) = (kernel / "lib/modules").iterdir()
    (boot,) = (kernel / "boot").glob("vmlinuz-*")
    shutil.copyfile(boot, out / "kernel")
    (out / "initrd").write_bytes(cpio.archive(user_space | _first(modules)))
    with tempfile.TemporaryDirectory() as work:
        ext4.write(out / "disk.qcow2", user_space, label="anypop-root", size=_DISK, work=Path(work))
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
