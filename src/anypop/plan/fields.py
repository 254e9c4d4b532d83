"""An instance as the Workload API describes it, and environment taken from that description.

In: an instance's order, its slot and its workload. Out: the fixed half of the API's instance object (the API adds
phase, times and container states from reports), and the order with `env` complete. Nothing here depends on where the
instance stands in its life.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from anypop.model.cities import country_name, find_city
from anypop.model.names import CityCode
from anypop.model.order import InstanceOrder
from anypop.model.plan import Incarnation
from anypop.model.workload import Container, Workload
from anypop.plan.jsonpath import steps_of, value_at

LABELS = "workload.platform.stackpath.net"
ANYCAST = "anycast.platform.stackpath.net"
SUBNETS = f"{ANYCAST}/subnets"
LOCAL_ONLY = "anypop/local-only"  # ours: StackPath carried every anycast address


def filled(order: InstanceOrder, slot: Incarnation, workload: Workload) -> InstanceOrder:
    """`order` with values from instance fields written into each container's `env`. Paths were proved at parsing; one
    without a value is left out.
    """
    if not [c for c in order.every_container if c.env_from_instance]:
        return order
    fields = instance_fields(order, slot, workload)
    main, init = (tuple(_with_env(c, fields) for c in all_) for all_ in (order.containers, order.init))
    return replace(order, payload=replace(order.payload, containers=main, init=init))


def instance_fields(order: InstanceOrder | None, slot: Incarnation, workload: Workload) -> dict[str, Any]:
    """The instance as the API shows it, without what changes over its life. Without an order (it is on its way out) it
    has no addresses.

    Every instance has both families; the anycast address has IPv6 only where the workload asked for it.
    """
    annotations = dict(workload.annotations)
    if order is not None and order.anycast:
        annotations[SUBNETS] = subnets(*order.anycast)
    shown: dict[str, Any] = {
        "id": slot.uid,
        "stackId": workload.stack_id,
        "workloadId": workload.id,
        "name": slot.name,
        "metadata": {"labels": instance_labels(slot.target, workload)}
        | ({"annotations": annotations} if annotations else {}),
        "location": location(slot.pop),
    }
    return shown if order is None else shown | _addresses(order)


def _addresses(order: InstanceOrder) -> dict[str, Any]:
    found: dict[str, Any] = {}
    interfaces = []
    for link in order.links:
        shown: dict[str, Any] = {"network": link.network}
        for address in link.addresses:
            ip, gateway, _, _ = _KEYS[address.private.version]
            shown |= {ip: str(address.known), gateway: str(address.gateway)}
        interfaces.append(shown)
    for address in order.links[0].addresses:
        ip, _, external, aliases = _KEYS[address.private.version]
        found |= {ip: str(address.known)} | ({external: str(address.external)} if address.external else {})
        if also := [str(a) for a in (*order.beside, *order.anycast) if a.version == address.private.version]:
            interfaces[0][aliases] = also
    return found | {"networkInterfaces": interfaces}


# the API's names of an instance's address, its gateway, its external address and its further addresses, by family
_KEYS = {
    4: ("ipAddress", "gateway", "externalIpAddress", "ipAddressAliases"),
    6: ("ipv6Address", "ipv6Gateway", "externalIpv6Address", "ipv6AddressAliases"),
}


def instance_labels(target: str, workload: Workload) -> dict[str, str]:
    """The user's labels and the platform's: clients group instances by them."""
    return dict(workload.labels) | {
        f"{LABELS}/target-name": target,
        f"{LABELS}/workload-slug": workload.slug,
        f"{LABELS}/workload-id": workload.id,
    }


def location(code: CityCode) -> dict[str, Any]:
    """A city as the API's locations and instances show it, without what it has not; only its code where no airport
    has it (a lab's own).
    """
    city = find_city(code)
    if city is None:
        return {"name": code, "city": code, "cityCode": code, "status": "active"}
    known = {
        "name": city.name,
        "city": city.name,
        "cityCode": code,
        "subdivision": city.subdivision,
        "country": country_name(city.country),
        "countryCode": city.country,
        "region": city.continent_name,
        "regionCode": city.continent,
        "continent": city.continent_name,
        "continentCode": city.continent,
        "latitude": city.latitude,
        "longitude": city.longitude,
        "status": "active",
    }
    return {key: value for key, value in known.items() if value != ""}


def subnets(address4: object, address6: object | None = None) -> str:
    """The value of the annotation that tells clients a workload's anycast addresses: IPv4 first, since old clients
    read but one.
    """
    return f"{address4}/32" + (f",{address6}/128" if address6 is not None else "")


def _with_env(container: Container, fields: Mapping[str, Any]) -> Container:
    if not container.env_from_instance:
        return container
    found = ((name, value_at(steps_of(path), fields)) for name, path in container.env_from_instance)
    return replace(container, env=container.env + tuple((name, value) for name, value in found if value is not None))
