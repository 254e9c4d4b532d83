"""What the process that stays with virtual machines is to know: the guests of this host, and what each is told. Pure.

In: instances of the order, those under removal too, and where things are on this host. Out: one `Guest` for each that
is a machine. What its user has declared for it alone (user data) is no part of it.
"""

from collections.abc import Iterable

from anypop.agent.guests.wanted import Guest
from anypop.agent.naming import inside_mac, namespace_of
from anypop.model.names import CityCode, host_label
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container


def guests_for(
    instances: Iterable[InstanceOrder], *, prefix: str, pop: CityCode, machines: str, kept: str, log_bytes: int
) -> tuple[Guest, ...]:
    """`machines`: the folder that has one for each machine, by uid; `kept`: that of logs of earlier lives."""
    return tuple(
        Guest(
            uid=instance.uid,
            console=serial_port(machines, instance.uid),
            kept=f"{kept}/{instance.uid}/{container.name}",
            namespace=namespace_of(prefix, instance.uid),
            log_bytes=log_bytes,
            about=about(instance, container, pop),
        )
        for instance in instances
        for container in instance.containers
        if container.machine is not None
    )


def serial_port(machines: str, uid: str) -> str:
    """The socket of QEMU's; see `guests_for`."""
    return f"{machines}/{uid}/own/console.sock"


def about(instance: InstanceOrder, container: Container, pop: CityCode) -> dict[str, str]:
    """By path below `meta-data/`, with EC2's names where it has one."""
    told = {
        "instance-id": instance.uid,
        "hostname": host_label(instance.name),
        "local-hostname": host_label(instance.name),
        "mac": inside_mac(instance.uid).hex(":"),
        "placement/availability-zone": pop,
    }
    external = next((a for a in instance.externals() if a.version == 4), None)
    addresses = {"local-ipv4": instance.private(4), "public-ipv4": external, "ipv6": instance.private(6)}
    addresses |= {f"anycast-ipv{address.version}": address for address in instance.anycast}
    told |= {name: str(address) for name, address in addresses.items() if address is not None}
    keys = container.machine.ssh_keys if container.machine is not None else ()
    return told | {f"public-keys/{number}/openssh-key": key for number, key in enumerate(keys)}
