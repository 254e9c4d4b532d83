"""A real guest takes its seed: the test image, started by QEMU by hand, on a tap in a namespace of its own.

In: the test image, an order with its seed. Out: what a neighbour on the link sees of the guest. Nothing else of the
platform runs here.
"""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from machine_images import test_image

from anypop.agent.act.instances.machines.iso import write_iso
from anypop.agent.act.instances.machines.seed import seed_files
from anypop.agent.naming import inside_mac
from anypop.host import ip, netns
from anypop.model.machine import Machine
from anypop.model.volume import Mount
from anypop.model.workload import Container, Port, Protocol
from tests.agent_lab import ANYCAST4, instance
from tests.empty_guests import with_further
from tests.wait import wait_until

pytestmark = pytest.mark.lab
SPACE = f"seed{os.getpid()}"
# a server by UDP on a wildcard, which lets the kernel choose from where it answers
USER_DATA = """#!/bin/sh
echo "$(hostname) was here" >>/www/said
nc.traditional -u -l -p 7 -e /bin/cat </dev/null >/dev/null 2>&1 &
"""
FAR = "203.0.113.9"
BOOT_S = 120  # in emulation, on a machine that does other things


class Guest:
    """The instance, its process, and what it prints on its console."""

    def __init__(self, folder: Path) -> None:
        user_data = b64encode(USER_DATA.encode()).decode()
        machine = Machine(user_data=user_data, ssh_keys=("ssh-ed25519 AAAA someone",))
        udp = Port(name="echo", port=7, protocol=Protocol.UDP)
        box = Container(
            name="vm", image="test", machine=machine, ports=(udp,), mounts=(Mount(claim="kept", path="/www/kept"),)
        )
        self.order = with_further(instance(1, containers=(box,)))
        self.folder, self.image = folder, folder / "image"
        test_image.make(self.image)
        mac = inside_mac(self.order.uid).hex(":")
        write_iso(folder / "seed.iso", seed_files(self.order, box, pop="LHR", mac=mac))
        self.told = json.loads((self.image / "image.json").read_text())
        run: list[str | Path] = [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "qcow2",
            "-b",
            self.image / "disk.qcow2",
        ]
        subprocess.run([*run, folder / "root.qcow2"], check=True)
        with (folder / "kept.raw").open("wb") as disk:
            disk.truncate(32 << 20)
        self._mac = mac
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        disks = (("root", "root.qcow2", "qcow2"), ("seed", "seed.iso", "raw"), ("kept", "kept.raw", "raw"))
        words = ["nsenter", f"--net={netns.path_of(SPACE)}", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg"]
        words += ["-cpu", "max", "-m", "192", "-nodefaults", "-no-user-config", "-display", "none"]
        words += ["-kernel", "image/kernel", "-initrd", "image/initrd", "-append", self.told["cmdline"]]
        for n, mac in enumerate((self._mac, inside_mac(self.order.uid, 1).hex(":"))):
            words += ["-netdev", f"tap,id=n{n},ifname=tap{n},script=no,downscript=no"]
            words += ["-device", f"virtio-net-pci,netdev=n{n},mac={mac}"]
        words += ["-device", "virtio-rng-pci", "-serial", "file:console", "-qmp", "unix:qmp,server=on,wait=off"]
        for serial, file, kind in disks:
            kept = "on" if serial == "seed" else "off"
            words += ["-drive", f"if=none,id={serial},file={file},format={kind},readonly={kept}"]
            words += ["-device", f"virtio-blk-pci,drive={serial},serial={serial}"]
        self.process = subprocess.Popen(words, cwd=self.folder)

    def console(self) -> str:
        return (self.folder / "console").read_text(errors="replace") if (self.folder / "console").exists() else ""

    def wait_for(self, text: str) -> None:
        try:
            wait_until(lambda: text in self.console(), timeout_s=BOOT_S, reason=f"the console says {text!r}")
        except AssertionError as error:
            raise AssertionError(self.console()[-3000:]) from error

    def press_power(self) -> None:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(os.path.relpath(self.folder / "qmp"))
            asked.sendall(b'{"execute":"qmp_capabilities"}{"execute":"system_powerdown"}')
            asked.settimeout(5)
            answer = b""
            while answer.count(b'"return"') < 2:
                answer += asked.recv(4096)
        assert self.process is not None
        assert self.process.wait(BOOT_S) == 0

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Ready(BaseHTTPRequestHandler):
    """Stands for the metadata service."""

    asked: list[str]

    def do_POST(self) -> None:
        self.server.asked.append(f"{self.path} from {self.client_address[0]}")  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[list[str]]:
    """The namespace with the router's end of the link, and a listener at the metadata service's address; what it was
    asked.
    """
    order = with_further(instance(1))
    ip.batch([f"netns add {SPACE}"])
    try:
        lines = [
            "link set lo up",
            f"addr add {FAR}/32 dev lo",
            "tuntap add dev tap0 mode tap",
            "tuntap add dev tap1 mode tap",
            "addr add 169.254.169.254/32 dev tap0",
        ]
        for n, link in enumerate(order.links):
            for address in link.addresses:
                bits = address.private.max_prefixlen - 1
                lines.append(f"addr add {address.gateway}/{bits} dev tap{n}" + (" nodad" if bits > 32 else ""))
            lines.append(f"link set tap{n} up")
        ip.batch(lines, netns=SPACE)
        public = (*order.externals(), *order.anycast)
        far = [f"route add {own} via {order.private(own.version)} dev tap0" for own in public]
        ip.batch(far, netns=SPACE)
        with netns.inside(SPACE):
            server = HTTPServer(("169.254.169.254", 80), Ready)
        server.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.asked  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
    finally:
        ip.batch([f"netns delete {SPACE}"])


def _get(address: object, path: str = "/", *, by: str = "") -> str:
    """`by`: asked from far away, and an answer by another link is none."""
    with netns.inside(SPACE):
        asked = http.client.HTTPConnection(str(address), 80, timeout=20)
        if by:
            asked.sock = socket.socket()
            asked.sock.settimeout(20)
            asked.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, by.encode())
            asked.sock.bind((FAR, 0))
            asked.sock.connect((str(address), 80))
        else:
            asked.connect()
    asked.request("GET", path)
    with asked.getresponse() as answer:
        assert answer.status == 200
        return answer.read().decode()


