"""An order as JSON, quickly: the very bytes that `codec.to_json` gives, from pieces that are the same in many
instances, or in the orders of many hosts.

In: an order or one of its instances. Out: JSON text. A platform's first plan writes an order for every host, and the
instances of a workload differ in little more than their addresses; where a prefix is carried, all hosts wait for the
same gates and have the same backbone as before. A test holds this equal to the codec for every field.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from json.encoder import encode_basestring as text_of
from socket import AF_INET6, inet_ntoa, inet_ntop

from anypop.model import codec
from anypop.model.announce import Address, Announcement, Prefix
from anypop.model.backbone import Backbone
from anypop.model.order import InstanceLink, InstanceOrder, LinkAddress, Order, Payload
from anypop.model.sealing import Conceal, with_secrets
from anypop.model.stack_names import NamedWorkload

_NO_INSTANCES = '"instances":[]'
_NO_ANNOUNCEMENTS = '"announcements":[]'
_NO_GATES = '"gates":[]'
_NO_BACKBONE = '"backbone":null'
_NO_NAMES = '"names":[]'
_NO_NAMED = '"instances":[]'
_NAMES_KEPT = 1 << 16
_GATES_KEPT = 64  # texts of gates that a writer remembers: a host announces a few prefixes


class OrderWriter:
    """Writes orders; keeps what it has written of payloads as long as it lives, which is for one piece of work, or,
    where it writes no instances, for the orders of one host. `conceal`: what to write in place of a secret, by whose it
    is; None: the secret itself.
    """

    def __init__(self, conceal: Conceal | None = None) -> None:
        self._conceal = conceal
        self._payloads: dict[
            int, tuple[Payload, str]
        ] = {}  # by identity: equal ones are mostly the same object, and hashing one costs more
        self._gates: dict[int, tuple[tuple[Address, ...], str]] = {}  # by identity as well
        self._backbone: tuple[Backbone, str] | None = None  # the last one
        self._names: dict[int, tuple[NamedWorkload, str]] = {}  # by identity, as payloads: hosts share them

    def order(self, order: Order) -> str:
        """The whole order."""
        document = codec.to_json(replace(order, instances=(), announcements=(), backbone=None, names=())).decode()
        if order.backbone is not None:
            document = filled(document, _NO_BACKBONE, f'"backbone":{self._backbone_text(order.backbone)}')
        return self.with_parts(self.with_names(document, order.names), order.instances, order.announcements)

    def with_names(self, document: str, names: Iterable[NamedWorkload]) -> str:
        """A document that was written without its names, with them."""
        texts = [self.named(one) for one in names]
        return filled(document, _NO_NAMES, f'"names":[{",".join(texts)}]') if texts else document

    def with_parts(
        self, document: str, instances: Iterable[InstanceOrder], announcements: Iterable[Announcement] = ()
    ) -> str:
        """A document that was written without its instances and announcements, with them."""
        texts = [self._announcement(one) for one in announcements]
        if texts:
            document = filled(document, _NO_ANNOUNCEMENTS, f'"announcements":[{",".join(texts)}]')
        return filled(document, _NO_INSTANCES, f'"instances":[{",".join(map(self.instance, instances))}]')

    def instance(self, one: InstanceOrder) -> str:
        links = ",".join([_link(link) for link in one.links])
        return (
            f'{{"name":{text_of(one.name)},"uid":{text_of(one.uid)},'
            f'"workload_id":{text_of(one.workload_id)},"stack_id":{text_of(one.stack_id)},"life":{one.life},'
            f'"template":{text_of(one.template)},"revision":{one.revision},"restarts":{one.restarts},"links":[{links}],"anycast":[{_list_of(one.anycast)}],'
            f'"beside":[{_list_of(one.beside)}],'
            f'"payload":{self._payload(one)},"hosts_domain":{text_of(one.hosts_domain)},'
            f'"power":"{one.power}","rescue":{codec.to_json(one.rescue).decode()},'
            f'"move":{codec.to_json(one.move).decode()}}}'
        )

    def named(self, one: NamedWorkload) -> str:
        known = self._names.get(id(one))
        if known is None:
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            known = self._names[id(one)] = one, named_text(one)
        return known[1]

    def _announcement(self, one: Announcement) -> str:
        document = codec.to_json(replace(one, gates=())).decode()
        return filled(document, _NO_GATES, f'"gates":[{self._gates_text(one.gates)}]') if one.gates else document

    def _gates_text(self, gates: tuple[Address, ...]) -> str:
        known = self._gates.get(id(gates))
        if known is None:
            if len(self._gates) >= _GATES_KEPT:
                self._gates.clear()
            known = self._gates[id(gates)] = gates, _list_of(gates)
        return known[1]

    def _backbone_text(self, backbone: Backbone) -> str:
        if self._backbone is None or self._backbone[0] is not backbone:
            self._backbone = backbone, codec.to_json(backbone).decode()
        return self._backbone[1]

    def _payload(self, one: InstanceOrder) -> str:
        payload = one.payload
        known = self._payloads.get(id(payload))
        if known is None:
            conceal = self._conceal
            written = payload if conceal is None else with_secrets(payload, partial(conceal, one.workload_id))
            known = self._payloads[id(payload)] = payload, codec.to_json(written).decode()
        return known[1]


def filled(document: str, empty: str, full: str) -> str:
    """A document that was written with an empty member, with what belongs there. Inside a text of it a quotation mark
    never stands alone.
    """
    before, _, after = document.partition(empty)
    return f"{before}{full}{after}"


def named_text(one: NamedWorkload) -> str:
    """As `codec.to_json` gives it: its addresses would be most of the cost."""
    document = codec.to_json(replace(one, instances=())).decode()
    texts = [
        f'{{"name":{text_of(i.name)},"pop":{text_of(i.pop)},"addresses":[{_list_of(i.addresses)}],'
        f'"inside":[{_list_of(i.inside)}]}}'
        for i in one.instances
    ]
    return filled(document, _NO_NAMED, f'"instances":[{",".join(texts)}]') if texts else document


def _link(link: InstanceLink) -> str:
    reach, ways, passes = map(_prefixes, (link.reach, link.ways, link.passes))
    addresses = ",".join([_link_address(one) for one in link.addresses])
    return (
        f'{{"network":{text_of(link.network)},"addresses":[{addresses}],'
        f'"reach":[{reach}],"ways":[{ways}],"passes":[{passes}]}}'
    )


def _prefixes(those: Iterable[Prefix]) -> str:
    return ",".join([f'"{prefix}"' for prefix in those]) if those else ""


def _link_address(one: LinkAddress) -> str:
    external = "null" if one.external is None else f'"{address(one.external)}"'
    vpc = "null" if one.vpc is None else f'"{address(one.vpc)}"'
    return (
        f'{{"private":"{address(one.private)}","gateway":"{address(one.gateway)}","external":{external},"vpc":{vpc}}}'
    )


def _list_of(addresses: Iterable[Address]) -> str:
    return ",".join([f'"{address(a)}"' for a in addresses])


def address(one: Address) -> str:
    """As `str` gives it, at a fifth of its cost."""
    number = int(one)
    if isinstance(one, IPv4Address):
        return inet_ntoa(number.to_bytes(4, "big"))
    if number >> 48 == 0:
        return str(one)  # the C library writes an IPv4 address into these
    return inet_ntop(AF_INET6, number.to_bytes(16, "big"))
