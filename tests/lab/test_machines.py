"""Virtual machines on a host, with a guest that really boots: what it is told, how it is reached, what it may not do,
and what becomes of it when the agent or QEMU is killed. One guest for all of it, since a boot takes seconds.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from anypop.agent.act.instances.machines import monitor
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.machines.place import CONSOLE, Place
from anypop.agent.act.network import guests
from anypop.agent.act.network.namespaces import make_namespace, remove_name
from anypop.agent.decide.steps import CreateContainer, RemoveContainer, StartContainer
from anypop.agent.guests.files import ATTACH, folder_of, word_of
from anypop.agent.guests.word import Known
from anypop.agent.naming import namespace_of
from anypop.agent.observe.by_word import BY_WORD, HANGS
from anypop.agent.run import GUESTS
from anypop.host import ip, netns
from anypop.model.machine import Machine, MachineImage, Power, machine_image
from anypop.model.order import Containers, InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.volume import LEAST_BYTES, Mount, VolumeOrder, volume_id
from anypop.model.workload import Port, Probe, ProbeKind
from tests.agent_lab import ANYCAST4, ANYCAST6, POP, PopLab, external, instance, tokens, web
from tests.empty_guests import Kept
from tests.guest_image import guest_image
from tests.wait import wait_until

pytestmark = pytest.mark.lab
BOOT_S = 120  # where every instruction is translated, on a machine that does three things at once
SHELL = 9
ASKED = {4: "203.0.113.1", 6: "2001:db8:ff0::1"}  # where the upstream is
USER_DATA = f"""#!/bin/sh
echo told by its user >/www/told
date >>/data/lives
wc -l </data/lives >/www/lives
nc -ll -p {SHELL} -e sh </dev/null >/dev/null 2>&1 &
"""


def guest(lab: PopLab) -> InstanceOrder:
    """The order of one virtual machine beside a container, its image on the host."""
    image, files = guest_image()
    cache = lab.state / "machine-images"
    cache.mkdir(parents=True, exist_ok=True)
    for part in image.parts:
        shutil.copyfile(files[part.name], cache / part.sha256)
    machine = Machine(image=image, user_data=b64encode(USER_DATA.encode()).decode())
    ports = (Port(name="http", port=80, open_to_all=True), Port(name="shell", port=SHELL, open_to_all=True))
    vm = web(image.reference, machine=machine, memory_bytes=128 << 20, mounts=(Mount(claim="data", path="/data"),))
    vm = replace(vm, ports=ports, readiness=Probe(kind=ProbeKind.HTTP, port=80, path="/healthz", period_s=1))
    return replace(instance(1), payload=Containers(containers=(vm,)))


def never(image: MachineImage) -> InstanceOrder:
    """One whose kernel finds no first process."""
    lost = machine_image(
        "test/never:1", parts=[part for part in image.parts if part.name == "kernel"], disk_format=image.disk_format,
        disk_bytes=0, firmware=image.firmware, board=image.board, cmdline="console=ttyS0",
    )  # fmt: skip
    vm = web(lost.reference, machine=Machine(image=lost), memory_bytes=128 << 20)
    return replace(instance(2, anycast=False), payload=Containers(containers=(vm,)))


def volume(order: InstanceOrder, *, made: bool) -> VolumeOrder:
    return VolumeOrder(
        id=volume_id(order.workload_id, order.name, "data"), workload_id=order.workload_id, instance=order.name,
        claim="data", size_bytes=LEAST_BYTES, made=made,
    )  # fmt: skip


@pytest.fixture(scope="module")
def lab() -> Iterator[PopLab]:
    one = PopLab("vm")
    try:
        yield one
    finally:
        one.close()


def place(lab: PopLab, order: InstanceOrder) -> Place:
    return Place(lab.state / "machines" / order.uid)


def in_guest(lab: PopLab, order: InstanceOrder, command: str) -> str:
    """What a command says that runs in the guest, by the shell that its user data has opened."""

    def connected() -> socket.socket | None:
        with suppress(ConnectionRefusedError), netns.inside(lab.upstreams.namespace("one")):
            return socket.create_connection((str(external(order)), SHELL), timeout=20)
        return None

    with wait_until(connected, timeout_s=20, reason="the guest's shell listens") as link:
        link.sendall(f"{{ {command}; }} 2>&1; exit\n".encode())
        link.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: link.recv(4096), b"")).decode(errors="replace").strip()


@contextmanager
def console(path: Path | str) -> Iterator[Callable[[str], str]]:
    """A guest's: what is said there to a command, typed by somebody who has found the shell's prompt."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        link.setblocking(False)
        shown = ""

        def shows(text: str, typed: str = "") -> bool:
            nonlocal shown
            link.send(typed.encode())
            with suppress(BlockingIOError):
                shown += link.recv(1 << 16).decode(errors="replace")
            return text in shown

        def ask(command: str) -> str:
            nonlocal shown
            shown = ""
            link.send(f"{command}; echo that-was-''it\n".encode())
            wait_until(lambda: shows("that-was-it"), timeout_s=30, reason=f"the guest has done {command!r}")
            return shown

        wait_until(lambda: shows("# ", "\n"), timeout_s=BOOT_S, reason="the guest's shell is there", every_s=0.5)
        yield ask


