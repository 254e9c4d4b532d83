"""An instance as the Workload API describes it, and environment taken from that description.

In: an instance's order, its slot and its workload. Out: the fixed half of the API's instance object (the API adds phase, times and
container states from reports), and the order with `env` complete. Nothing here depends on where the instance stands in its life.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from anypop.model.cities import find_city
from anypop.model.names import CityCode
from anypop.model.order import InstanceOrder
from anypop.model.plan import Slot
from anypop.model.workload import Container, Workload
from anypop.plan.jsonpath import steps_of, value_at

LABELS = "workload.platform.stackpath.net"
ANYCAST = "anycast.platform.stackpath.net"
SUBNETS = f"{ANYCAST}/subnets"
NETWORK = "default"  # the one network there is


def filled(order: InstanceOrder, slot: Slot, workload: Workload) -> InstanceOrder:
    """`order` with values from instance fields written into each container's `env`. Paths were proved at parsing; one without a value is
    left out.
    """
    if not any(c.env_from_instance for c in order.containers):
        return order
    fields = instance_fields(order, slot, workload)
    return replace(order, containers=tuple(_with_env(c, fields) for c in order.containers))


def instance_fields(order: InstanceOrder | None, slot: Slot, workload: Workload) -> dict[str, Any]:
    """The instance as the API shows it, without what changes over its life. Without an order (it is on its way out) it has no addresses.

    Every instance has both families; the anycast address has IPv6 only where the workload asked for it.
    """
    annotations = dict(workload.annotations)
    if order is not None and order.anycast4 is not None:
        annotations[SUBNETS] = subnets(order.anycast4, order.anycast6)
    shown: dict[str, Any] = {
        "id": slot.uid,
        "stackId": workload.stack_id,
        "workloadId": workload.id,
        "name": slot.name,
        "metadata": {"labels": instance_labels(slot.target, workload)} | ({"annotations": annotations} if annotations else {}),
        "location": location(slot.pop),
    }
    return shown if order is None else shown | _addresses(order)


def _addresses(order: InstanceOrder) -> dict[str, Any]:
    link: dict[str, Any] = {
        "network": NETWORK,
        "ipAddress": str(order.private4),
        "gateway": str(order.gateway4),
        "ipv6Address": str(order.private6),
        "ipv6Gateway": str(order.gateway6),
    }
    if order.anycast4:
        link["ipAddressAliases"] = [str(order.anycast4)]
    if order.anycast6:
        link["ipv6AddressAliases"] = [str(order.anycast6)]
    return {
        "ipAddress": str(order.private4),
        "externalIpAddress": str(order.external4),
        "ipv6Address": str(order.private6),
        "externalIpv6Address": str(order.external6),
        "networkInterfaces": [link],
    }


def instance_labels(target: str, workload: Workload) -> dict[str, str]:
    """The user's labels and the platform's: clients group instances by them."""
    return dict(workload.labels) | {
        f"{LABELS}/target-name": target,
        f"{LABELS}/workload-slug": workload.slug,
        f"{LABELS}/workload-id": workload.id,
    }


def location(code: CityCode) -> dict[str, Any]:
    """A city as the API's locations and instances show it, without what it has not; only its code where no airport has it (a lab's own)."""
    city = find_city(code)
    if city is None:
        return {"name": code, "city": code, "cityCode": code, "status": "active"}
    known = {
        "name": city.name,
        "city": city.name,
        "cityCode": code,
        "subdivision": city.subdivision,
        "country": city.country,
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


def subnets(address4: object, address6: object | None) -> str:
    """The value of the annotation that tells clients a workload's anycast addresses: IPv4 first, since old clients read but one."""
    return f"{address4}/32" + (f",{address6}/128" if address6 is not None else "")


def _with_env(container: Container, fields: Mapping[str, Any]) -> Container:
    if not container.env_from_instance:
        return container
    found = ((name, value_at(steps_of(path), fields)) for name, path in container.env_from_instance)
    return replace(container, env=container.env + tuple((name, value) for name, value in found if value is not None))
