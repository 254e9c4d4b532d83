"""What may be learnt: sets and import filters, as BIRD's text. Pure.

In: what is ours, the session. Out: the sets, written once for all sessions, and one filter for each session that takes
anything. Refused are: what is ours or a part of it, ways to management, reserved and private prefixes, too large and
too small ones, paths that are too long, begin with another AS than the neighbour or hold reserved numbers, next hops
that are not the neighbour, leaks (RFC 9234), and what RPKI calls invalid. Each condition stands in brackets: BIRD 2
reads `&&` and `||` from left to right, and neither binds more tightly.
"""

from collections.abc import Iterable, Iterator

from anypop.agent.act.bgp.words import ends, session_name
from anypop.agent.decide.elements import SpeakerConfig
from anypop.model.announce import Prefix
from anypop.model.network import Upstream, UpstreamKind
from anypop.model.peering import Take, takes

# IANA's registries of special-purpose addresses (RFC 6890 and its updates), with all that is inside: nothing of it is
# reached over the Internet. IPv6: what is not global unicast at all is refused by `GLOBAL6`.
RESERVED4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
RESERVED6 = ("2001::/23", "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20")
# 0 and 23456 never originate (RFC 7607, 6793); documentation, private use and the last number: RFC 5398, 6996, 7300
_RESERVED_AS = "0, 23456, 64496..131071, 4200000000..4294967295"
_LONGEST = {4: 24, 6: 48}  # what the Internet takes
_SHORTEST = {4: 8, 6: 16}  # nobody was ever given more
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


def sets(config: SpeakerConfig) -> Iterator[str]:
    """The sets and functions that all filters share."""
    yield f"define RESERVED_AS = [ {_RESERVED_AS} ];"
    yield from _family(4, config, RESERVED4)
    yield "define GLOBAL6 = [ 2000::/3+ ];"
    yield from _family(6, config, RESERVED6)
    if config.rpki:
        yield from ("roa4 table rpki4;", "roa6 table rpki6;")


def _family(family: int, config: SpeakerConfig, reserved: Iterable[str]) -> Iterator[str]:
    yield f"define OURS{family} = {prefix_set(p for p in config.ours if p.version == family)};"
    yield f"define MANAGEMENT{family} = {prefix_set(p for p in config.management if p.version == family)};"
    yield f"define RESERVED{family} = {prefix_set(reserved)};"
    yield f"function is_ours{family}() {{ return (net ~ OURS{family}) || (net ~ MANAGEMENT{family}); }}"
    conditions = [
        f"(net ~ RESERVED{family})",
        *(["(net !~ GLOBAL6)"] if family == 6 else []),
        f"(net.len < {_SHORTEST[family]})",
        f"(net.len > {_LONGEST[family]})",
    ]
    yield f"function is_bogon{family}() {{ return {' || '.join(conditions)}; }}"


def prefix_set(prefixes: Iterable[Prefix | str]) -> str:
    """A set of these, each with all that is more specific."""
    inside = ", ".join(f"{prefix}+" for prefix in prefixes)
    return f"[ {inside} ]" if inside else "[]"


def import_filter(config: SpeakerConfig, upstream: Upstream, family: int) -> list[str]:
    """The filter of a session; nothing where it takes nothing."""
    take = takes(upstream.kind, upstream.imports)
    if take is Take.NONE:
        return []
    default = _DEFAULT[family]
    if take is Take.DEFAULT:
        checks = [f"(net != {default})"]
    else:
        allowed = [p for p in upstream.imports.allow if p.version == family]
        bogon = f"is_bogon{family}()"
        checks = [
            f"(net = {default})",
            f"is_ours{family}()",
            f"((net !~ {prefix_set(allowed)}) && {bogon})" if allowed else bogon,
        ]
    checks += _of_the_path(config, upstream, family)
    return [
        f"filter from_{session_name(upstream, family)} {{",
        *(f"\tif {check} then reject;" for check in checks),
        "\tif ((65535, 0) ~ bgp_community) then bgp_local_pref = 0;  # graceful shutdown (RFC 8326)",
        "\taccept;",
        "}",
    ]


def _of_the_path(config: SpeakerConfig, upstream: Upstream, family: int) -> Iterator[str]:
    imports = upstream.imports
    yield f"(bgp_path.len > {imports.max_path})"
    if upstream.asn == config.asn:
        return  # our own edge router: its paths are its neighbours', and it has checked them
    first_as = imports.first_as if imports.first_as is not None else upstream.kind is not UpstreamKind.IXP
    if first_as:
        yield f"(bgp_path.first != {upstream.asn})"
    if not imports.reserved_as:
        yield f"(delete(bgp_path, {upstream.asn}) ~ RESERVED_AS)"
    _, neighbor = ends(upstream, family)
    if upstream.kind is not UpstreamKind.IXP and upstream.multihop is None and not neighbor.is_link_local:
        yield "(bgp_next_hop != from)"
    if upstream.kind is UpstreamKind.PEER:
        # RFC 9234: what a peer was told by its own providers or peers is not for us, also where it knows no roles
        yield f"(defined(bgp_otc) && (bgp_otc != {upstream.asn}))"
    if config.rpki:
        yield f"(roa_check(rpki{family}, net, bgp_path.last_nonaggregated) = ROA_INVALID)"
