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
from anypop.model.reserved import DEFAULT, RESERVED_AS, bogon_sets


def sets(config: SpeakerConfig) -> Iterator[str]:
    """The sets and functions that all filters share."""
    yield f"define RESERVED_AS = [ {RESERVED_AS} ];"
    for family in (4, 6):
        yield f"define OURS{family} = {prefix_set(p for p in config.ours if p.version == family)};"
        yield f"define MANAGEMENT{family} = {prefix_set(p for p in config.management if p.version == family)};"
        yield f"function is_ours{family}() {{ return (net ~ OURS{family}) || (net ~ MANAGEMENT{family}); }}"
        yield from bogon_sets(family)
    if config.rpki:
        yield from ("roa4 table rpki4;", "roa6 table rpki6;")


def prefix_set(prefixes: Iterable[Prefix | str]) -> str:
    """A set of these, each with all that is more specific."""
    inside = ", ".join(f"{prefix}+" for prefix in prefixes)
    return f"[ {inside} ]" if inside else "[]"


def import_filter(config: SpeakerConfig, upstream: Upstream, family: int) -> list[str]:
    """The filter of a session; nothing where it takes nothing."""
    take = takes(upstream.kind, upstream.imports)
    if take is Take.NONE:
        return []
    default = DEFAULT[family]
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
