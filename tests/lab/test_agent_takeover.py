"""A host that version 0.1 left running is taken over as it stands: no process ends, no address is away, and what was
made from what is found.

The state is made here as 0.1 made it: its ledger's form, its containers' labels, its hash policy and its groups of
128 buckets.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from bench.forged import packet

from anypop.agent.act.instances.specification import body_for
from anypop.agent.act.network import namespaces, rtnl
from anypop.agent.act.network.hop_numbers import hop_number
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import BUCKETS
from anypop.agent.decide.elements import UNKNOWN
from anypop.agent.decide.steps import CreateContainer
from anypop.agent.naming import ROUTE_PROTOCOL, container_of, link_of, namespace_of
from anypop.host import ip, netns, process
from anypop.model.announce import Address
from anypop.model.confinement import Confinement
from anypop.model.order import InstanceOrder
from anypop.model.report import Phase
from tests.agent_lab import ANYCAST4, ANYCAST6, Flow, PopLab, container_pids, external, instance, web
from tests.agent_load import Requests
from tests.agent_older import older_page
from tests.podman_service import SERVE, STAY
from tests.wait import wait_until

pytestmark = pytest.mark.lab
POLICY = Path("/proc/sys/net/ipv4/fib_multipath_hash_policy")
ECHO = "nc -ll -p 81 -e /bin/sh -c 'hostname; exec cat' &"


def answers(lab: PopLab, one: InstanceOrder) -> bool:
    return lab.get(external(one)) == one.name


@pytest.fixture
def lab() -> Iterator[PopLab]:
    """A host without an agent."""
    lab = PopLab("agv")
    try:
        yield lab
    finally:
        lab.close()


def _made_by_the_older(lab: PopLab, one: InstanceOrder) -> None:
    """Namespace, link, external routes, and a container with the labels that 0.1 gave."""
    with netns.inside(lab.router), Netlink() as net:
        namespaces.make_namespace(lab.prefix, one.uid)
        namespaces.add_link(net, lab.prefix, one)
        index = next(link.index for link in rtnl.links(net) if link.name == link_of(one.uid))
        namespaces.set_external_routes(net, index, one)
        rtnl.set_device_group(net, index, 0)
        Path(f"/proc/sys/net/ipv4/conf/{link_of(one.uid)}/arp_ignore").write_text("0")
        ip.batch([f"neigh flush dev {link_of(one.uid)} nud permanent"], netns=lab.router)
    ip.batch(["neigh flush dev eth0 nud permanent"], netns=namespace_of(lab.prefix, one.uid))
    (container,) = one.containers
    step = CreateContainer(instance=one, container=container, lane="", generation=1)
    name = container_of(lab.prefix, one.uid, container.name)
    body = body_for(
        step,
        prefix=lab.prefix,
        pop="LHR",
        name=name,
        limits=(("nofile", 1024), ("nproc", 1024)),
        confinement=Confinement.OLDER,
    )
    body["labels"] = {
        k: v for k, v in body["labels"].items() if k not in ("anypop.template", "anypop.revision", "anypop.confinement")
    }
    assert lab.podman.ask("POST", "/containers/create", json=body).status_code == 201
    assert lab.podman.ask("POST", f"/containers/{name}/start").status_code == 204


def _balanced_by_the_older(lab: PopLab, *all_: InstanceOrder) -> None:
    """Groups of 128 buckets under the policy that takes a packet's own hash."""
    with netns.inside(lab.router), Netlink() as net:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for version in (4, 6):
            Path(f"/proc/sys/net/ipv{version}/fib_multipath_hash_policy").write_text("1")
        index = {link.name: link.index for link in rtnl.links(net)}
        addresses: tuple[Address, ...] = (ANYCAST4, ANYCAST6)
        for number, address in enumerate(addresses):
            hops = []
            for one in all_:
                hop, private = hop_number(index[link_of(one.uid)], address.version), one.private(address.version)
                assert private is not None
                rtnl.set_nexthop(net, hop, interface=index[link_of(one.uid)], gateway=private, protocol=ROUTE_PROTOCOL)
                hops.append((hop, 100))
            rtnl.set_group(net, 0x4000_0001 + number, hops, protocol=ROUTE_PROTOCOL, buckets=128, idle_s=60)
            rtnl.set_route(net, ip_network(address), ROUTE_PROTOCOL, nexthop=0x4000_0001 + number)


def _guarded_by_the_older(lab: PopLab, *all_: InstanceOrder) -> None:
    """Its table: inbound ports alone, by the names of links."""
    links = ", ".join(f'"{link_of(one.uid)}"' for one in all_)
    text = f"""table inet anypop_{lab.prefix} {{
 set instances {{ type ifname; elements = {{ {links} }}; }}
 chain forward {{ type filter hook forward priority filter; policy accept; oifname @instances jump inbound; }}
 chain inbound {{ ct state established,related accept; tcp dport {{ 80, 81 }} accept; counter drop; }}
}}
"""
    process.run(netns.command(lab.router, "nft", "-f", "-"), stdin=text)


