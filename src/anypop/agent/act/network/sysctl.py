"""Kernel settings of the router's namespace, read and written under /proc/sys/net (the calling thread's namespace).

In: nothing; what a PoP's router needs is fixed and argued below. Out: settings as they must be. Missing files (a
kernel without IPv6) are left.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_NET = Path("/proc/sys/net")
_LONGEST = 100
# Source, destination, protocol and both ports (bits 1, 2, 4, 16, 32 of linux/ipv6.h and ip_fib.h), without IPv6's
# flow label (8). Policy 1 hashes the same fields of a foreign packet, but takes the hash that a packet of this very
# kernel has already: its socket's, and that is a new one after each retransmission timeout, so that flows that stay
# would move. Policy 3 reads the packet, always. The fields come first: the policy is what counts as "set".
HASH = {
    "ipv4/fib_multipath_hash_fields": "55",
    "ipv6/fib_multipath_hash_fields": "55",
    "ipv4/fib_multipath_hash_policy": "3",
    "ipv6/fib_multipath_hash_policy": "3",
}
_WANTED = HASH | {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv4/conf/all/rp_filter": "0",  # anycast is asymmetric: what comes by one upstream may leave by another
    "ipv4/conf/default/rp_filter": "0",
    # Of an unreachable route Linux takes one error from those that it allows an asker, one in a second, and then at
    # this rate (ms) another from the same: at 1000, its default, a TCP that tries again each second empties it for ever
    # and hears of none. Here an asker has a twentieth of what all together have (icmp_msgs_per_sec)
    "ipv4/icmp_ratelimit": "20",  # whole ticks at 100, 250, 300 and 1000 Hz: others read back as another number
}


def _settings(interfaces: Iterable[str]) -> dict[Path, str]:
    # the stricter of "all" and the interface's own value holds, so an upstream's own must be 0 as well
    own = {f"ipv4/conf/{name}/rp_filter": "0" for name in interfaces}
    return {_NET / path: value for path, value in (_WANTED | own).items()}


def is_prepared(interfaces: Iterable[str]) -> bool:
    """Whether all settings are as they must be."""
    return all(_read(path) in (value, None) for path, value in _settings(interfaces).items())


def _read(path: Path) -> str | None:
    """None: there is no such setting. Asked for again and again, so without a file object around it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(handle, _LONGEST).decode().strip()
    finally:
        os.close(handle)


def prepare(interfaces: Iterable[str]) -> bool:
    """Make them so. True when the hash of flows has changed by it: then flows have moved in their groups, once."""
    rehashed = False
    for path, value in _settings(interfaces).items():
        if _read(path) not in (value, None):
            path.write_text(value)
            rehashed |= str(path.relative_to(_NET)) in HASH
    return rehashed