@contextmanager
def heard(lab: PopLab) -> Iterator[list[bytes]]:
    """Packets that an upstream got meanwhile."""
    with netns.inside(lab.upstreams.namespace("one")):
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    found: list[bytes] = []
    with sniffer:
        yield found
        sniffer.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                found.append(sniffer.recv(2048))


def test_a_guest_lives_as_an_instance_does(lab: PopLab) -> None:
    """It boots beside a container, has its name, addresses and user data, and answers at its own and the anycast
    address in both families; one that never boots is told with the end of its console; a killed agent finds it again,
    and it serves all the while; it is powered off, mended and powered on; a killed QEMU is seen, reported and begun
    anew with its volume; and nothing is left when it goes.
    """
    order, beside = guest(lab), instance(0, anycast=False)
    image = order.containers[0].machine.image if order.containers[0].machine else None
    assert image is not None
    lost = never(image)
    lab.give(order, beside, lost, volumes=(volume(order, made=False),))
    lab.start_agent()
    wait_until(lambda: "Kernel panic" in said(lab, lost), timeout_s=BOOT_S, reason="what never boots is told why")
    lab.give(order, beside, removed=tokens(lost), volumes=(volume(order, made=True),))
    lab.wait_running(order.name, beside.name, timeout_s=BOOT_S)
    for address in (external(order), external(order, 6), ANYCAST4, ANYCAST6):
        wait_until(lambda a=address: order.name in lab.get(a), timeout_s=20, reason=f"{address} answers")  # type: ignore[misc]
    wait_until(lambda: page(lab, order, "told") == "told by its user", timeout_s=30, reason="user data was run")
    assert beside.name in lab.get(external(beside))

    word = word_of(lab.state / GUESTS, order.uid, str(place(lab, order).own / CONSOLE))
    wait_until(lambda: word.holds(Known.READY), timeout_s=30, reason="it has told its host that it is ready")

    forges(lab, order)

    first = place(lab, order).pid()
    serves_by_its_word(lab, order, beside)
    lab.kill_agent()
    assert order.name in lab.get(ANYCAST4)
    reports = len(lab.control.reports)
    lab.start_agent()
    wait_until(lambda: len(lab.control.reports) > reports, timeout_s=20, reason="the next agent reports")
    lab.wait_running(order.name)
    assert place(lab, order).pid() == first

    first = is_powered_off_mended_and_on(lab, order, beside, image)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: lab.members(ANYCAST4) == 0, timeout_s=9, reason="its death takes it out of traffic")
    wait_until(lambda: place(lab, order).pid() not in (None, first), timeout_s=30, reason="it is begun anew")
    lab.wait_running(order.name, timeout_s=BOOT_S)
    told = lab.reported(order.name)
    assert told is not None
    assert [one.restarts for one in told.containers] == [1]
    wait_until(lambda: page(lab, order, "lives") == "2", timeout_s=30, reason="its volume lived on")

    lab.give(beside, removed=tokens(order), volumes=(volume(order, made=True),))
    wait_until(lambda: not place(lab, order).folder.exists(), timeout_s=30, reason="it is gone")
    wait_until(lambda: lab.reported_life(order.uid) is None, timeout_s=20, reason="nothing of it is left")
    assert not netns.exists(namespace_of(lab.prefix, order.uid))