def _arrives(lab: PopLab, one: InstanceOrder, source: Address, target: str = "203.0.113.1") -> bool:
    """Whether the upstream hears what the instance says with this source."""
    token = b"a packet of its own"
    with netns.inside(lab.upstreams.namespace("one")):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
    with ear, netns.inside(namespace_of(lab.prefix, one.uid)):
        mouth = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        said = packet(source, ip_address(target), 4242, token)
        ear.settimeout(0.5)
        with mouth, suppress(TimeoutError):
            mouth.sendto(said, (target, 0))
            until = time.monotonic() + 0.5  # others talk here as well
            while time.monotonic() < until:
                if token in ear.recv(1 << 16):
                    return True
    return False


def _external_routes(lab: PopLab) -> list[dict[str, Any]]:
    return [
        row for row in lab.kernel("route", "show", "proto", "158") if row["dst"].startswith("198.") and "dev" in row
    ]


def test_a_host_of_the_older_version_is_taken_over(lab: PopLab) -> None:
    """The processes, links, external routes and their traffic stay; groups and hash are today's; control's first
    order gives templates to what was made from it, and tells apart what was not.
    """
    serves = web(command=("/bin/sh", "-c", f"{SERVE}; {ECHO}\n{STAY}"), env=(("A", "1"),))
    serves = replace(serves, ports=(*serves.ports, replace(serves.ports[0], name="echo", port=81)))
    ones = [instance(n, uid=f"{n + 1:08x}aa", containers=(serves,)) for n in range(2)]
    other = instance(2, uid="00000003aa", containers=(replace(serves, env=(("A", "2"),)),))
    # 0.1 kept running what it had, whatever was declared
    declared = replace(other, payload=replace(other.payload, containers=(serves,)))
    lab.state.mkdir(parents=True, exist_ok=True)  # Podman's service has made it, for the mounts of volumes
    page = older_page(lab.order(*ones, declared))
    (lab.state / "order.json").write_text(json.dumps(page))
    for one in (*ones, other):
        _made_by_the_older(lab, one)
    _balanced_by_the_older(lab, *ones, other)
    _guarded_by_the_older(lab, *ones, other)
    assert _arrives(lab, ones[0], external(ones[1]), "10.99.0.1")
    ids = {row["Id"] for row in lab.podman.ask("GET", "/containers/json").json()}
    before, routes = container_pids(lab), _external_routes(lab)

    lab.start_agent()
    for one in ones:
        there = partial(answers, lab, one)
        wait_until(there, timeout_s=15, reason="the way is announced")
    lab.wait_running(*(i.name for i in (*ones, declared)))
    flow = Flow(lab, external(ones[0]), 81)
    with Requests(lab.upstreams.namespace("one"), external(ones[0])) as load:
        assert container_pids(lab) == before
        assert {row["Id"] for row in lab.podman.ask("GET", "/containers/json?all=true").json()} == ids
        assert _external_routes(lab) == routes
        with netns.inside(lab.router), Netlink() as net:
            assert POLICY.read_text().strip() == "3"
            assert {hop.buckets for hop in rtnl.nexthops(net, ROUTE_PROTOCOL) if hop.group} == {BUCKETS}
        assert _arrives(lab, ones[0], external(ones[0]))
        assert not _arrives(lab, ones[0], external(ones[1]))
        for one in (*ones, other):
            known = partial(lab.kernel, "neigh", "show", "dev", link_of(one.uid), "nud", "permanent")
            wait_until(
                lambda known=known: len(known()) == 2,  # type: ignore[misc]
                timeout_s=20, reason="the link has its neighbours",
            )  # fmt: skip
        told = lab.control.report
        assert told is not None
        assert {i.template for i in told.instances} == {""}

        lab.give(*(replace(i, template="t7") for i in (*ones, declared)))
        wait_until(
            lambda: (r := lab.control.report) and [i.template for i in r.instances] == ["t7", "t7", UNKNOWN],
            timeout_s=10, reason="templates are told",
        )  # fmt: skip
        assert container_pids(lab) == before
        assert flow.lives()
        newer = replace(instance(2, uid="00000004aa", containers=(serves,), life=1, link=20), template="t7")
        lab.give(*(replace(i, template="t7") for i in (*ones, declared)), newer)
        wait_until(
            lambda: (t := lab.reported_life(newer.uid)) and t.serving,
            timeout_s=15,
            reason="it is replaced like any other",
        )
        assert lab.reported_life(newer.uid).phase is Phase.RUNNING  # type: ignore[union-attr]
        flow.close()
    assert load.failures == []
