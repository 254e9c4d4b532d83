"""What version 0.1 kept on an agent's disk, written from an order of today."""

from collections.abc import Sequence
from typing import Any

from anypop.model.codec import to_data
from anypop.model.order import InstanceOrder, Order


def older_page(order: Order, leaving: Sequence[InstanceOrder] = ()) -> dict[str, Any]:
    """A page of the ledger: eight addresses for an instance, no host, no template, reasons as sentences."""
    data = to_data(order)
    data["instances"] = [_instance(i) for i in order.instances]
    data["removed"] = [_removal(i) for i in leaving]
    going = [{"removal": _removal(i), "instance": _instance(i)} for i in leaving]
    return {"order": {key: value for key, value in data.items() if key != "host"}, "leaving": going}


def _removal(one: InstanceOrder) -> dict[str, Any]:
    reason = "the target now asks for fewer in each city"
    return {"name": one.name, "uid": one.uid, "reason": reason, "workload_id": one.workload_id, "index": 3}


def _instance(one: InstanceOrder) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": one.name,
        "uid": one.uid,
        "workload_id": one.workload_id,
        "hosts_domain": one.hosts_domain,
    }
    for address in one.addresses():
        version = address.private.version
        for field in ("private", "gateway", "external"):
            found[f"{field}{version}"] = str(getattr(address, field))
    for anycast in one.anycast:
        found[f"anycast{anycast.version}"] = str(anycast)
    return {**found, "containers": [to_data(c) for c in one.containers]}