def serves_by_its_word(lab: PopLab, order: InstanceOrder, beside: InstanceOrder) -> None:
    """Of a guest that lets no echo through, and has neither port nor probe, another agent knows its word alone, and
    that its kernel answers ARP: so one that hangs is out of traffic, and serves again when it goes on.
    """
    for family in ("ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all"):
        assert in_guest(lab, order, f"echo 1 >/proc/sys/net/{family}") == ""
    lab.kill_agent()
    silent = replace(order.containers[0], readiness=None, ports=())
    lab.give(replace(order, payload=Containers(containers=(silent,))), beside, volumes=(volume(order, made=True),))
    lab.start_agent()
    wait_until(lambda: (told := lab.reported(order.name)) is not None and told.healthy and told.message == BY_WORD,
               timeout_s=60, reason="its word is enough")  # fmt: skip
    word = word_of(lab.state / GUESTS, order.uid, str(place(lab, order).own / CONSOLE))
    wait_until(lambda: word.holds(Known.NEAR), timeout_s=60, reason="it has answered ARP")
    asyncio.run(monitor.ask(place(lab, order), "stop"))  # a guest whose processors stand still, in a process that runs
    wait_until(lambda: HANGS in said(lab, order), timeout_s=60, reason="one that hangs is not healthy")
    asyncio.run(monitor.ask(place(lab, order), "cont"))
    wait_until(lambda: (told := lab.reported(order.name)) is not None and told.healthy and told.message == BY_WORD,
               timeout_s=60, reason="it goes on")  # fmt: skip
    lab.give(order, beside, volumes=(volume(order, made=True),))
    wait_until(lambda: order.name in lab.get(ANYCAST4), timeout_s=60, reason="its port is open again")


def said(lab: PopLab, order: InstanceOrder) -> str:
    """What is reported of an instance that does not run well."""
    told = lab.reported(order.name)
    return told.message if told is not None and not told.healthy else ""


def is_powered_off_mended_and_on(
    lab: PopLab, order: InstanceOrder, beside: InstanceOrder, image: MachineImage
) -> int | None:
    """Off, its guest has shut down, and stays so under another agent; by another image its own disk is there to be
    written to; on, it has that very disk and serves. Its process in the end.
    """
    volumes = (volume(order, made=True),)
    in_guest(lab, order, "echo its own >/www/kept; sync")
    off = replace(order, power=Power.OFF)
    lab.give(off, beside, volumes=volumes)
    wait_until(lambda: reason(lab, order) is Reason.POWERED_OFF and place(lab, order).pid() is None, timeout_s=40,
               reason="its guest has shut down")  # fmt: skip
    assert "powering off" in log(lab, order)
    assert lab.members(ANYCAST4) == 0
    lab.kill_agent()
    reports = len(lab.control.reports)
    lab.start_agent()
    wait_until(lambda: len(lab.control.reports) > reports, timeout_s=20, reason="the next agent reports")
    assert (reason(lab, order), place(lab, order).pid()) == (Reason.POWERED_OFF, None)

    mends = machine_image(
        "test/mends:1", parts=image.parts, disk_format=image.disk_format, disk_bytes=image.disk_bytes,
        firmware=image.firmware, board=image.board, cmdline=f"{image.cmdline} mends",
    )  # fmt: skip
    lab.give(replace(order, rescue=mends), beside, volumes=volumes)
    wait_until(lambda: reason(lab, order) is Reason.RESCUED, timeout_s=40, reason="the other image begins")
    with console(folder_of(lab.state / GUESTS, order.uid) / ATTACH) as ask:
        assert " mends" in ask("cat /proc/cmdline")
        ask("for d in /sys/block/vd*; do [ $(cat $d/serial) = own ] && mount /dev/${d##*/} /tmp; done")
        assert "its own" in ask("cat /tmp/www/kept")
        ask("echo mended >/tmp/www/mended; umount /tmp; sync")
    assert lab.members(ANYCAST4) == 0, "one that is mended gets no traffic"

    lab.give(order, beside, volumes=volumes)
    lab.wait_running(order.name, timeout_s=BOOT_S)
    wait_until(lambda: page(lab, order, "mended") == "mended", timeout_s=30, reason="it has its own disk")
    assert (page(lab, order, "kept"), page(lab, order, "lives")) == ("its own", "1")
    return place(lab, order).pid()


