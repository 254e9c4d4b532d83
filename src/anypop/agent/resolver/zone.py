"""What a name means to one who asks: the instances of its own domain, itself, or nothing that is known here. Pure.

In: the names of a domain, who asks, and a question. Out: records in plain words, `UNKNOWN` (there is no such name: the
platform says so itself), or `ELSEWHERE` (somebody else's name). What is below the platform's own suffixes, and names of
addresses that are nobody's on the Internet, is never anybody else's. A name that exists has an answer of every type,
though it may be empty: resolvers take NXDOMAIN for all types at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from anypop.agent.resolver.wanted import Asker, Called, CalledInstance
from anypop.model.names import LONGEST_LABEL, host_label

INSIDE, OUTSIDE = "edgeengine.internal", "compute.edgeengine.io"
"""The platform's suffixes: of private names, and of what an instance asks for its public address by."""
_SELF = "self.metadata"
_LOCAL = {"localhost": ("127.0.0.1", "::1")}


@dataclass(frozen=True, slots=True)
class Record:
    """Its type, and what it says: an address, a name, a text, or for SRV priority, weight, port and name."""

    type: str
    value: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A name that exists. `more`: what helps, under names of its own; `equal`: so many of the first are of equal worth,
    and should not come in the same order each time.
    """

    records: tuple[Record, ...] = ()
    more: tuple[tuple[str, Record], ...] = ()
    equal: int = 1


class Unknown:
    """There is no such name."""


class Elsewhere:
    """Not the platform's."""


UNKNOWN, ELSEWHERE = Unknown(), Elsewhere()
Meaning = Found | Unknown | Elsewhere


class Zone:
    """The names of one domain, looked up by label."""

    def __init__(self, called: Called) -> None:
        self.suffix = called.suffix.lower()
        self._labels: dict[str, list[CalledInstance]] = {}
        self._ports: dict[str, dict[tuple[str, str], int]] = {}
        self._pointers: dict[str, str] = {}
        groups: dict[str, list[CalledInstance]] = {}
        for workload in called.workloads:
            ports = {
                (key, protocol): port for name, protocol, port in workload.ports for key in (name.lower(), str(port))
            }
            self._add(self._labels, workload.slug, workload.instances, ports)
            for one in workload.instances:
                for label in dict.fromkeys((host_label(one.name), one.name)):
                    self._add(self._labels, label, [one], ports)
                for address in one.addresses:
                    self._pointers[ip_address(address).reverse_pointer] = host_label(one.name)
            for depth in (1, 2):  # without its number: of a target in a city; without the city as well: of a target
                for one in workload.instances:
                    self._add(groups, host_label(one.name.rsplit("-", depth)[0]), [one], ports)
        for label, found in groups.items():
            self._labels.setdefault(label, found)

    def _add(
        self,
        into: dict[str, list[CalledInstance]],
        label: str,
        found: Iterable[CalledInstance],
        ports: dict[tuple[str, str], int],
    ) -> None:
        if len(label) > LONGEST_LABEL:
            return
        into.setdefault(label, []).extend(found)
        self._ports.setdefault(label, {}).update(ports)

    def meaning(self, name: str, kind: str, asker: Asker) -> Meaning:
        """`name`: in small letters, without the dot at its end."""
        if name in _LOCAL:
            return Found(tuple(_addresses(_LOCAL[name], kind)))
        if name.endswith((".in-addr.arpa", ".ip6.arpa")):
            return self._pointer(name, kind)
        for ending, addresses in ((INSIDE, asker.private), (OUTSIDE, asker.external)):
            if name == f"{_SELF}.{ending}" or name.endswith(f".{_SELF}.{ending}"):
                field = name.removesuffix(f"{_SELF}.{ending}").rstrip(".")
                return _about(asker, addresses, field, kind)
        if name == _SELF or name.endswith(f".{_SELF}"):
            return _about(asker, asker.private, name.removesuffix(_SELF).rstrip("."), kind)
        if _is_at_or_below(name, INSIDE):
            return self._inside(name, kind)
        if name == f"metadata.{OUTSIDE}":
            return Found()
        if name.endswith(f".metadata.{OUTSIDE}"):
            return UNKNOWN
        return self._bare(name, kind)

    def _inside(self, name: str, kind: str) -> Meaning:
        if name in (INSIDE, self.suffix, f"metadata.{INSIDE}"):
            return Found()
        if not name.endswith(f".{self.suffix}"):
            return UNKNOWN  # of another stack, or nobody's: nobody learns which
        return self._relative(name.removesuffix(f".{self.suffix}"), kind)

    def _bare(self, name: str, kind: str) -> Meaning:
        """Without the suffix: one label, or a service of one. What does not look so is somebody else's."""
        labels = name.split(".")
        if len(labels) == 1:
            found = self._relative(name, kind)
            return ELSEWHERE if found is UNKNOWN and kind not in ("A", "AAAA", "SRV") else found
        if len(labels) == 3 and labels[0].startswith("_") and labels[2] in self._labels:
            return self._relative(name, kind)
        return ELSEWHERE

    def _relative(self, name: str, kind: str) -> Meaning:
        *service, label = name.split(".")
        found = self._labels.get(label)
        if found is None:
            return UNKNOWN
        if not service:
            chosen = _chosen(found)
            values = [a for one in chosen for a in one.addresses]
            near = [a for one in chosen for a in one.addresses if one.away == chosen[0].away]
            return Found(tuple(_addresses(values, kind)), equal=sum(1 for _ in _addresses(near, kind)))
        ports = self._ports[label]
        if len(service) == 1:
            return Found() if any(f"_{protocol}" == service[0] for _, protocol in ports) else UNKNOWN
        port = ports.get((service[0].removeprefix("_"), service[1].removeprefix("_")))
        if len(service) > 2 or port is None or not all(word.startswith("_") for word in service):
            return UNKNOWN
        if kind != "SRV":
            return Found()
        return self._service(_chosen(found), port)

    def _service(self, chosen: Sequence[CalledInstance], port: int) -> Found:
        records, more = [], []
        for one in chosen:
            target = f"{host_label(one.name)}.{self.suffix}"
            records.append(Record("SRV", (one.away, 1, port, target)))
            more += [(target, record) for kind in ("A", "AAAA") for record in _addresses(one.addresses, kind)]
        return Found(tuple(records), tuple(more), equal=len(records))

    def _pointer(self, name: str, kind: str) -> Meaning:
        label = self._pointers.get(name)
        if label is not None:
            return Found((Record("PTR", (f"{label}.{self.suffix}",)),) if kind == "PTR" else ())
        address = _address_of(name)
        return ELSEWHERE if address is None or address.is_global else UNKNOWN


