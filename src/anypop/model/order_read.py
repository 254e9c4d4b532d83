"""Orders out of JSON, quickly: the very orders that `codec.from_json` gives, from pieces that are the same in many
instances.

In: JSON text, as `order_text` writes it. Out: an order, or a difference between two. Control reads the orders of all
hosts when it starts. What is written otherwise than here expected (by another version, say) is read by the codec. A
test holds this equal to the codec for every field.
"""

import json
from dataclasses import fields, replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from anypop.model import codec
from anypop.model.announce import Address
from anypop.model.machine import MachineImage, Power
from anypop.model.names import WorkloadId
from anypop.model.order import Containers, InstanceLink, InstanceOrder, LinkAddress, Move, Order
from anypop.model.order_delta import OrderDelta
from anypop.model.sealing import Conceal, with_secrets
from anypop.model.stack_names import NamedWorkload

# What `_quickly` reads. A field that is new in the type makes it leave all instances to the codec.
INSTANCE = frozenset({
    "name", "uid", "workload_id", "stack_id", "life", "template", "revision", "restarts", "links", "anycast", "beside",
    "payload", "hosts_domain", "power", "rescue", "move",
})  # fmt: skip
_IS_KNOWN = {f.name for f in fields(InstanceOrder)} == INSTANCE
_LINK = {f.name for f in fields(InstanceLink)}
_ADDRESSES = {f.name for f in fields(LinkAddress)}


class OrderReader:
    """Reads orders; keeps what it has read of payloads as long as it lives, which is for one piece of work. `reveal`: a
    secret out of what stands in its place, by whose it is; None: it stands there itself.
    """

    def __init__(self, reveal: Conceal | None = None) -> None:
        self._reveal = reveal
        self._payloads: dict[tuple[WorkloadId, str], Containers] = {}
        self._addresses: dict[str, Address] = {}  # of anycast, which instances share
        self._names: dict[str, NamedWorkload] = {}  # hosts of a stack have the same

    def order(self, text: str) -> Order:
        """The whole order. Raises `Invalid`."""
        instances, names, frame = _apart(text)
        return replace(
            codec.from_json(Order, frame),
            instances=tuple(map(self.instance, instances)),
            names=tuple(map(self._named, names)),
        )

    def change(self, text: str) -> OrderDelta:
        """The whole difference. Raises `Invalid`."""
        instances, names, frame = _apart(text)
        return replace(
            codec.from_json(OrderDelta, frame),
            instances=tuple(map(self.instance, instances)),
            names=tuple(map(self._named, names)),
        )

    def instance(self, data: Any) -> InstanceOrder:
        """One out of plain data."""
        try:
            found = self._quickly(data) if _IS_KNOWN and data.keys() == INSTANCE else None
        except (AttributeError, KeyError, TypeError, ValueError, OSError):
            found = None  # the codec says in words what is wrong with it, where anything is
        if found is not None:
            return found
        read = codec.from_json(InstanceOrder, json.dumps(data))
        return replace(read, payload=self._revealed(read.workload_id, read.payload))

    def _quickly(self, data: dict[str, Any]) -> InstanceOrder | None:
        links = data["links"]
        if any(link.keys() != _LINK or any(a.keys() != _ADDRESSES for a in link["addresses"]) for link in links):
            return None
        return InstanceOrder(
            name=data["name"],
            uid=data["uid"],
            workload_id=data["workload_id"],
            stack_id=data["stack_id"],
            life=data["life"],
            template=data["template"],
            revision=data["revision"],
            restarts=data["restarts"],
            links=tuple(
                [
                    InstanceLink(
                        network=link["network"],
                        addresses=tuple(
                            [
                                LinkAddress(
                                    private=address_of(a["private"]),
                                    gateway=address_of(a["gateway"]),
                                    external=None if a["external"] is None else address_of(a["external"]),
                                    vpc=None if a["vpc"] is None else address_of(a["vpc"]),
                                )
                                for a in link["addresses"]
                            ]
                        ),
                        reach=tuple(map(ip_network, link["reach"])),
                        ways=tuple(map(ip_network, link["ways"])),
                        passes=tuple(map(ip_network, link["passes"])),
                    )
                    for link in links
                ]
            ),
            anycast=tuple([self._shared(a) for a in data["anycast"]]),
            beside=tuple([self._shared(a) for a in data["beside"]]),
            payload=self._payload(data["workload_id"], data["payload"]),
            hosts_domain=data["hosts_domain"],
            power=Power(data["power"]),
            rescue=None if data["rescue"] is None else codec.from_data(MachineImage, data["rescue"]),
            move=None if data["move"] is None else codec.from_data(Move, data["move"]),
        )

    def _named(self, data: Any) -> NamedWorkload:
        key = repr(data)
        known = self._names.get(key)
        if known is None:
            known = self._names[key] = codec.from_data(NamedWorkload, data)
        return known

    def _payload(self, workload: WorkloadId, data: Any) -> Containers:
        key = workload, repr(data)  # the quickest text of it; JSON takes five times as long
        known = self._payloads.get(key)
        if known is None:
            read = codec.from_json(Containers, json.dumps(data))
            known = self._payloads[key] = self._revealed(workload, read)
        return known

    def _revealed(self, workload: WorkloadId, payload: Containers) -> Containers:
        return payload if self._reveal is None else with_secrets(payload, partial(self._reveal, workload))

    def _shared(self, text: str) -> Address:
        known = self._addresses.get(text)
        if known is None:
            known = self._addresses[text] = address_of(text)
        return known


def _apart(text: str) -> tuple[list[Any], list[Any], str]:
    """The instances and the names of a document as plain data, and the document without them."""
    data = json.loads(text)
    instances: list[Any] = data.get("instances") or []
    names: list[Any] = data.get("names") or []
    data["instances"], data["names"] = [], []
    return instances, names, json.dumps(data)


def address_of(text: str) -> Address:
    """As `ip_address` reads it, at a fifth of its cost. OSError where it is none."""
    if ":" in text:
        return IPv6Address(inet_pton(AF_INET6, text))
    return IPv4Address(inet_pton(AF_INET, text))
