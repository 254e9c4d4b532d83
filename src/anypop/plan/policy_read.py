"""From a network policy's JSON to the noun, and to the document that clients get back.

In: the object inside `{"networkPolicy": ...}`, with the id that control gave it. Out: `NetworkPolicy` and the document,
which holds what was sent without null and empty values and nothing that was not sent. Raises `Invalid` with every
problem. Pure.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from pydantic import ValidationError

from anypop.model import codec, limits
from anypop.model.announce import Address
from anypop.model.errors import Invalid
from anypop.model.names import StackId, is_slug, slug_of
from anypop.model.policy import (
    Action,
    AddressRange,
    LabelSelector,
    NetworkPolicy,
    Operator,
    Peers,
    PolicyRule,
    PortRange,
    Traffic,
)
from anypop.plan import policy_schema as schema
from anypop.plan.policy_schema import FIELD_NAMES, PolicyBody

_TCP, _UDP = 6, 17
_ICMP = (1, 58)
_NUMBERS = {"ah": (51,), "esp": (50,), "gre": (47,), "sctp": (132,), "ipip": (4,)}
_OPERATORS = {operator.lower(): operator for operator in Operator}
_SERVERS_OWN = ("id", "stackId")
_SAYS_SOMETHING_EMPTY = frozenset({"protocols"})  # `icmp: {}` is ICMP


def read(
    body: Mapping[str, Any], *, policy_id: str, stack_id: StackId, created_at: float
) -> tuple[NetworkPolicy, dict[str, Any]]:
    """`body` as a policy, and as clients may see it. Raises `Invalid`."""
    limits.check(body)
    data = _without_nulls(body)
    try:
        checked = PolicyBody.model_validate(data)
    except ValidationError as error:
        raise Invalid(codec.in_words(error.errors(), FIELD_NAMES)) from error
    name = checked.name or checked.slug or ""
    if not name:
        raise Invalid.one("name", "is required (or slug)")
    slug = checked.slug or slug_of(name)
    if not is_slug(slug):
        raise Invalid.one("name", f"no slug can be made of {name[:80]!r}; give a slug")
    spec = checked.spec
    kinds = spec.policy_types or ()
    ingress = tuple(_rule(rule, rule.from_) for rule in spec.ingress or ())
    egress = tuple(_rule(rule, rule.to) for rule in spec.egress or ())
    policy = NetworkPolicy(
        id=policy_id,
        stack_id=stack_id,
        slug=slug,
        name=name,
        priority=spec.priority,
        created_at=created_at,
        instances=_selectors(spec.instance_selectors),
        networks=_selectors(spec.network_selectors),
        ingress=ingress or ((PolicyRule(action=Action.BLOCK),) if "INGRESS" in kinds else ()),
        egress=egress or ((PolicyRule(action=Action.ALLOW),) if "EGRESS" in kinds else ()),
    )
    return policy, {"stackId": stack_id, "id": policy_id} | _document(checked, name=name, slug=slug)


def _document(body: PolicyBody, *, name: str, slug: str) -> dict[str, Any]:
    data = body.model_dump(mode="json", by_alias=True, exclude_none=True)
    for field in _SERVERS_OWN:
        data.pop(field, None)
    data["name"], data["slug"] = name, slug
    data["metadata"] = {key: data.get("metadata", {}).get(key) for key in ("annotations", "labels")}
    shown: dict[str, Any] = _pruned(data)
    return shown


def _pruned(value: Any) -> Any:
    """Without null, empty text, empty lists and empty objects, but for the protocols, whose names say it all."""
    if isinstance(value, dict):
        found = {
            key: {name: _pruned(ports) for name, ports in part.items()}
            if key in _SAYS_SOMETHING_EMPTY and isinstance(part, dict)
            else part
            if key in ("annotations", "labels")
            else _pruned(part)
            for key, part in value.items()
        }
        return {key: part for key, part in found.items() if part not in (None, "", [], {})}
    return [_pruned(part) for part in value] if isinstance(value, list) else value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _rule(declared: schema.Rule, peers: schema.Peers | None) -> PolicyRule:
    return PolicyRule(action=Action(declared.action), peers=_peers(peers), traffic=tuple(_traffic(declared.protocols)))


def _peers(declared: schema.Peers | None) -> Peers:
    if declared is None:
        return Peers()
    return Peers(
        everybody=not (declared.ip_block or declared.instance_selectors or declared.network_selectors),
        ranges=merged(r for block in declared.ip_block or () for r in _block(block)),
        instances=_selectors(declared.instance_selectors) or None,
        networks=_selectors(declared.network_selectors) or None,
    )


def _selectors(declared: Iterable[schema.LabelSelector] | None) -> tuple[LabelSelector, ...]:
    return tuple(
        LabelSelector(key=s.key, operator=_OPERATORS[s.operator.lower()], values=tuple(s.values or ()))
        for s in declared or ()
    )


def _traffic(declared: schema.Protocols | None) -> Iterable[Traffic]:
    if declared is None:
        return
    for ports, numbers in (
        (declared.tcp, (_TCP,)),
        (declared.udp, (_UDP,)),
        (declared.tcp_udp, (_TCP, _UDP)),
    ):
        if ports is not None:
            yield Traffic(
                numbers=numbers,
                destination=_ranges(ports.destination_ports or ()),
                source=_ranges(ports.source_ports or ()),
            )
    if declared.icmp is not None:
        yield Traffic(numbers=_ICMP)
    for name, numbers in _NUMBERS.items():
        if getattr(declared, name) is not None:
            yield Traffic(numbers=numbers)


def _ranges(texts: Iterable[str]) -> tuple[PortRange, ...]:
    """Sorted, and none that touches another: a set of the kernel holds no overlaps."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(map(schema.ports_of, texts)):
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return tuple(PortRange(first=low, last=high) for low, high in found)


def _block(declared: schema.IpBlock) -> Iterable[AddressRange]:
    """What is left of a block without its exceptions."""
    whole = schema.network_of(declared.cidr)
    at, last = int(whole.network_address), int(whole.broadcast_address)
    for part in merged(
        AddressRange(first=n.network_address, last=n.broadcast_address)
        for n in map(schema.network_of, declared.except_ or ())
    ):
        if int(part.first) > at:
            yield AddressRange(first=_address(at, whole.version), last=_address(int(part.first) - 1, whole.version))
        at = int(part.last) + 1
    if at <= last:
        yield AddressRange(first=_address(at, whole.version), last=whole.broadcast_address)


def merged(ranges: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    """The same addresses in as few ranges as can be, sorted, IPv4 first."""
    found: list[AddressRange] = []
    for part in sorted(ranges, key=lambda r: (r.first.version, int(r.first))):
        same = bool(found) and found[-1].first.version == part.first.version
        if same and int(part.first) <= int(found[-1].last) + 1:
            last = max(found[-1].last, part.last, key=int)
            found[-1] = AddressRange(first=found[-1].first, last=last)
        else:
            found.append(part)
    return tuple(found)


def _address(number: int, version: int) -> Address:
    """Small numbers would all be IPv4 to `ip_address`."""
    size = 4 if version == 4 else 16
    return ip_address(number.to_bytes(size, "big"))
