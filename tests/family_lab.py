"""Instances of two stacks at two hosts of a backbone: who answers whom, at which address, and what hosts know of it."""

import socket
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

from anypop.agent.act.network import nftables, sets
from anypop.agent.act.network.guard_rules import RECEIVED
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.naming import namespace_of, tunnels_table
from anypop.host import netns, process
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.names import StackId
from anypop.model.order import InstanceLink, InstanceOrder
from anypop.model.subnets import address_in
from anypop.model.workload import Container, Port
from tests.agent_lab import external, web
from tests.backbone_lab import BackboneLab, Host
from tests.podman_service import SERVE, STAY

BOX = "/bin/busybox"


def talker() -> Container:
    """On port 80 a page with the host's name, and a file of 1 MiB; port 81 tells how many bytes it was sent; port 82
    says the host's name and echoes.
    """
    ports = tuple(Port(name=f"p{port}", port=port, open_to_all=True) for port in (80, 81, 82))
    count = f"nc -ll -p 81 -e {BOX} wc -c &"
    echo = "nc -ll -p 82 -e /bin/sh -c 'hostname; exec cat' &"
    script = f"{BOX} dd if=/dev/zero of=/www/big bs=1024 count=1024; {SERVE}; {count} {echo}\n{STAY}"
    return replace(web(), command=("/bin/sh", "-c", script), ports=ports)


class Family:
    """Two stacks, each with an instance in London and one in Amsterdam. Port 80 is open to all, port 82 to siblings."""

    def __init__(self, lab: BackboneLab, here: Host, there: Host) -> None:
        self.lab, self.here, self.there = lab, here, there
        ports = tuple(Port(name=f"p{port}", port=port, open_to_all=port == 80) for port in (80, 82))
        container = replace(talker(), ports=ports)
        made = [
            [
                replace(h.instance(i, containers=(container,)), stack_id=StackId(s))
                for i, s in enumerate(("blue", "red"))
            ]
            for h in (here, there)
        ]
        (self.blue, self.red), (self.blue_there, self.red_there) = made
        here.give(*made[0])
        there.give(*made[1])
        self.wait_until_joined()

    def wait_until_joined(self) -> None:
        pairs = ((self.here, (self.blue_there, self.red_there)), (self.there, (self.blue, self.red)))
        for host, those in pairs:
            wanted = {str(a) for one in those for a in own(one)}
            self.lab.wait(lambda h=host, w=wanted: siblings(h) == w, f"{host.name} has the ways to siblings")  # type: ignore[misc]
        self.lab.wait(lambda: self.says(self.blue, own(self.blue_there)[0]), "they answer")

    def says(self, asker: InstanceOrder, address: Address, port: int = 82) -> str:
        """Who answers an instance in London; empty: nobody."""
        space = namespace_of(self.here.prefix, asker.uid)
        with suppress(OSError), netns.inside(space), socket.create_connection((str(address), port), timeout=1) as flow:
            return flow.recv(100).decode().strip()
        return ""

    def page(self, address: Address, path: str = "/") -> str:
        """What the blue one in London gets from port 80."""
        return self.lab.get(address, path, timeout_s=3, namespace=namespace_of(self.here.prefix, self.blue.uid))


def own(instance: InstanceOrder) -> list[Address]:
    """Private addresses, then external ones."""
    return [*(a.private for a in instance.addresses()), *instance.externals()]


def siblings(host: Host) -> set[str]:
    """The addresses to which a host has a way, and of which its guard knows whose they are."""
    with netns.inside(host.router), Netlink() as net, Netlink(NETFILTER) as tables:
        routed = set(map(str, Router(net).look().siblings))
        places = ((sets.INET, f"siblings{v}") for v in (4, 6))
        keys = {key for place in places for key in sets.keys(tables, tunnels_table(host.prefix), place)}
    known = {str(ip_address(key[4:])) for key in keys}  # behind the device group
    return routed & known


def carried(source: Host, target: Host) -> int:
    """Bytes that came by the tunnel."""
    with netns.inside(target.router), Netlink(NETFILTER) as net:
        return nftables.counted(net, tunnels_table(target.prefix), RECEIVED)[source.address.packed][1]


def guard_nft(host: Host, verb: str, what: str, name: str, *words: str) -> None:
    process.run(netns.command(host.router, "nft", verb, what, "inet", f"anypop_{host.prefix}_tunnels", name, *words))


SUBNETS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


