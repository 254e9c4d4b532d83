"""How a container is shut in, as Podman's API wants it told (libpod's SpecGenerator). Pure.

In: the instance, its container, the operator's rules, and how its users stand to the host's. Out: the members of the
body of `containers/create` that confine it: capabilities, users, privileges, control groups, processes. Seccomp and
hidden parts of /proc are Podman's defaults, which nothing here takes away. It gives a process nothing that Podman's own
default would not, unless the workload asked and the operator allows it.
"""

from typing import Any

from anypop.model.confinement import CAPABILITIES, GIVEN, MOST_USERS, Confinement, InstanceRules, capabilities_of
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container

# The users of instances on the host: 4,096 ranges from here to 2^31. systemd keeps them free of others (UIDS-GIDS.md
# of systemd: 1879048192 to 2147483647 are unused), and beyond them some programs take a user for a negative number.
FIRST_USER = 1_879_048_192
_RANGES = 4096
# the kernel's defaults, and the least that it takes (sched-bwc.rst, cgroup-v1/cpu)
_CPU_PERIOD_US, _LEAST_QUOTA_US, _SHARES_OF_A_CORE = 100_000, 1000, 1024
# Podman would mount shared memory on the host and lend it to the container; where the container has users of its own,
# that mount is sometimes busy for a moment after its end, and Podman then fails to remove it (1 in 20 with 4.3). So it
# is the container's own, of the size and with the flags that Podman gives it.
_SHARED_MEMORY = {
    "destination": "/dev/shm",
    "type": "tmpfs",
    "source": "shm",
    "options": ["rw", "nosuid", "nodev", "noexec", "mode=1777", "size=65536k"],
}


def first_user(instance: InstanceOrder) -> int:
    """The host's user that is root in this instance: it follows from the number of its link, which no two instances
    of a host share.
    """
    address = next(instance.addresses()).private
    return FIRST_USER + (int(address) >> 1) % _RANGES * MOST_USERS


def shut_in(instance: InstanceOrder, container: Container, confinement: Confinement) -> dict[str, Any]:
    """Members of the body. An `OLDER` one is made as it was made then, since its processes may rely on it."""
    if confinement is Confinement.OLDER:
        return {}
    asked, may = container.security, capabilities_of(container.security)
    body: dict[str, Any] = {
        # What is given stands in Podman's own default, and the rest is dropped by name: what is added by name, Podman
        # also gives to processes of other users than root.
        "cap_drop": [name for name in CAPABILITIES if name not in may],
        "cap_add": sorted(may - GIVEN | (set(asked.add) & may)),
        "no_new_privileges": not asked.escalation,
        "cgroupns": {"nsmode": "private"},
        "read_only_filesystem": asked.read_only,
        "ipcns": {"nsmode": "none"},
        "mounts": [_SHARED_MEMORY],
    }
    if asked.user is not None:
        body["user"] = f"{asked.user}:{asked.group}" if asked.group is not None else str(asked.user)
    if asked.groups:
        body["groups"] = [str(group) for group in asked.groups]
    if confinement is Confinement.OWN_USERS:
        mapped = [{"container_id": 0, "host_id": first_user(instance), "size": MOST_USERS}]
        body |= {"userns": {"nsmode": "private"}, "idmappings": {"UIDMap": mapped, "GIDMap": mapped}}
    return body


def resources(container: Container, rules: InstanceRules, confinement: Confinement) -> dict[str, Any]:
    """Members of `resource_limits`: memory, without swap beside it, and processes. What a container is sure of is taken
    from it last.
    """
    most = container.most_memory_bytes
    if confinement is Confinement.OLDER:
        return {"memory": {"limit": most}}
    memory = {"limit": most, "swap": most, "reservation": container.memory_bytes}
    return {"memory": memory, "pids": {"limit": rules.processes}}


def cpu(container: Container, confinement: Confinement) -> dict[str, int]:
    """A member of `resource_limits`: as much as it may have, and its share where all want more than there is."""
    quota = max(_LEAST_QUOTA_US, container.most_cpu_millis * _CPU_PERIOD_US // 1000)
    limit = {"quota": quota, "period": _CPU_PERIOD_US}
    if confinement is Confinement.OLDER:
        return limit
    return limit | {"shares": max(2, container.cpu_millis * _SHARES_OF_A_CORE // 1000)}
