"""What is wrong with the resolvers that an operator named for hosts, for all names that are not the platform's.

In: a network document. Out: problems, each with its path. Pure.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from anypop.model.errors import Problem
from anypop.model.network import Network

MOST = 8
_LINK = IPv4Network("169.254.0.0/16")  # there is the host's own resolver


def problems(network: Network) -> Iterator[Problem]:
    yield from _of("resolvers", network.resolvers)
    for p, pop in enumerate(network.pops):
        for h, host in enumerate(pop.hosts):
            yield from _of(f"pops[{p}].hosts[{h}].resolvers", host.resolvers)


def _of(path: str, told: tuple[IPv4Address | IPv6Address, ...] | None) -> Iterator[Problem]:
    if told is not None and len(told) > MOST:
        yield Problem(path=path, message=f"has more than {MOST}; the first that answers is asked alone")
    for n, one in enumerate(told or ()):
        if one.is_multicast or one.is_unspecified or one in _LINK:
            yield Problem(path=f"{path}[{n}]", message=f"{one} is no address of a name server that a host can ask")
