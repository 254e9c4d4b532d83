"""What is wrong with the BGP sessions of a network document, before it is stored: each problem with its path.

In: one neighbour as written, its host's place in the document. Out: problems. A session that the speaker would refuse
is refused here, where its author still reads the answer. The agent checks once more: it trusts no order. Pure.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network

from anypop.model.announce import Address
from anypop.model.errors import Problem
from anypop.model.network import Network, Upstream
from anypop.model.peering import Imports, Role, RpkiCache, UpstreamKind

_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_NAME = re.compile(r"[ -~]{1,63}")
_LARGEST_AS = (1 << 32) - 1
# least and most; BGP's hold time is two octets and at least 3 s (RFC 4271), BFD's multiplier one octet (RFC 5880)
_BOUNDS = {
    "multihop": (1, 255),
    "hold_s": (3, 65_535),
    "keepalive_s": (1, 21_845),
    "connect_s": (1, 3_600),
    "restart_s": (1, 4_095),
    "bfd_interval_ms": (10, 60_000),
    "bfd_multiplier": (2, 255),
}
_IMPORT_BOUNDS = {"max_prefixes4": (1, 10_000_000), "max_prefixes6": (1, 10_000_000), "max_path": (1, 255)}
_LONGEST_RESTART_S = 86_400.0
# which part of ours goes with which kind of neighbour (RFC 9234, section 4)
_ROLES = {
    UpstreamKind.TRANSIT: {Role.CUSTOMER},
    UpstreamKind.PEER: {Role.PEER},
    UpstreamKind.IXP: {Role.RS_CLIENT},
    UpstreamKind.EDGE: {Role.CUSTOMER},
}


def session_problems(path: str, upstream: Upstream, network: Network) -> Iterator[Problem]:
    """`path`: of the upstream in the document."""
    if not _NAME.fullmatch(upstream.name) or upstream.name != upstream.name.strip():
        yield Problem(path=f"{path}.name", message="must be 1 to 63 printable ASCII characters")
    if not 0 < upstream.asn <= _LARGEST_AS:
        yield Problem(path=f"{path}.asn", message="must be an AS number, 1 to 4294967295")
    elif upstream.asn == network.asn and upstream.kind is not UpstreamKind.EDGE:
        yield Problem(path=f"{path}.asn", message=f"AS{network.asn} is our own; only an edge router may have it")
    if not _INTERFACE.fullmatch(upstream.interface):
        yield Problem(
            path=f"{path}.interface", message="must be 1 to 15 of letters, digits and _ . @ -, such as eth0.100"
        )
    yield from _ends(path, upstream)
    yield from _numbers(path, upstream)
    yield from _imports(f"{path}.imports", upstream.imports)


def _ends(path: str, upstream: Upstream) -> Iterator[Problem]:
    pairs: tuple[tuple[int, Address | None, Address | None], ...] = (
        (4, upstream.neighbor4, upstream.local4),
        (6, upstream.neighbor6, upstream.local6),
    )
    if not any(upstream.has_session(family) for family in (4, 6)) and not any(n or own for _, n, own in pairs):
        yield Problem(path=path, message="has no addresses: neighbor4 and local4, or neighbor6 and local6")
    for family, neighbor, local in pairs:
        if (neighbor is None) != (local is None) and not upstream.has_session(family):
            missing, other = ("neighbor", "local") if neighbor is None else ("local", "neighbor")
            yield Problem(path=f"{path}.{missing}{family}", message=f"is required, since {other}{family} is there")
        for name, address in (("neighbor", neighbor), ("local", local)):
            if address is not None and (address.is_multicast or address.is_unspecified or address.is_loopback):
                yield Problem(path=f"{path}.{name}{family}", message=f"{address} is no machine's address")
        if neighbor is None:
            continue
        if neighbor == local:
            yield Problem(path=f"{path}.neighbor{family}", message="is our own end of the session as well")
        if neighbor.is_link_local and upstream.multihop is not None:
            yield Problem(path=f"{path}.multihop", message=f"{neighbor} is on the link; leave multihop out")
        if local is not None and local.is_link_local != neighbor.is_link_local:
            yield Problem(path=f"{path}.local{family}", message="one end is link-local and the other is not")


def _numbers(path: str, upstream: Upstream) -> Iterator[Problem]:
    yield from _bounded(path, upstream, _BOUNDS)
    if upstream.keepalive_s is not None and upstream.keepalive_s >= (upstream.hold_s or 240):
        yield Problem(path=f"{path}.keepalive_s", message="must be below hold_s, best a third of it")
    if upstream.role is not None and upstream.role not in _ROLES[upstream.kind]:
        fits = ", ".join(sorted(_ROLES[upstream.kind]))
        yield Problem(path=f"{path}.role", message=f"to a neighbour of kind {upstream.kind} we are {fits}")
    file = upstream.password_file
    if file is not None and not (file.startswith("/") and re.fullmatch(r"[!-~]{2,255}", file)):
        yield Problem(path=f"{path}.password_file", message="must be the whole path of a file on the host")


def _imports(path: str, imports: Imports) -> Iterator[Problem]:
    yield from _bounded(path, imports, _IMPORT_BOUNDS)
    if not 1 <= imports.restart_after_s <= _LONGEST_RESTART_S:
        yield Problem(
            path=f"{path}.restart_after_s", message=f"must be a number of seconds, 1 to {_LONGEST_RESTART_S:.0f}"
        )
    for index, prefix in enumerate(imports.allow):
        if prefix.prefixlen < (8 if isinstance(prefix, IPv4Network) else 16):
            yield Problem(
                path=f"{path}.allow[{index}]", message=f"{prefix} is too much: it would allow nearly anything"
            )


def _bounded(path: str, holder: object, bounds: dict[str, tuple[int, int]]) -> Iterator[Problem]:
    for name, (least, most) in bounds.items():
        value = getattr(holder, name)
        if value is not None and not least <= value <= most:
            yield Problem(path=f"{path}.{name}", message=f"must be {least} to {most}")


def cache_problems(path: str, cache: RpkiCache) -> Iterator[Problem]:
    """An RPKI cache."""
    if not _HOST.fullmatch(cache.host):
        yield Problem(path=f"{path}.host", message="must be the address or name of a machine")
    if not 0 < cache.port < 65_536:
        yield Problem(path=f"{path}.port", message="must be a TCP port, 1 to 65535")