class VpcFamily:
    """Two networks of one stack, with the same subnets; each has instances at two hosts, the blue one two at the first,
    and two more at the second, of one family each.
    On port 82 each tells its name and who asks.
    """

    def __init__(self, lab: BackboneLab, here: Host, there: Host) -> None:
        self.lab, self.here, self.there = lab, here, there
        self.blue, self.red, self.near = here_all = [
            self._made(here, i, n) for i, n in enumerate(("blue", "red", "blue"))
        ]
        self.far, red, four, six = (self._made(there, i, n) for i, n in enumerate(("blue", "red", "blue", "blue")))
        self.four, self.six = with_family(four, 4), with_family(six, 6)
        there_all = [self.far, red, self.four, self.six]
        here.give(*here_all)
        there.give(*there_all)
        lab.wait(lambda: self.says(self.blue, inside(self.four, 4)), f"{four.name} answers", timeout_s=40)
        for asked in (self.near, self.far, self.six):
            lab.wait(lambda a=asked: self.says(self.blue, inside(a, 6)), f"{asked.name} answers", timeout_s=40)  # type: ignore[misc]

    def _made(self, host: Host, i: int, network: str) -> InstanceOrder:
        ports = (Port(name="p82", port=82), Port(name="p80", port=80, open_to_all=True))
        plain = host.instance(i, containers=(replace(talker(), ports=ports),))
        plain = replace(plain, stack_id=StackId("one"))
        addresses = tuple(
            replace(a, vpc=address_in(SUBNETS[a.private.version == 6], host.n, i)) for a in plain.addresses()
        )
        return replace(plain, links=(InstanceLink(network=network, addresses=addresses, reach=SUBNETS),))

    def says(self, asker: InstanceOrder, address: Address) -> list[str]:
        """Who answers an instance in London at port 82, and from which address it asked; nothing: nobody."""
        space = namespace_of(self.here.prefix, asker.uid)
        gone = (OSError, WorldError)  # the namespace may be on its way
        with suppress(*gone), netns.inside(space), socket.create_connection((str(address), 82), timeout=1) as flow:
            return [flow.recv(100).decode().strip(), flow.getsockname()[0]]
        return []

    def longest(self, asked: InstanceOrder, version: int) -> int:
        """The longest packet that the blue one knows to arrive at another's address in the subnet, after one that is
        longer than a tunnel takes.
        """
        family, level, discover, mtu = {
            4: (socket.AF_INET, socket.IPPROTO_IP, 10, 14),  # IP_MTU_DISCOVER, IP_MTU
            6: (socket.AF_INET6, socket.IPPROTO_IPV6, 23, 24),  # IPV6_MTU_DISCOVER, IPV6_MTU
        }[version]
        with netns.inside(namespace_of(self.here.prefix, self.blue.uid)):
            sender = socket.socket(family, socket.SOCK_DGRAM)
        with sender:
            sender.connect((str(inside(asked, version)), 9))
            sender.setsockopt(level, discover, 2)  # never in pieces
            with suppress(OSError):
                sender.send(bytes(1450))
            return sender.getsockopt(level, mtu)

    def leaks(self) -> bool:
        """Whether what the blue one sends from its address in the subnet arrives at a public address of the red one."""
        before = self._echoes(self.red, self.here)
        self._ping(self.blue, inside(self.blue, 4), external(self.red))
        space = namespace_of(self.here.prefix, self.blue.uid)
        assert self.lab.get(external(self.red), namespace=space) == self.red.name, "what is sent later arrives"
        return self._echoes(self.red, self.here) > before

    def intrudes(self, asked: InstanceOrder, host: Host) -> bool:
        """Whether what the red one sends arrives at another's address in the subnet, as far as is seen at once."""
        before = self._echoes(asked, host)
        self._ping(self.red, external(self.red), inside(asked, 4))
        return self._echoes(asked, host) > before

    def _ping(self, sender: InstanceOrder, source: Address, target: Address) -> None:
        with netns.inside(namespace_of(self.here.prefix, sender.uid)):
            sender_ = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with sender_:
            sender_.bind((str(source), 0))
            sender_.sendto(bytes.fromhex("0800f7ff00000000"), (str(target), 0))

    def _echoes(self, asked: InstanceOrder, host: Host) -> int:
        """How many pings an instance has got."""
        with netns.inside(namespace_of(host.prefix, asked.uid)):
            names, numbers = (
                line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
                if line.startswith("Icmp:")
            )  # fmt: skip
        return int(numbers[names.index("InEchos")])


def with_family(instance: InstanceOrder, version: int) -> InstanceOrder:
    """Without addresses of the other one."""
    (link,) = instance.links
    addresses = tuple(a for a in link.addresses if a.private.version == version)
    return replace(
        instance,
        links=(replace(link, addresses=addresses),),
        anycast=tuple(a for a in instance.anycast if a.version == version),
    )


def inside(instance: InstanceOrder, version: int) -> Address:
    """Its address in the subnet."""
    return next(a.vpc for a in instance.addresses() if a.vpc is not None and a.vpc.version == version)
