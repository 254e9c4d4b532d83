"""Virtual machines on a host, with a guest that really boots: what it is told, how it is reached, what it may not do,
and what becomes of it when the agent or QEMU is killed. One guest for all of it, since a boot takes seconds.
"""

import os
import shutil
import signal
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address

import pytest

from anypop.agent.act.instances.machines.place import Place
from anypop.agent.naming import namespace_of
from anypop.host import netns
from anypop.model.machine import Machine
from anypop.model.order import Containers, InstanceOrder
from anypop.model.volume import LEAST_BYTES, Mount, VolumeOrder, volume_id
from anypop.model.workload import Port, Probe, ProbeKind
from tests.agent_lab import ANYCAST4, ANYCAST6, PopLab, external, instance, tokens, web
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
    address in both families; a killed agent finds it again, and it serves all the while; a killed QEMU is seen,
    reported and begun anew with its volume; and nothing is left when it goes.
    """
    order, beside = guest(lab), instance(0, anycast=False)
    lab.give(order, beside, volumes=(volume(order, made=False),))
    lab.start_agent()
    lab.wait_running(order.name, beside.name, timeout_s=BOOT_S)
    for address in (external(order), external(order, 6), ANYCAST4, ANYCAST6):
        wait_until(lambda a=address: order.name in lab.get(a), timeout_s=20, reason=f"{address} answers")  # type: ignore[misc]
    wait_until(lambda: page(lab, order, "told") == "told by its user", timeout_s=30, reason="user data was run")
    assert beside.name in lab.get(external(beside))

    forges(lab, order)

    first = place(lab, order).pid()
    lab.kill_agent()
    assert order.name in lab.get(ANYCAST4)
    reports = len(lab.control.reports)
    lab.start_agent()
    wait_until(lambda: len(lab.control.reports) > reports, timeout_s=20, reason="the next agent reports")
    lab.wait_running(order.name)
    assert place(lab, order).pid() == first

    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: lab.members(ANYCAST4) == 0, timeout_s=5, reason="its death takes it out of traffic")
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
