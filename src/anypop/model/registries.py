"""Where images may come from: which addresses a tenant's image name may never lead to.

In: an image reference, an address that its host resolved to, and the operator's list (`instances.registries` of the
network document). Out: words for what is wrong, or nothing. Pure: resolving, redirects and connections are the agent's
(`agent.act.instances.gate`); the API asks here about what stands in the name itself.
"""

import re
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from anypop.model.errors import Problem

Address = IPv4Address | IPv6Address
DEFAULT = "docker.io"
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: holds an IPv4 address in its last bits
_LISTED = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?")


def domain_of(image: str) -> str:
    """The registry of a reference, with its port where there is one: the first part, where that is no name of a
    repository (a dot, a colon, or `localhost`), else Docker Hub.
    """
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else DEFAULT


def host_and_port(domain: str) -> tuple[str, int | None]:
    """`[::1]:5000` as ::1 and 5000; the port is None where there is none."""
    found = re.fullmatch(r"\[?(.*?)\]?(?::(\d{1,5}))?", domain) if domain.count(":") < 2 or "[" in domain else None
    host, port = (found[1], found[2]) if found is not None else (domain, None)
    return host.rstrip(".").lower(), int(port) if port else None


def is_listed(host: str, port: int, registries: Collection[str]) -> bool:
    """Whether the operator lists it, for this port or for all."""
    told = (host_and_port(one) for one in registries)
    return any(name == host and number in (None, port) for name, number in told)


def refusal(address: Address) -> str:
    """Why no image may come from this address, in words; empty where one may."""
    inner = _inside(address)
    if inner is not None:
        return refusal(inner)
    for is_so, what in (
        (address.is_unspecified, "no address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (not address.is_global, "a private or reserved address"),
    ):
        if is_so:
            return what
    return ""


def _inside(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def literal_refusal(image: str, registries: Collection[str]) -> str:
    """What is wrong with a reference whose registry is written as an address; empty where nothing is."""
    host, port = host_and_port(domain_of(image))
    if host == "localhost" or host.endswith(".localhost"):
        why = "this machine itself"
    else:
        try:
            why = refusal(ip_address(host))
        except ValueError:
            return ""  # a name: it is the agent that resolves it
    if not why or any(is_listed(host, p, registries) for p in ((port,) if port else (80, 443))):
        return ""
    return f"{host} is {why}: images come from there only where the operator lists it (instances.registries)"


def problems(registries: Collection[str], path: str) -> Iterator[Problem]:
    """What is wrong with an operator's list."""
    for n, one in enumerate(registries):
        if not _LISTED.fullmatch(one) or not 0 < (host_and_port(one)[1] or 1) < 1 << 16:
            message = f"{one[:80]!r} is no registry; write HOST or HOST:PORT, as registry.example:5000"
            yield Problem(path=f"{path}[{n}]", message=message)
