"""A virtual machine moves from one host to another of its PoP while somebody talks to it: two real agents with what
their orders say, as control orders it when the first is drained. One guest for all of it, since a boot takes seconds.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from anypop.agent.act.instances.machines.place import Place
from anypop.agent.naming import link_of
from anypop.host import ip, netns
from anypop.model.machine import Machine
from anypop.model.order import Containers, InstanceOrder, Move
from anypop.model.workload import Port, Probe, ProbeKind
from tests.agent_lab import ANYCAST4, external, instance, tokens, web
from tests.backbone_lab import BackboneLab, Host
from tests.guest_image import guest_image
from tests.moving_flows import ECHO, echoed

pytestmark = pytest.mark.lab
BOOT_S = 120


@pytest.fixture
def lab() -> Iterator[BackboneLab]:
    found = BackboneLab(f"x{os.getpid() % 4096:x}", (("LHR", 0), ("LHR", 0)), joined=True)
    try:
        yield found
    finally:
        found.close()


def guest(host: Host, **more: Any) -> InstanceOrder:
    """The slot's incarnation on a host, its image there."""
    image, files = guest_image()
    cache = host.state / "machine-images"
    cache.mkdir(parents=True, exist_ok=True)
    for part in image.parts:
        shutil.copyfile(files[part.name], cache / part.sha256)
    ports = (Port(name="http", port=80, open_to_all=True), Port(name="echo", port=ECHO, open_to_all=True))
    vm = replace(
        web(image.reference, machine=Machine(image=image), memory_bytes=128 << 20), ports=ports,
        readiness=Probe(kind=ProbeKind.HTTP, port=80, path="/healthz", period_s=1),
    )  # fmt: skip
    made = instance(64 * host.n, name="web-eu-lhr-0", uid=f"{host.n + 7:032x}"[::-1], life=host.n)
    return replace(made, template="t", payload=Containers(containers=(vm,)), **more)


def place(host: Host, order: InstanceOrder) -> Place:
    return Place(host.state / "machines" / order.uid)


def serves(host: Host, order: InstanceOrder) -> bool:
    told = next((i for i in host.report.instances if i.uid == order.uid), None) if host.report else None
    return told is not None and told.healthy


def test_a_guest_goes_on_at_another_host_with_its_connections(lab: BackboneLab) -> None:
    """One connection, opened before, used through the drained host afterwards, through the other one when that is
    drained, when nothing is left at the first, and when somebody has taken its link away. It answers at the own address
    that it has now. The agents know what has become of it when both are killed.
    """
    first, second = lab.hosts
    old, new = guest(first), guest(second)
    first.give(old)
    second.give()
    lab.wait(lambda: serves(first, old), "the guest serves", timeout_s=BOOT_S)
    lab.enter_by(first)
    lab.wait(lambda: old.name in lab.get(ANYCAST4), "it answers")
    with netns.inside(lab.core):
        link = socket.create_connection((str(ANYCAST4), ECHO), timeout=20)
    with link:
        assert echoed(link, b"before") == b"before"
        first.give(replace(old, move=Move(uid=new.uid, host=second.name, arrives=False)))
        second.give(replace(new, move=Move(uid=old.uid, host=first.name, arrives=True)))
        lab.wait(lambda: serves(second, new), "it serves at the other host", timeout_s=BOOT_S)
        assert place(first, old).pid() is None
        assert (spec := place(second, new).spec()) is not None
        assert spec.born is not None, "it has come, and has not begun there"
        assert echoed(link, b"by the drained host") == b"by the drained host"
        for host in lab.hosts:
            host.kill_agent()
            host.start_agent()
        lab.enter_by(second)
        assert echoed(link, b"by the other host") == b"by the other host"
        second.give(new)
        first.give(removed=tokens(old))
        lab.wait(lambda: (r := first.report) and not r.instances, "nothing is left of it at the first")
        assert echoed(link, b"and when nothing is left") == b"and when nothing is left"
        assert old.name in lab.get(external(new), timeout_s=5)
        assert serves(second, new)
        ip.batch([f"link del {link_of(new.uid)}"], netns=second.router)
        lab.wait(lambda: old.name in lab.get(external(new), timeout_s=5), "its link is made again, and leads to it")
        assert echoed(link, b"by the link that was made again") == b"by the link that was made again"
