"""The metadata service in an instance's real namespace: asked through its bridge, by who sits where a guest does."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.agent.guests import files
from anypop.agent.guests.wanted import Guest
from anypop.agent.guests.word import Known
from anypop.host import netns, process
from tests.wait import wait_until

UID, SEED = "u-1", {"meta-data": b"instance-id: i-1\n", "user-data": b"#cloud-config\n", "vendor-data": b""}
PLACE, GUEST = f"md{os.getpid()}p", f"md{os.getpid()}g"
ASK = "curl -sS -m 2 -A Cloud-Init/22.4 http://169.254.169.254"


def make() -> None:
    """A namespace as that of an instance with a machine: a bridge that has the address, and the guest's port."""
    process.run(["ip", "netns", "add", PLACE])
    process.run(["ip", "netns", "add", GUEST])
    lines = f"""
        link add br0 type bridge
        address add 169.254.169.254/32 dev br0
        link set br0 up
        link add tap0 type veth peer name eth0 netns {GUEST}
        link set tap0 master br0 up
        route add 192.0.2.5/32 dev br0"""
    process.run(["ip", "-n", PLACE, "-batch", "-"], stdin=lines)
    lines = "address add 192.0.2.5/32 dev eth0\nlink set eth0 up\nroute add 169.254.169.254/32 dev eth0\n"
    process.run(["ip", "-n", GUEST, "-batch", "-"], stdin=lines)


def unmake() -> None:
    for name in (PLACE, GUEST):
        if netns.exists(name):
            process.run(["ip", "netns", "delete", name])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder, pid_file = tmp_path / "guests", tmp_path / "guests.pid"
    guest = Guest(
        uid=UID, console=str(tmp_path / "console.sock"), kept=str(tmp_path), namespace=PLACE, log_bytes=1 << 16
    )
    files.write_guests(folder, [guest])
    files.write_seed(folder, UID, SEED)
    try:
        make()
        argv = [sys.executable, "-m", "anypop.agent.guests", str(folder), "1"]
        process.spawn(argv, pid_file=pid_file, log=tmp_path / "out")
        yield folder
    finally:
        process.end(pid_file)
        unmake()


def asked(path: str) -> str:
    try:
        return process.run(netns.command(GUEST, *f"{ASK}{path}".split()))
    except Exception:
        return ""


def test_a_guest_gets_its_own_and_nobody_else_reaches_the_address(folder: Path, tmp_path: Path) -> None:
    """Also in a namespace that was made anew. Its word that all has started is its own, and of this QEMU alone."""
    wait_until(lambda: "cloud-config" in asked("/nocloud/user-data"), timeout_s=20, reason="the guest is answered")
    assert "instance-id" in asked("/nocloud/meta-data")
    with pytest.raises(Exception, match="curl"):
        process.run([*ASK.split(), "--interface", "lo"])
    console = tmp_path / "console.sock"
    word = files.word_of(folder, UID, str(console))
    console.touch()
    assert not word.holds(Known.READY)
    with pytest.raises(Exception, match="curl"):
        process.run([*ASK.split(), "--interface", "lo", "-X", "POST"])
    process.run(netns.command(GUEST, *f"{ASK}/ready -f -X POST".split()))
    assert word.holds(Known.READY) and not files.word_of(folder, "u-2", str(console)).holds(Known.READY)
    another = tmp_path / "another"
    another.touch()
    another.rename(console)
    assert not word.holds(Known.READY)
    unmake()
    make()
    wait_until(lambda: "cloud-config" in asked("/nocloud/user-data"), timeout_s=20, reason="it is entered anew")
    files.write_guests(folder, [])
    os.kill(process.alive(tmp_path / "guests.pid") or 0, signal.SIGHUP)
    wait_until(lambda: not asked("/nocloud/user-data"), timeout_s=20, reason="who is gone is told nothing")
