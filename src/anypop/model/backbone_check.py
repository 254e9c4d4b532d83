"""What is wrong with the backbone of a network document, and with its policies, before it is stored.

In: the whole network. Out: problems, each with its path. A tunnel that cannot work, or an address that would lead to
two machines, is refused here, where its author still reads the answer. Pure.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address

from anypop.model.announce import Prefix
from anypop.model.errors import Problem
from anypop.model.names import HostName
from anypop.model.network import Host, Network

# what the speakers of hosts listen at themselves: BFD (RFC 5881, 5883) and its echo
_PORTS_TAKEN = (3784, 3785, 4784)
# IPv6 works with nothing smaller than 1280 bytes (RFC 8200); no Ethernet carries more than 9,216 with what is around it
_BOUNDS = {"port": (1, 65_535), "mtu": (1_280, 9_180), "bfd_interval_ms": (10, 60_000), "bfd_multiplier": (2, 255)}


def backbone_problems(network: Network) -> Iterator[Problem]:
    """The rules, each host's end of the tunnels, and the numbers by which hosts know each other."""
    rules = network.backbone
    if rules is not None:
        for name, (least, most) in _BOUNDS.items():
            if not least <= getattr(rules, name) <= most:
                yield Problem(path=f"backbone.{name}", message=f"must be {least} to {most}")
        if rules.port in _PORTS_TAKEN:
            yield Problem(path="backbone.port", message=f"{rules.port} is where BFD listens; use another")
    ends: dict[IPv4Address, HostName] = {}
    numbers: dict[IPv4Address, HostName] = {}
    for index, pop in enumerate(network.pops):
        for place, host in enumerate(pop.hosts):
            path = f"pops[{index}].hosts[{place}]"
            if rules is not None and (other := numbers.setdefault(host.router_id, host.name)) != host.name:
                message = f"{host.router_id} is {other}'s already; by it hosts know each other on the backbone"
                yield Problem(path=f"{path}.router_id", message=message)
            if rules is None and host.backbone_address is None:
                continue
            yield from _end(f"{path}.backbone_address", host, network)
            if (other := ends.setdefault(host.tunnel_address, host.name)) != host.name:
                yield Problem(path=f"{path}.backbone_address", message=f"{host.tunnel_address} is {other}'s already")


def _end(path: str, host: Host, network: Network) -> Iterator[Problem]:
    """A host's end of the tunnels: a machine's address, and nobody's else."""
    address = host.tunnel_address
    if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local:
        yield Problem(path=path, message=f"{address} is no address by which other hosts reach it")
        return
    places = max(0, min(host.external4.num_addresses, host.external6.num_addresses) - 2)
    if 1 <= int(address) - int(host.external4.network_address) <= places:
        message = f"{address} is one that an instance may get; use {host.external4[0]}, or one outside {host.external4}"
        yield Problem(path=path, message=message)
    taken: list[tuple[str, Prefix]] = [("a covering prefix", prefix) for prefix in network.anycast4]
    for _, other in network.hosts():
        taken.append((f"{other.name}'s private4", other.private4))
        if other.name != host.name:
            taken.append((f"{other.name}'s external4", other.external4))
    for what, prefix in taken:
        if address in prefix:
            yield Problem(path=path, message=f"{address} lies inside {prefix}, {what}")


def policy_problems(network: Network) -> Iterator[Problem]:
    """Policies of covering prefixes: each of one that there is, once, for PoPs that there are."""
    covering: set[Prefix] = {*network.anycast4, *network.anycast6}
    cities = {pop.city for pop in network.pops}
    seen: set[Prefix] = set()
    for index, policy in enumerate(network.policies):
        path = f"policies[{index}]"
        if policy.prefix not in covering:
            message = f"{policy.prefix} is none of anycast4 and anycast6"
            yield Problem(path=f"{path}.prefix", message=message)
        if policy.prefix in seen:
            yield Problem(path=f"{path}.prefix", message=f"{policy.prefix} is there already")
        seen.add(policy.prefix)
        if policy.pops is None:
            continue
        if not policy.pops:
            message = "nobody would announce the prefix; leave pops out for all PoPs, or name some"
            yield Problem(path=f"{path}.pops", message=message)
        for number, city in enumerate(policy.pops):
            if city not in cities:
                yield Problem(path=f"{path}.pops[{number}]", message=f"there is no PoP {city}")
