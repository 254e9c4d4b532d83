"""Reading a topology: YAML text to types, going on after every error, so that all of them are told at once.

Between the text and `topology_check`: here the shape is judged (fields, types, numbers, cities, prefixes), there what
the parts mean to each other. Each part is kept with the path where it was written, because the checks need it. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import yaml

from anypop.lab import topology_check
from anypop.lab.topology import (
    FAMILIES,
    MTU,
    AutonomousSystem,
    ExternalLink,
    Habit,
    InternalLink,
    LinkKind,
    Member,
    OwnHost,
    OwnNetwork,
    OwnPop,
    OwnUpstream,
    Topology,
    Vantage,
    route_km,
)
from anypop.model.backbone import OVERHEAD, BackboneRules
from anypop.model.cities import find_city
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode, is_slug
from anypop.model.network import OTHER_NETWORKS, Capacity, UpstreamKind
from anypop.plan.quantity import cpu_millis, memory_bytes

_MAX_ASN = (1 << 32) - 2  # RFC 7300: the last number is reserved
_LONGEST_NAME = 12  # an interface `up-<name>` has at most 15 characters in Linux
_LEAST_MTU = 1280  # what every link of IPv6 must take (RFC 8200, section 5)
_LONGEST_CABLE_KM = 40_000.0  # once around the Earth
# A tunnel in a lab has at most what a link takes, less what is around its packets
_BACKBONE = {
    "port": (1, (1 << 16) - 1),
    "mtu": (_LEAST_MTU, MTU - OVERHEAD),
    "bfd_interval_ms": (10, 60_000),
    "bfd_multiplier": (2, 255),
}
_BFD_MS = 50  # times 3: a silent loss next to a PoP is seen in 0.15 s
_MOST_HOSTS = 16  # a PoP's /24 is shared out in parts of 2^n, and a /28 is the least that is worth a host's while

# Parts that say nothing more once they are wrong as a whole.
_WHOLES = frozenset({"anypop", "links", "vantages", "anypop.pops", "anypop.anycast4", "anypop.anycast6"})
# Lists that must have so many entries: no word about their number while the entries themselves are wrong.
_COUNTED = ("ases", "anypop.pops", "anypop.anycast4", "anypop.anycast6")


def load(text: str, *, name: str = "topology") -> Topology:
    """The topology in `text`; `name` (of its file) is used where the text has no name of its own. Raises `Invalid`
    with every problem.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise Invalid.one("", f"not YAML: {line}{getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise Invalid.one("", "is nested too deep for a topology") from error
    reader = _Reader()
    found = reader.topology(document, name)
    told = {problem.path for problem in reader.problems}
    # Without any AS everything dangles: one word about that is enough.
    more = (
        []
        if told & {"", "ases"}
        else [p for p in topology_check.check(found, reader.paths) if not _follows(p.path, told)]
    )
    if problems := list(dict.fromkeys([*reader.problems, *more])):  # a link in three cities dangles once
        raise Invalid(problems)
    return found


def _follows(path: str, told: set[str]) -> bool:
    """Whether a problem at `path` only follows from one that is told already: of the same part, of the whole, or of
    what is counted.
    """
    ancestors = {path[:at] for at, letter in enumerate(path) if letter in ".["}
    return (
        path in told
        or bool(ancestors & told & _WHOLES)
        or (path in _COUNTED and any(other.startswith(path) for other in told))
    )


@dataclass(slots=True, kw_only=True)
class _Reader:
    """`paths`: where each part that was kept stood, by its `id`; parts are kept alive by the topology that is being
    built.
    """

    problems: list[Problem] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)

    def wrong(self, path: str, message: str) -> None:
        self.problems.append(Problem(path=path, message=message))

    def topology(self, document: object, name: str) -> Topology:
        top = self.mapping(document, "", required=("ases", "anypop"), optional=("name", "links", "vantages"))
        ases = [a for path, row in self.rows(top, "ases", "") if (a := self.autonomous_system(row, path))]
        links = [link for path, row in self.rows(top, "links", "") for link in self.external_links(row, path)]
        vantages = [v for path, row in self.rows(top, "vantages", "") if (v := self.vantage(row, path))]
        own = self.own(top["anypop"]) if "anypop" in top else OwnNetwork(asn=0, anycast4=(), anycast6=(), pops=())
        return Topology(
            name=str(top.get("name", name)), ases=tuple(ases), links=tuple(links), vantages=tuple(vantages), own=own
        )

    def autonomous_system(self, row: object, path: str) -> AutonomousSystem | None:
        optional = ("name", "internal", "communities", "habits", "reflectors", "confederation")
        fields = self.mapping(row, path, required=("asn", "cities"), optional=optional)
        asn = self.asn(fields, "asn", path)
        habits = [h for at, word in self.rows(fields, "habits", path) if (h := self.habit(word, at))]
        places = [c for at, code in self.rows(fields, "cities", path) if (c := self.city(code, at))]
        reflectors = [c for at, code in self.rows(fields, "reflectors", path) if (c := self.city(code, at))]
        members = [m for at, item in self.rows(fields, "confederation", path) if (m := self.member(item, at))]
        internal: list[InternalLink] = []
        if "internal" in fields:
            for at, item in self.rows(fields, "internal", path):
                for a, b, km, mtu in self.city_pairs(item, at):
                    link = InternalLink(a=a, b=b, km=km, mtu=mtu)
                    self.paths[id(link)] = at
                    internal.append(link)
        else:  # no backbone was drawn: every pair of cities is joined
            internal = [
                InternalLink(a=a, b=b, km=route_km(a, b))
                for i, a in enumerate(places)
                for b in places[i + 1 :]
                if a != b
            ]
        communities = self.asn(fields, "communities", path) if "communities" in fields else asn
        if asn is None:
            return None
        found = AutonomousSystem(
            asn=asn,
            name=str(fields.get("name", f"AS{asn}")),
            cities=tuple(places),
            internal=tuple(internal),
            communities=communities or asn,
            habits=frozenset(habits),
            reflectors=tuple(reflectors),
            confederation=tuple(members),
        )
        self.paths[id(found)] = path
        return found

    def member(self, row: object, path: str) -> Member | None:
        fields = self.mapping(row, path, required=("asn", "cities"), optional=())
        asn = self.asn(fields, "asn", path)
        places = [c for at, code in self.rows(fields, "cities", path) if (c := self.city(code, at))]
        return None if asn is None else Member(asn=asn, cities=tuple(places))

    def external_links(self, row: object, path: str) -> list[ExternalLink]:
        fields = self.mapping(row, path, required=("a", "b", "relationship", "at"), optional=("family",))
        a, b = self.asn(fields, "a", path), self.asn(fields, "b", path)
        kind = self.choice(fields, "relationship", path, LinkKind)
        families = (fields["family"],) if "family" in fields else FAMILIES
        if families[0] not in FAMILIES:
            self.wrong(f"{path}.family", f"{families[0]!r} must be 4 or 6")
            families = FAMILIES
        found: list[ExternalLink] = []
        for at, item in self.rows(fields, "at", path):
            for a_city, b_city, km, mtu in self.city_pairs(item, at, single=True):
                if a is not None and b is not None:
                    link = ExternalLink(
                        kind=LinkKind(kind or LinkKind.PEER), a=a, a_city=a_city, b=b, b_city=b_city, km=km, mtu=mtu,
                        families=families,
                    )  # fmt: skip
                    self.paths[id(link)] = path
                    found.append(link)
        return found

    def vantage(self, row: object, path: str) -> Vantage | None:
        fields = self.mapping(row, path, required=("name", "city", "asn"), optional=("km", "mtu"))
        name, city, asn = (
            self.slug(fields, "name", path),
            self.city_of(fields, "city", path),
            self.asn(fields, "asn", path),
        )
        if name is None or city is None or asn is None:
            return None
        km = self.km(fields, path) if "km" in fields else 0.0
        found = Vantage(name=name, city=city, asn=asn, km=km, mtu=self.mtu(fields, path))
        self.paths[id(found)] = path
        return found

    def own(self, row: object) -> OwnNetwork:
        path = "anypop"
        required, optional = ("asn", "anycast4", "anycast6", "pops"), ("backbone", "bfd_ms")
        fields = self.mapping(row, path, required=required, optional=optional)
        asn = self.asn(fields, "asn", path)
        anycast4 = [n for at, item in self.rows(fields, "anycast4", path) if (n := self.network4(item, at))]
        anycast6 = [m for at, item in self.rows(fields, "anycast6", path) if (m := self.network6(item, at))]
        pops = [p for at, item in self.rows(fields, "pops", path) if (p := self.pop(item, at))]
        backbone = self.backbone(fields["backbone"], f"{path}.backbone") if "backbone" in fields else None
        found = OwnNetwork(
            asn=asn or 0, anycast4=tuple(anycast4), anycast6=tuple(anycast6), pops=tuple(pops), backbone=backbone,
            bfd_ms=self.within(fields.get("bfd_ms", _BFD_MS), f"{path}.bfd_ms", (10, 1000)) or _BFD_MS,
        )  # fmt: skip
        self.paths[id(found)] = path
        return found

    def backbone(self, row: object, path: str) -> BackboneRules:
        """`{}`: the settings of `BackboneRules`; a field in it replaces one of them."""
        optional = ("port", "mtu", "bfd_interval_ms", "bfd_multiplier")
        fields = self.mapping(row, path, required=(), optional=optional)
        found = {key: self.within(fields[key], f"{path}.{key}", _BACKBONE[key]) for key in optional if key in fields}
        return BackboneRules(**{key: value for key, value in found.items() if value is not None})

    def within(self, value: object, path: str, bounds: tuple[int, int]) -> int | None:
        """A whole number inside these bounds; None, and told, where it is none."""
        if isinstance(value, int) and not isinstance(value, bool) and bounds[0] <= value <= bounds[1]:
            return value
        self.wrong(path, f"{value!r} must be {bounds[0]} to {bounds[1]}")
        return None

    def pop(self, row: object, path: str) -> OwnPop | None:
        fields = self.mapping(
            row, path, required=("city", "external4", "external6", "upstreams"), optional=("hosts", "capacity")
        )
        city = self.city_of(fields, "city", path)
        external4 = self.network4(fields["external4"], f"{path}.external4") if "external4" in fields else None
        external6 = self.network6(fields["external6"], f"{path}.external6") if "external6" in fields else None
        upstreams = [u for at, item in self.rows(fields, "upstreams", path) if (u := self.upstream(item, at, city))]
        hosts = self.hosts(fields, path)
        if city is None or external4 is None or external6 is None:
            return None
        found = OwnPop(city=city, external4=external4, external6=external6, upstreams=tuple(upstreams), hosts=hosts)
        self.paths[id(found)] = path
        return found

    def hosts(self, fields: dict[str, Any], path: str) -> tuple[OwnHost, ...]:
        """`hosts: 2`, or a list with a mapping for each. `capacity` beside it holds for every host that has none of
        its own.
        """
        common = self.capacity(fields["capacity"], f"{path}.capacity") if "capacity" in fields else None
        wanted, where = fields.get("hosts", 1), f"{path}.hosts"
        if isinstance(wanted, list):
            found = []
            for at, row in self.rows(fields, "hosts", path):
                own = self.mapping(row, at, required=(), optional=("capacity",))
                found.append(
                    OwnHost(capacity=self.capacity(own["capacity"], f"{at}.capacity") if "capacity" in own else common)
                )
        elif isinstance(wanted, int) and not isinstance(wanted, bool):
            found = [OwnHost(capacity=common)] * min(max(wanted, 0), _MOST_HOSTS + 1)
        else:
            self.wrong(where, f"{wanted!r} must be a number of hosts, or a list of them")
            return (OwnHost(),)
        if not 1 <= len(found) <= _MOST_HOSTS:
            self.wrong(where, f"a PoP has 1 to {_MOST_HOSTS} hosts")
        return tuple(found)

    def capacity(self, row: object, path: str) -> Capacity | None:
        """`{cpu: 16, memory: 32Gi, disk: 100Gi}`."""
        fields = self.mapping(row, path, required=("cpu", "memory", "disk"), optional=())
        amounts: dict[str, int] = {}
        for key, read in (("cpu", cpu_millis), ("memory", memory_bytes), ("disk", memory_bytes)):
            if key in fields:
                try:
                    amounts[key] = read(str(fields[key]))
                except ValueError as error:
                    self.wrong(f"{path}.{key}", str(error))
        if len(amounts) < 3:
            return None
        return Capacity(cpu_millis=amounts["cpu"], memory_bytes=amounts["memory"], disk_bytes=amounts["disk"])

    def upstream(self, row: object, path: str, pop: CityCode | None) -> OwnUpstream | None:
        fields = self.mapping(row, path, required=("name", "asn"), optional=("city", "kind", "km", "mtu"))
        name, asn = self.slug(fields, "name", path, longest=_LONGEST_NAME), self.asn(fields, "asn", path)
        city = self.city_of(fields, "city", path) if "city" in fields else pop
        kind = self.choice(fields, "kind", path, OTHER_NETWORKS) if "kind" in fields else UpstreamKind.TRANSIT
        if name is None or asn is None or city is None or pop is None:
            return None
        km = self.km(fields, path) if "km" in fields else route_km(pop, city)
        mtu, which = self.mtu(fields, path), UpstreamKind(kind or UpstreamKind.TRANSIT)
        found = OwnUpstream(name=name, asn=asn, city=city, kind=which, km=km, mtu=mtu)
        self.paths[id(found)] = path
        return found

    # the smaller parts: each tells what is wrong and answers None (or nothing) where it cannot go on

    def mapping(
        self, value: object, path: str, *, required: tuple[str, ...], optional: tuple[str, ...]
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.wrong(path, f"must be a mapping with {', '.join(required or optional)}")
            return {}
        known = required + optional
        for key in value:
            if key not in known:
                self.wrong(f"{path}.{key}".lstrip("."), f"unknown field; known are {', '.join(known)}")
        for key in required:
            if key not in value:
                self.wrong(f"{path}.{key}".lstrip("."), "is missing")
        return value

    def rows(self, fields: dict[str, Any], key: str, path: str) -> list[tuple[str, object]]:
        where = f"{path}.{key}".lstrip(".")
        value = fields.get(key, [])
        if not isinstance(value, list):
            self.wrong(where, "must be a list")
            return []
        return [(f"{where}[{i}]", item) for i, item in enumerate(value)]

    def asn(self, fields: dict[str, Any], key: str, path: str) -> int | None:
        value = fields.get(key)
        if value is None and key not in fields:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_ASN:
            self.wrong(f"{path}.{key}", f"{value!r} is not an AS number (1 to {_MAX_ASN})")
            return None
        return value

    def slug(self, fields: dict[str, Any], key: str, path: str, longest: int = 40) -> str | None:
        value = fields.get(key)
        if value is None and key not in fields:
            return None
        if not isinstance(value, str) or not is_slug(value) or len(value) > longest:
            self.wrong(f"{path}.{key}", f"{value!r} must be 1 to {longest} of a-z, 0-9 and inner hyphens")
            return None
        return value

    def choice(self, fields: dict[str, Any], key: str, path: str, kinds: Iterable[StrEnum]) -> str | None:
        value = fields.get(key)
        known = [str(member) for member in kinds]
        if key in fields and value not in known:
            self.wrong(f"{path}.{key}", f"unknown {key} {value!r}; known are {', '.join(known)}")
            return None
        return str(value) if key in fields else None

    def habit(self, value: object, path: str) -> Habit | None:
        if value not in tuple(Habit):
            self.wrong(path, f"unknown habit {value!r}; known are {', '.join(Habit)}")
            return None
        return Habit(str(value))

    def city_of(self, fields: dict[str, Any], key: str, path: str) -> CityCode | None:
        return self.city(fields[key], f"{path}.{key}") if key in fields else None

    def city(self, value: object, path: str) -> CityCode | None:
        if not isinstance(value, str) or find_city(value) is None:
            self.wrong(path, f"unknown city {value!r}; use the IATA code of its airport in capitals, like LHR")
            return None
        return CityCode(value)

    def city_pairs(
        self, item: object, path: str, *, single: bool = False
    ) -> list[tuple[CityCode, CityCode, float, int]]:
        """`LHR-JFK` or `{between: LHR-JFK, km: 6000, mtu: 1400}`; with `single` also `LHR` for both ends in one city.
        At most one pair, with its length and the MTU.
        """
        given: dict[str, Any] = {"between": item}
        if isinstance(item, dict):
            given = self.mapping(item, path, required=("between",), optional=("km", "mtu"))
            if "between" not in given:
                return []
        words = str(given.get("between", "")).split("-")
        if single and len(words) == 1:
            words *= 2
        if len(words) != 2:
            self.wrong(
                path,
                f"{given.get('between')!r} must be two cities like LHR-JFK" + (" or one like LHR" if single else ""),
            )
            return []
        places = [self.city(word, path) for word in (words if words[0] != words[1] else words[:1])]
        km, mtu = self.km(given, path) if "km" in given else None, self.mtu(given, path)
        if None in places:
            return []
        a, b = CityCode(words[0]), CityCode(words[1])
        return [(a, b, route_km(a, b) if km is None else km, mtu)]

    def km(self, fields: dict[str, Any], path: str) -> float:
        value = fields["km"]
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _LONGEST_CABLE_KM:
            self.wrong(f"{path}.km", f"{value!r} is not a length in km (0 to {_LONGEST_CABLE_KM:g})")
            return 0.0
        return float(value)

    def mtu(self, fields: dict[str, Any], path: str) -> int:
        value = fields.get("mtu", MTU)
        if not isinstance(value, int) or isinstance(value, bool) or not _LEAST_MTU <= value <= MTU:
            self.wrong(f"{path}.mtu", f"{value!r} is not a packet size in bytes ({_LEAST_MTU} to {MTU})")
            return MTU
        return value

    def network4(self, value: object, path: str) -> IPv4Network | None:
        found = self.network(value, path)
        if found is not None and not isinstance(found, IPv4Network):
            self.wrong(path, f"{value} is not IPv4")
            return None
        return found

    def network6(self, value: object, path: str) -> IPv6Network | None:
        found = self.network(value, path)
        if found is not None and not isinstance(found, IPv6Network):
            self.wrong(path, f"{value} is not IPv6")
            return None
        return found

    def network(self, value: object, path: str) -> IPv4Network | IPv6Network | None:
        try:
            found = ip_network(str(value))
        except ValueError as error:
            self.wrong(path, f"{value!r} is not a prefix: {error}")
            return None
        longest = 24 if found.version == 4 else 48
        if found.prefixlen > longest:
            self.wrong(path, f"{found} is longer than /{longest}, the longest that the Internet accepts")
        return found