def _chosen(found: Sequence[CalledInstance]) -> list[CalledInstance]:
    """Those that serve, the nearest first; where none does, all: who asks shall not wait for what we think of them."""
    return sorted([one for one in found if one.serves] or found, key=lambda one: one.away)


def _about(asker: Asker, addresses: Sequence[str], field: str, kind: str) -> Meaning:
    """What an instance is told of itself: `self.metadata`, or one field of it."""
    if not field:
        texts = [Record("TXT", (f"{name}={value}",)) for name, value in asker.about] if kind == "TXT" else []
        return Found((*_addresses(addresses, kind), *texts))
    values = [value for name, value in asker.about if name == field]
    if not values:
        return UNKNOWN
    if kind == "TXT":
        return Found(tuple(Record("TXT", (value,)) for value in values))
    return Found(tuple(_addresses([v for v in values if _is_address(v)], kind)))


def _addresses(values: Iterable[str], kind: str) -> Iterator[Record]:
    for value in values:
        if kind == ("AAAA" if ":" in value else "A"):
            yield Record(kind, (value,))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_at_or_below(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith(f".{suffix}")


def _address_of(name: str) -> IPv4Address | IPv6Address | None:
    """The address of a name of the reverse tree; of a part of the tree its first one."""
    *labels, tree, _ = name.split(".")
    try:
        if tree == "in-addr":
            return IPv4Address(".".join([*reversed(labels), *["0"] * (4 - len(labels))]))
        digits = "".join(reversed(labels)).ljust(32, "0")
        return IPv6Address(int(digits, 16)) if len(digits) == 32 else None
    except ValueError:
        return None
