"""What a guest is told when it starts, as cloud-init's NoCloud has it. Pure.

In: an incarnation and its machine. Out: four files. `meta-data`, `network-config` (both JSON, which is YAML too) and
`user-data` are what cloud-init knows; `vendor-data` is a boot hook, which it runs at each start (see `vendor`). The
incarnation's uid is the guest's instance id: a new one is a new instance, whose user data is run once.
"""

import base64
import binascii
import json
from typing import Any

from anypop.agent.act.instances.machines.vendor import vendor_data
from anypop.agent.naming import RESOLVER4, RESOLVER6, inside_mac, inside_name
from anypop.model.names import host_label
from anypop.model.order import InstanceLink, InstanceOrder
from anypop.model.workload import Container

META_DATA, USER_DATA, VENDOR_DATA, NETWORK_CONFIG = "meta-data", "user-data", "vendor-data", "network-config"


def seed_files(instance: InstanceOrder, container: Container, *, pop: str, mac: str) -> dict[str, bytes]:
    """By name. `mac`: of the guest's network card."""
    machine = container.machine
    return {
        META_DATA: _text(_meta_data(instance, pop, machine.ssh_keys if machine is not None else ())),
        NETWORK_CONFIG: _text(_network_config(instance, mac)),
        VENDOR_DATA: vendor_data(instance, container, mac=mac).encode(),
        USER_DATA: _decoded(machine.user_data) if machine is not None else b"",
    }


def _meta_data(instance: InstanceOrder, pop: str, ssh_keys: tuple[str, ...]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "instance-id": instance.uid,
        "local-hostname": host_label(instance.name),
        "availability-zone": pop,
    }
    return told | ({"public-keys": list(ssh_keys)} if ssh_keys else {})


def _network_config(instance: InstanceOrder, mac: str) -> dict[str, Any]:
    """Its private addresses and ways out, in version 2: those of the first interface, the others have addresses alone.
    What stands on its loopback is the boot hook's, and so are other routes.
    """
    # the old form: cloud-init 22 makes ::/64 of a route to ::/0
    out = {f"gateway{one.private.version}": str(one.gateway) for one in instance.links[0].addresses}
    cards = {inside_name(0): _card(0, mac, instance.links[0]) | out | {"nameservers": _nameservers(instance)}}
    for n, link in enumerate(instance.links[1:], 1):
        cards[inside_name(n)] = _card(n, inside_mac(instance.uid, n).hex(":"), link)
    return {"version": 2, "ethernets": cards}


def _card(interface: int, mac: str, link: InstanceLink) -> dict[str, Any]:
    addresses = list[str]()
    for one in link.addresses:
        if one.vpc is not None:  # first: it is what programs that ask for their address are to find
            addresses.append(f"{one.vpc}/{one.vpc.max_prefixlen}")
        addresses.append(f"{one.private}/{one.private.max_prefixlen - 1}")
    return {
        "match": {"macaddress": mac},
        "set-name": inside_name(interface),
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "addresses": addresses,
    }


def _nameservers(instance: InstanceOrder) -> dict[str, list[str]]:
    """As `own_files.resolv_conf_text` has them."""
    asked = instance.payload.around.resolving
    families = {one.private.version for one in instance.links[0].addresses}
    own = [address for address in (RESOLVER4, RESOLVER6) if address.version in families]
    searches = list(asked.searches)
    if not asked.nameservers and instance.hosts_domain:
        searches = list(dict.fromkeys((*searches, instance.hosts_domain)))
    told = {"addresses": [str(address) for address in asked.nameservers or own]}
    return told | ({"search": searches} if searches else {})


def _decoded(user_data: str) -> bytes:
    try:
        return base64.b64decode(user_data)
    except (binascii.Error, ValueError):  # an order of somebody who did not check it
        return b""


def _text(told: dict[str, Any]) -> bytes:
    return (json.dumps(told, indent=2, ensure_ascii=False) + "\n").encode()
