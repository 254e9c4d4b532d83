"""What shuts an instance in: capabilities, users, and what the operator lets a tenant ask for.

In: nothing; these are the nouns of `plan.security` (what a workload asks for), of the network document (what the
operator lets it have) and of the agent (what a container is made with). Pure. It grants nothing by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from anypop.model import registries, volume
from anypop.model.announce import Address, Prefix
from anypop.model.errors import Problem
from anypop.model.volume import StorageClass

# Linux's own, by number (linux/capability.h)
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
# What a server needs that starts as root, takes its files, and becomes another user: Podman's default without
# SYS_CHROOT, SETPCAP and SETFCAP, which a workload may ask for.
GIVEN = frozenset({"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"})
ADDABLE = ("SETFCAP", "SETPCAP", "SYS_CHROOT")

# Users and groups of an instance are 0 to this: as many as its own user namespace has.
MOST_USERS = 65_536
# What Kubernetes calls safe of the settings that belong to a network namespace, and the accept queue. The value is
# one number, or two where it is a range.
SYSCTLS = frozenset({
    "net.core.somaxconn", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
})  # fmt: skip


class Confinement(StrEnum):
    """How the users of a container stand to the host's. An incarnation keeps the one that it was born with."""

    OWN_USERS = "own-users"
    """A user namespace: root inside is nobody outside."""
    HOST_USERS = "host-users"
    """The kernel or the file system cannot map users: root inside is root outside, with few capabilities."""
    OLDER = "older"
    """Made by an older version of Anypop, as Podman's configuration had it then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What a container asks for (the API's `securityContext`). None: as the image says. `add` and `drop`: names of
    capabilities without CAP_, `drop` may hold ALL. `sysctls`: of the network that all containers of an instance share.
    """

    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] = ()
    non_root: bool = False
    read_only: bool = False
    escalation: bool = False
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()


PLAIN = Security()


def capabilities_of(security: Security) -> frozenset[str]:
    """Those that its processes may have at most."""
    left = frozenset[str]() if "ALL" in security.drop else GIVEN - set(security.drop)
    return left | set(security.add)


# Where operators have their management, and nobody on the Internet is (RFC 1918, RFC 6598, RFC 4193).
PRIVATE: tuple[Prefix, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("fc00::/7"),
)


# of three operators, since an instance may open nothing to most resolvers that a host itself asks (`unreachable`)
PUBLIC_RESOLVERS: tuple[Address, ...] = (
    IPv4Address("1.1.1.1"),
    IPv4Address("9.9.9.9"),
    IPv6Address("2001:4860:4860::8888"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRules:
    """The operator's rules for instances, a part of the network document.

    `capabilities`: what a tenant may add. `processes`: how many a container may have, threads included. `registries`:
    HOST or HOST:PORT, from which images may come although their address is not a public one. `log_bytes`: how large a
    log may be; a container has two, the one that is written and the one before. `unreachable`: networks to which an
    instance may open nothing, whatever the routes say; it answers who asks from there.
    `disk_bytes`: what a container may write beside its image, once its host's disk is nearly full. `nameservers`: whom
    an instance asks for names where its workload names none. `images_kept_s`: how long an image stays on a
    host where nobody needs it any more.
    `storage_classes`: kinds of storage for volumes, beside the one that every host has.
    """

    capabilities: tuple[str, ...] = ADDABLE
    processes: int = 2048
    registries: tuple[str, ...] = ()
    log_bytes: int = 10 << 20
    unreachable: tuple[Prefix, ...] = PRIVATE
    disk_bytes: int = 10 << 30
    nameservers: tuple[Address, ...] = PUBLIC_RESOLVERS
    images_kept_s: float = 600.0
    storage_classes: tuple[StorageClass, ...] = ()


PLAIN_RULES = InstanceRules()
_SMALLEST_LOG, _LARGEST_LOG = 64 << 10, 1 << 40  # a line of conmon's has up to 8 KiB
_LEAST_DISK, _MOST_DISK = 1 << 20, 1 << 50
_LONGEST_KEPT_S = 30 * 86_400
_MOST_NAMESERVERS = 3  # of glibc
_FEWEST_PROCESSES, _MOST_PROCESSES = 8, 1 << 20


def problems(rules: InstanceRules, path: str) -> Iterator[Problem]:
    """What is wrong with the rules that an operator wrote."""
    for n, name in enumerate(rules.capabilities):
        if name not in CAPABILITIES:
            yield Problem(path=f"{path}.capabilities[{n}]", message=f"{name!r} is no capability; write it as NET_RAW")
    if not _FEWEST_PROCESSES <= rules.processes <= _MOST_PROCESSES:
        message = f"must be {_FEWEST_PROCESSES} to {_MOST_PROCESSES}"
        yield Problem(path=f"{path}.processes", message=message)
    if not _SMALLEST_LOG <= rules.log_bytes <= _LARGEST_LOG:
        yield Problem(path=f"{path}.log_bytes", message=f"must be {_SMALLEST_LOG} to {_LARGEST_LOG}")
    if not _LEAST_DISK <= rules.disk_bytes <= _MOST_DISK:
        yield Problem(path=f"{path}.disk_bytes", message=f"must be {_LEAST_DISK} to {_MOST_DISK}")
    if len(rules.nameservers) > _MOST_NAMESERVERS:
        message = f"has more than {_MOST_NAMESERVERS}; resolvers ask the first {_MOST_NAMESERVERS} alone"
        yield Problem(path=f"{path}.nameservers", message=message)
    if not 0 <= rules.images_kept_s <= _LONGEST_KEPT_S:
        yield Problem(path=f"{path}.images_kept_s", message=f"must be 0 to {_LONGEST_KEPT_S}")
    yield from volume.problems(rules.storage_classes, f"{path}.storage_classes")
    yield from registries.problems(rules.registries, f"{path}.registries")
