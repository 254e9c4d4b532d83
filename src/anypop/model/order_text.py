"""An order as JSON, quickly: the very bytes that `codec.to_json` gives, from pieces that are the same in many
instances.

In: an order or one of its instances. Out: JSON text. A platform's first plan writes an order for every host, and the
instances of a workload differ in little more than their addresses. A test holds this equal to the codec for every
field.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from json.encoder import encode_basestring as text_of
from socket import AF_INET6, inet_ntoa, inet_ntop

from anypop.model import codec
from anypop.model.announce import Address
from anypop.model.order import InstanceOrder, Order, Payload
from anypop.model.sealing import Conceal, with_secrets

_NO_INSTANCES = '"instances":[]'


class OrderWriter:
    """Writes orders; keeps what it has written of payloads as long as it lives, which is for one piece of work.
    `conceal`: what to write in place of a secret, by whose it is; None: the secret itself.
    """

    def __init__(self, conceal: Conceal | None = None) -> None:
        self._conceal = conceal
        self._payloads: dict[
            int, tuple[Payload, str]
        ] = {}  # by identity: equal ones are mostly the same object, and hashing one costs more

    def order(self, order: Order) -> str:
        """The whole order."""
        return self.with_instances(codec.to_json(replace(order, instances=())).decode(), order.instances)

    def with_instances(self, document: str, instances: Iterable[InstanceOrder]) -> str:
        """A document that was written without its instances, with them. Inside a text of it a quotation mark never
        stands alone.
        """
        before, _, after = document.partition(_NO_INSTANCES)
        return f'{before}"instances":[{",".join(map(self.instance, instances))}]{after}'

    def instance(self, one: InstanceOrder) -> str:
        links = ",".join(
            f'{{"network":{text_of(link.network)},"addresses":['
            + ",".join(
                f'{{"private":"{address(a.private)}",'
                f'"gateway":"{address(a.gateway)}","external":"{address(a.external)}"}}'
                for a in link.addresses
            )
            + "]}"
            for link in one.links
        )
        anycast = ",".join([f'"{address(a)}"' for a in one.anycast])
        return (
            f'{{"name":{text_of(one.name)},"uid":{text_of(one.uid)},'
            f'"workload_id":{text_of(one.workload_id)},"stack_id":{text_of(one.stack_id)},"life":{one.life},'
            f'"template":{text_of(one.template)},"revision":{one.revision},"links":[{links}],"anycast":[{anycast}],'
            f'"payload":{self._payload(one)},"hosts_domain":{text_of(one.hosts_domain)}}}'
        )

    def _payload(self, one: InstanceOrder) -> str:
        payload = one.payload
        known = self._payloads.get(id(payload))
        if known is None:
            conceal = self._conceal
            written = payload if conceal is None else with_secrets(payload, partial(conceal, one.workload_id))
            known = self._payloads[id(payload)] = payload, codec.to_json(written).decode()
        return known[1]


def address(one: Address) -> str:
    """As `str` gives it, at a fifth of its cost."""
    if isinstance(one, IPv4Address):
        return inet_ntoa(one.packed)
    if int(one) >> 48 == 0:
        return str(one)  # the C library writes an IPv4 address into these
    return inet_ntop(AF_INET6, one.packed)
