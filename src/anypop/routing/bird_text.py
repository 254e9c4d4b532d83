"""What a running BIRD 2 says about routes: text of `birdc` in, `Candidate`s out.

Reads `show route for PREFIX all` (any table, both families) and `show protocols all`, which alone tells an internal
session from an external one and holds the neighbour's router id. Made and tested with BIRD 2.0.12. Lines it does not
know are passed over: a newer BIRD may print more. No I/O.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network

from anypop.model import extended_communities as extended
from anypop.model.announce import Community, LargeCommunity, Prefix
from anypop.model.route import Candidate, Origin

# `203.0.113.0/24  unicast [b 06:56:50.555 from 10.9.1.1] * (100/35) [AS100i]`; the prefix is left out from the second
# route on
_HEAD = re.compile(
    r"^(?P<prefix>[0-9a-fA-F.:]+/\d+)?\s+(?:(?P<type>[a-z]+) )?\[(?P<protocol>[A-Za-z_][\w-]*)"
    r" (?P<since>[^\]]*?)(?: from (?P<source>[^\]\s]+))?\]"
    r"(?P<best> [*!])?(?: \((?P<preference>\d+)(?P<stale>-|s)?(?:/(?P<metric>\d+|-|\?))?\))?"
    r"(?: \[(?P<tail>[^\]]*)\])?\s*$"
)
_VIA = re.compile(r"^\s+via (?P<address>\S+) on (?P<interface>\S+)")
_ATTRIBUTE = re.compile(r"^\s+(?P<name>[A-Za-z]+\.[A-Za-z_0-9]+|Type):\s?(?P<value>.*)$")
_FIELD = re.compile(r"^\s+(?P<name>[A-Za-z][A-Za-z ]*):\s+(?P<value>\S.*)$")
_PAIR = re.compile(r"\((\d+),\s*(\d+)\)")
_TRIPLE = re.compile(r"\((\d+),\s*(\d+),\s*(\d+)\)")
_ORIGINS = {"IGP": Origin.IGP, "EGP": Origin.EGP, "Incomplete": Origin.INCOMPLETE}
_DEFAULT_LOCAL_PREFERENCE = 100  # BIRD's own default, and RFC 4277's advice; a route that never was in BGP prints none


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpProtocol:
    """A BGP session as `show protocols all` has it, by its name in BIRD. `router_id` is the neighbour's, empty while
    it is down.
    """

    name: str
    neighbor: str
    neighbor_as: int
    local_as: int
    router_id: str
    state: str

    @property
    def external(self) -> bool:
        return self.neighbor_as != self.local_as


@dataclass(slots=True, kw_only=True)
class _Route:
    """One route while its lines are being read."""

    prefix: Prefix
    head: re.Match[str]
    via: str = ""
    attributes: dict[str, str]


def parse_sessions(text: str) -> dict[str, BgpProtocol]:
    """The BGP sessions in the output of `show protocols all`, by protocol name."""
    found: dict[str, BgpProtocol] = {}
    for block in re.split(r"\n(?=\S)", text):
        first, _, rest = block.partition("\n")
        words = first.split()
        if len(words) < 2 or words[1] != "BGP":
            continue
        fields = {match["name"]: match["value"] for line in rest.splitlines() if (match := _FIELD.match(line.rstrip()))}
        if not fields.get("Neighbor AS", "").isdecimal() or not fields.get("Local AS", "").isdecimal():
            continue
        found[words[0]] = BgpProtocol(
            name=words[0],
            neighbor=fields.get("Neighbor address", "").partition("%")[0],
            neighbor_as=int(fields["Neighbor AS"]),
            local_as=int(fields["Local AS"]),
            router_id=fields.get("Neighbor ID", ""),
            state=fields.get("BGP state", "").lower(),
        )
    return found


def parse_routes(
    text: str, *, sessions: Mapping[str, BgpProtocol] | None = None, now: datetime | None = None
) -> tuple[Candidate, ...]:
    """The routes in the output of `show route ... all`, in BIRD's order (the best first).

    `sessions` (of `parse_sessions`) makes `ebgp`, `neighbor` and `router_id` certain; without it a route with a
    metric to its exit or an originator id counts as internal. `now`, in BIRD's own time zone, gives ages. Routes that
    are not BGP's (static, direct) come out with an empty path.
    """
    return tuple(_candidate(route, sessions or {}, now) for route in _routes(text))


def _routes(text: str) -> list[_Route]:
    routes: list[_Route] = []
    prefix: Prefix | None = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head is not None:
            prefix = ip_network(head["prefix"], strict=False) if head["prefix"] else prefix
            if prefix is not None:
                routes.append(_Route(prefix=prefix, head=head, attributes={}))
            continue
        if not routes:
            continue
        via, attribute = _VIA.match(line), _ATTRIBUTE.match(line)
        if via is not None and not routes[-1].via:
            routes[-1].via = via["address"]
        elif attribute is not None:
            routes[-1].attributes[attribute["name"]] = attribute["value"].strip()
    return routes


def _candidate(route: _Route, sessions: Mapping[str, BgpProtocol], now: datetime | None) -> Candidate:
    head, attributes = route.head, route.attributes
    session = sessions.get(head["protocol"])
    of_bgp = attributes.get("Type", "").startswith("BGP") or "BGP.as_path" in attributes
    metric = int(head["metric"]) if (head["metric"] or "").isdecimal() else 0
    next_hop = (attributes.get("BGP.next_hop", "").split() or [route.via])[0]
    internal = "BGP.originator_id" in attributes or "BGP.cluster_list" in attributes or head["metric"] is not None
    return Candidate(
        prefix=route.prefix,
        as_path=_as_path(attributes.get("BGP.as_path", "")),
        local_pref=_number(attributes.get("BGP.local_pref"), _DEFAULT_LOCAL_PREFERENCE),
        origin=_ORIGINS.get(attributes.get("BGP.origin", "IGP"), Origin.INCOMPLETE),
        med=_number(attributes.get("BGP.med"), 0),
        ebgp=of_bgp and (session.external if session is not None else not internal),
        igp_metric=metric,
        age_s=_age(head["since"], now),
        router_id=attributes.get("BGP.originator_id", session.router_id if session is not None else ""),
        neighbor=session.neighbor if session is not None else head["source"] or (route.via if of_bgp else ""),
        next_hop=next_hop,
        protocol=head["protocol"],
        communities=_pairs(attributes.get("BGP.community", "")),
        large_communities=_triples(attributes.get("BGP.large_community", "")),
        extended_communities=extended.read_bird(attributes.get("BGP.ext_community", "")),
        best=head["best"] is not None,
    )


def _as_path(text: str) -> tuple[int, ...]:
    """The numbers of the path; a set `{1 2}` (RFC 4271, long deprecated) counts by its first member, as one hop, and
    members of a confederation, `(1 2)` or `({1 2})`, as none (RFC 5065).
    """
    flat = re.sub(r"\{\s*(\d+)(?!\d)[^{}]*\}", r"\1", re.sub(r"\([^()]*\)", " ", text))
    return tuple(int(part) for part in flat.split() if part.isdecimal())


def _pairs(text: str) -> tuple[Community, ...]:
    return tuple((int(a), int(b)) for a, b in _PAIR.findall(text))


def _triples(text: str) -> tuple[LargeCommunity, ...]:
    return tuple((int(a), int(b), int(c)) for a, b, c in _TRIPLE.findall(text))


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default


_FORMATS = ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%d-%m-%Y %H:%M:%S", "%Y-%m-%d")
_CLOCK = re.compile(r"\d{2}:\d{2}(:\d{2}(\.\d+)?)?")


def _age(since: str, now: datetime | None) -> float | None:
    """Seconds since BIRD's time stamp; None without `now` or in a format that is not BIRD's own. A bare clock time is
    of the last 24 hours.
    """
    if now is None:
        return None
    local = now.replace(tzinfo=None)
    if _CLOCK.fullmatch(since):
        parts = [float(part) for part in since.split(":")]
        seconds = parts[0] * 3600 + parts[1] * 60 + (parts[2] if len(parts) > 2 else 0.0)
        moment = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(seconds=seconds)
        return (
            max(0.0, (local - moment).total_seconds())
            if moment <= local + timedelta(seconds=1)
            else (local - moment).total_seconds() + 86400
        )
    for form in _FORMATS:
        try:
            return max(0.0, (local - datetime.strptime(since, form)).total_seconds())
        except ValueError:
            continue
    return None