def reason(lab: PopLab, order: InstanceOrder) -> Reason | None:
    told = lab.reported(order.name)
    return told.reason if told is not None else None


def log(lab: PopLab, order: InstanceOrder) -> str:
    """What its console has said."""
    logs = folder_of(lab.state / GUESTS, order.uid).glob("ctr.log*")
    return "".join(file.read_text(errors="replace") for file in logs)


def test_a_guest_whose_hosts_disk_is_full_is_told_and_goes_on(tmp_path: Path) -> None:
    """Its write fails and is said to have failed; it runs all the while, and writes again once there is room."""
    image, files = guest_image()
    prefix, vm = f"vmf{os.getpid() % 46656:x}", web(machine=Machine(image=image), memory_bytes=128 << 20)
    order = replace(instance(3), payload=Containers(containers=(vm,)))
    space, room, filler = namespace_of(prefix, order.uid), 24 << 20, tmp_path / "filler"
    size = sum(file.stat().st_size for file in files.values()) + room
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", tmp_path], check=True)
    make_namespace(prefix, order.uid)
    try:
        ip.batch(["link add eth0 type veth peer name far"], netns=space)
        guests.furnish(prefix, order)
        for name, file in files.items():
            shutil.copyfile(file, tmp_path / name)
        machines = Machines(tmp_path / "machines", prefix=prefix, pop=POP, images=Kept(tmp_path))
        asyncio.run(machines.carry_out(CreateContainer(instance=order, container=vm, generation=1, lane="")))
        asyncio.run(machines.carry_out(StartContainer(uid=order.uid, container=vm.name, lane="")))
        # where no file of its system is: that has no part in it
        write = "dd if=/dev/urandom of=/dev/vda bs=1M seek=200 count=8 conv=fsync; echo it says $?"
        with machines.place_of(order.uid).reachable(CONSOLE) as path, console(path) as ask:
            with suppress(OSError), filler.open("wb", buffering=0) as out:
                while True:
                    out.write(bytes(1 << 16))
            assert "it says 1" in ask(write)
            filler.unlink()
            assert "it says 0" in ask(write)
        asyncio.run(machines.carry_out(RemoveContainer(uid=order.uid, container=vm.name, lane="")))
    finally:
        if pid := Place(tmp_path / "machines" / order.uid).pid():
            os.kill(pid, signal.SIGKILL)
        remove_name(netns.path_of(space))
        subprocess.run(["umount", "-l", tmp_path], check=True)


def forges(lab: PopLab, order: InstanceOrder) -> None:
    """From addresses that are not its own, whatever it gives itself: another's, nobody's, an upstream's, the router's,
    in both families. What is from its own address arrives by the same command.
    """
    own = {external(order), external(order, 6)}
    forged = {str(a) for a in (*instance(0).externals(), instance(0).private(4), instance(0).private(6))}
    forged |= {"192.0.2.77", "203.0.113.99", "2001:db8:a::77", str(order.links[0].addresses[0].gateway)}
    # its own first: who looks for its router from a forged address finds none for some seconds
    asked = [*own, *map(ip_address, sorted(forged))]
    script = "; ".join(
        f"ip addr add {a}/{a.max_prefixlen} dev lo; ping -c 1 -W 1 -I {a} {ASKED[a.version]}"
        f"{'' if a in own else f'; ip addr del {a}/{a.max_prefixlen} dev lo'}"
        for a in asked
    )
    with heard(lab) as packets:
        said = in_guest(lab, order, script)
    arrived = {a for a in asked if any(_pings_from(packet) == a.packed for packet in packets)}
    assert arrived == own, said


def _pings_from(frame: bytes) -> bytes | None:
    """The source of a frame of Ethernet with ICMP in it, of either family: the container beside says something, too."""
    match frame[12:14]:
        case b"\x08\x00" if frame[23] == socket.IPPROTO_ICMP:
            return frame[26:30]
        case b"\x86\xdd" if frame[20] == socket.IPPROTO_ICMPV6:
            return frame[22:38]
    return None


def page(lab: PopLab, order: InstanceOrder, name: str) -> str:
    return lab.get(external(order), path=f"/{name}")
