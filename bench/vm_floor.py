"""The same guest by hand: QEMU with the arguments that the platform gives it, a namespace, a tap, and nothing else.

In: an image's files. Out: when the guest's network was ready and when it served, in seconds since the first command.
Nothing of the platform runs: no router, no probes, no limits, no user of its own. `begun` is one QEMU of that kind.
"""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

from anypop.agent.act.instances.machines.ability import can
from anypop.agent.act.instances.machines.arguments import Handed, arguments
from anypop.agent.act.instances.machines.iso import write_iso
from anypop.agent.act.instances.machines.place import DISK, INITRD, KERNEL, ROOT, SEED, Spec
from anypop.agent.act.instances.machines.seed import seed_files
from anypop.agent.act.network import guests
from anypop.agent.naming import inside_mac, namespace_of
from anypop.host import ip, netns, process
from anypop.model.machine import Machine, MachineImage
from anypop.model.names import InstanceName, WorkloadId
from anypop.model.order import Containers, InstanceLink, InstanceOrder, LinkAddress
from anypop.model.workload import Container

_LONGEST_S = 180.0
ANSWERS_S = 0.5  # a client's patience: what is lost before the guest hears anything is not waited for
_PARTS = {"disk": DISK, "kernel": KERNEL, "initrd": INITRD}


def boot_by_hand(
    folder: Path, prefix: str, image: MachineImage, files: Mapping[str, Path], *, count: int, memory_bytes: int
) -> tuple[float, float]:
    """Seconds until all of `count` run (their guests say nothing yet), and until all serve; they are ended again."""
    with contextlib.ExitStack() as ended, ThreadPoolExecutor(count) as pool:
        began = time.monotonic()

        def start(number: int) -> tuple[str, IPv4Address]:
            guest = _guest(folder / f"floor-{number}", _order(number, image), prefix, files, memory_bytes)
            return ended.enter_context(guest)

        homes = list(pool.map(start, range(count)))
        ran = time.monotonic() - began
        list(pool.map(lambda home: _served(*home), homes))
        return ran, time.monotonic() - began


@contextlib.contextmanager
def _guest(
    home: Path, order: InstanceOrder, prefix: str, files: Mapping[str, Path], memory_bytes: int
) -> Iterator[tuple[str, IPv4Address]]:
    """One in a namespace of its own."""
    namespace, link, tap = namespace_of(prefix, order.uid), order.links[0].addresses[0], guests.tap_of(0)
    assert isinstance(link.private, IPv4Address)
    ip.batch([f"netns add {namespace}"])
    try:
        ip.batch(
            ["link set lo up", f"tuntap add {tap} mode tap vnet_hdr", f"addr add {link.gateway}/31 dev {tap}",
             f"link set {tap} up"], netns=namespace,
        )  # fmt: skip
        with begun(home, namespace, order, files, memory_bytes=memory_bytes):
            yield namespace, link.private
    finally:
        ip.batch([f"netns del {namespace}"])


@contextlib.contextmanager
def begun(
    home: Path, namespace: str, order: InstanceOrder, files: Mapping[str, Path], *, memory_bytes: int,
    arriving: bool = False, groups: Sequence[Path] = (),
) -> Iterator[None]:  # fmt: skip
    """QEMU in a namespace that has its tap, until the block is left. `arriving`: it waits for a guest, which goes on as
    soon as all of it has come; `groups`: files by which it joins its control groups.
    """
    machine = order.machine
    assert machine is not None
    assert machine.image is not None
    image, mac = machine.image, inside_mac(order.uid).hex(":")
    home.mkdir()
    for name, file in files.items():
        (home / _PARTS[name]).symlink_to(file)
    write_iso(home / SEED, seed_files(order, order.containers[0], pop="LHR", mac=mac))
    process.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", DISK, "-F", image.disk_format.lower(), ROOT,
         str(image.disk_bytes)], cwd=home,
    )  # fmt: skip
    spec = Spec(
        id=str(uuid4()), uid=order.uid, container="vm",
        labels={"anypop.instance": order.name}, image=image, namespace=namespace, mac=mac, user=0, cpu_millis=1000,
        share_millis=1000, memory_bytes=memory_bytes,
    )  # fmt: skip
    (tap,) = guests.open_taps(namespace, 1)
    words = arguments(spec, accelerator=can().accelerator, handed=Handed(taps=(tap,)), arriving=arriving)
    words = [word for word in words if word != "-S"]
    try:
        qemu = subprocess.Popen(
            ["nsenter", f"--net={netns.path_of(namespace)}", "--", *words], cwd=home, pass_fds=[tap],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for group in groups:
            group.write_text(str(qemu.pid))
    finally:
        os.close(tap)
    try:
        yield
    finally:
        qemu.send_signal(signal.SIGKILL)
        qemu.wait()
        shutil.rmtree(home)


def _order(number: int, image: MachineImage) -> InstanceOrder:
    far = 2 * number
    link = LinkAddress(private=IPv4Address("10.77.0.1") + far, gateway=IPv4Address("10.77.0.0") + far, external=None)
    one = Container(name="vm", image=image.reference, machine=Machine(image=image))
    return InstanceOrder(
        name=InstanceName(f"floor-eu-lhr-{number}"), uid=f"{number + 1:032x}"[::-1], workload_id=WorkloadId("floor"),
        links=(InstanceLink(addresses=(link,)),), payload=Containers(containers=(one,)),
    )  # fmt: skip


def _served(namespace: str, address: IPv4Address) -> None:
    """Returns when it answers by HTTP."""
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        if _answers(namespace, address):
            return
        time.sleep(0.02)
    raise SystemExit(f"the guest at {address} did not answer within {_LONGEST_S:g} s")


def _answers(namespace: str, address: IPv4Address) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException), netns.inside(namespace):
        link = http.client.HTTPConnection(str(address), 80, timeout=ANSWERS_S)
        try:
            link.request("GET", "/")
            return link.getresponse().status == 200
        finally:
            link.close()
    return False