def _asked_by_udp(address: object) -> bytes:
    """The answer to somebody far away, where it comes from the address that was asked."""
    with netns.inside(SPACE):
        asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asked:
        asked.bind((FAR, 0))
        asked.connect((str(address), 7))
        asked.settimeout(2)
        for _ in range(5):
            asked.send(b"hello")
            with contextlib.suppress(OSError):
                return asked.recv(100)
    return b""


def test_a_guest_is_reached_by_all_its_addresses_and_does_once_what_its_user_said(
    metadata: list[str], tmp_path: Path
) -> None:
    """Private, external and anycast addresses of both families, by UDP on a wildcard too, and by its second interface
    what was asked there; its name; user data that runs once although it starts twice; a volume that is kept; word of
    it to the host; and the power button.
    """
    guest = Guest(tmp_path)
    name = guest.order.name
    try:
        guest.start()
        guest.wait_for("started")
        own = [*guest.order.externals(), *guest.order.anycast, *(a.private for a in guest.order.addresses())]
        assert len(own) == 8
        for address in own:
            told = _get(address)
            assert told.startswith(f"{name}\n"), f"by {address}: {told}"
        gateway = guest.order.links[0].addresses[0].gateway
        assert f"client [::ffff:{gateway}]" in _get(own[0], "/cgi-bin/index.cgi")
        assert _get(own[0], "/said") == f"{name} was here\n"
        assert _get(guest.order.links[1].addresses[0].private, by="tap1").startswith(f"{name}\n")
        assert _asked_by_udp(ANYCAST4) == b"hello"
        assert metadata == [f"/ready from {guest.order.private(4)}"]
        guest.press_power()
        (tmp_path / "console").unlink()
        guest.start()
        guest.wait_for("started")
        assert _get(own[0], "/said") == f"{name} was here\n"
        assert "the disk" not in guest.console()
    finally:
        guest.end()
        print(guest.console())
