"""The configuration of a PoP's edge router: bird.conf as text. The same text serves on an operator's own edge router
(docs/hosts.md).

After the address plan, before `daemons` starts the lab's BIRDs. In: what the edge router has, as an `EdgeConfig`. Out:
the text. Pure. It must not let anything leave but the operator's own prefixes, nor take anything from a host but what
that host may say.

Hosts speak iBGP with it. The same AS number keeps the AS path as short as if there were no edge router, the hosts'
communities and prepends pass through unchanged, and a router passes nothing from one iBGP neighbour to another, so no
host hears of another one's routes. With private numbers and eBGP each of these would be a rule of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from anypop.lab.address import LabPlan, PopSite, bfd_of
from anypop.model.announce import Prefix
from anypop.model.network import Upstream, UpstreamKind
from anypop.model.reserved import DEFAULT, RESERVED_AS, bogon_sets
from anypop.plan.edge_scopes import MOST_PREPENDS

KERNEL_METRIC = 1000  # as on our hosts: behind whatever the operator puts there by hand
UPSTREAM_LIMIT = 2_000_000  # about twice the Internet's table
HOST_LIMIT = 20_000  # far more addresses than one host can hold instances
_LOOP = 16  # how often our own number may stand in a path that a host tells: its prepends


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeHost:
    """One host behind the edge router. `session`: as the edge router has it, so `neighbor*` is the host."""

    name: str
    session: Upstream
    external4: IPv4Network
    external6: IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """Everything that an edge router's configuration depends on. `external*`: of the whole PoP; those of its hosts
    lie inside. `bfd`: its times.
    """

    name: str
    asn: int
    router_id: IPv4Address
    anycast4: tuple[IPv4Network, ...]
    anycast6: tuple[IPv6Network, ...]
    external4: IPv4Network
    external6: IPv6Network
    upstreams: tuple[Upstream, ...]
    hosts: tuple[EdgeHost, ...]
    bfd: str


def config_of(lab: LabPlan, site: PopSite) -> EdgeConfig:
    """The edge router of one PoP of the lab. The PoP must have one."""
    assert site.edge is not None, site.name
    own = lab.topology.own
    hosts = []
    for place, interface in zip(site.pop.hosts, site.edge.interfaces, strict=True):
        there = place.upstreams[0]
        session = Upstream(
            name=place.name.lower(),
            asn=own.asn,
            kind=there.kind,
            interface=interface,
            neighbor4=there.local4,
            local4=there.neighbor4,
            neighbor6=there.local6,
            local6=there.neighbor6,
        )
        hosts.append(EdgeHost(name=place.name, session=session, external4=place.external4, external6=place.external6))
    return EdgeConfig(
        name=site.name,
        asn=own.asn,
        router_id=site.edge.router_id,
        anycast4=own.anycast4,
        anycast6=own.anycast6,
        external4=site.edge.external4,
        external6=site.edge.external6,
        upstreams=site.pop.edge,
        hosts=tuple(hosts),
        bfd=bfd_of(own),
    )


def session_name(upstream: Upstream, family: int) -> str:
    """The protocol of a session with an upstream: `up_level3_v4`."""
    return f"up_{upstream.name.replace('-', '_')}_v{family}"


def host_session_name(host: EdgeHost, family: int) -> str:
    """The protocol of a session with a host: `host_lhr_1_v4`."""
    return f"host_{host.name.lower().replace('-', '_')}_v{family}"


def render(config: EdgeConfig) -> str:
    """The whole bird.conf."""
    names = ", ".join(host.name for host in config.hosts)
    lines = [
        f"# {config.name}: the edge router of a PoP, between its upstreams and its hosts {names}.",
        "log stderr { warning, error, auth, fatal, bug };",
        f"router id {config.router_id};",
        "",
        f"define OWN = {config.asn};",
        f"define RESERVED_AS = [ {RESERVED_AS} ];",
        *_prefixes(config),
        "",
        "protocol device { scan time 10; }",
        f'protocol bfd {{ interface "{_towards(config)}" {{ {config.bfd} }}; }}',
        *_block(
            "function fades()",
            [
                "# graceful shutdown (RFC 8326): routed over for a moment yet, but anything else is better",
                "return (65535, 0) ~ bgp_community;",
            ],
        ),
        *_block(
            "function is_scoped()",
            [
                "# told by its host with conditions: communities, or our own number more than once",
                "return bgp_path.len > 0 || bgp_community.len > 0 || bgp_large_community.len > 0 || "
                "bgp_ext_community.len > 0;",
            ],
        ),
    ]
    lines += _block(
        "function prepend_for(int neighbour)",
        [
            f"if (OWN, {count}, neighbour) ~ bgp_large_community then {{ {'bgp_path.prepend(OWN); ' * count}}}"
            for count in range(1, MOST_PREPENDS + 1)
        ],
    )
    for family in (4, 6):
        lines += _tables(config, family)
        lines += _kernel(family)
        for host in config.hosts:
            if host.session.has_session(family):
                lines += _host(config, host, family)
        for rank, upstream in enumerate(config.upstreams, start=1):
            if upstream.has_session(family):
                lines += _upstream(upstream, rank, family)
    return "\n".join(lines) + "\n"


def _prefixes(config: EdgeConfig) -> Iterator[str]:
    """Sets: covering prefixes, single addresses inside them, and all that is ours here."""
    for family, anycast, external, longest in (
        (4, config.anycast4, config.external4, 32),
        (6, config.anycast6, config.external6, 128),
    ):
        ours: Sequence[Prefix] = (*anycast, external)
        yield f"define COVERS{family} = [ {', '.join(map(str, anycast))} ];"
        yield f"define ANYCAST{family} = [ {', '.join(f'{p}{{{longest},{longest}}}' for p in anycast)} ];"
        yield f"define OURS{family} = [ {', '.join(f'{p}+' for p in ours)} ];"
        yield from bogon_sets(family)


def _towards(config: EdgeConfig) -> str:
    """The interfaces with sessions."""
    sessions = [*config.upstreams, *(host.session for host in config.hosts)]
    return '", "'.join(dict.fromkeys(session.interface for session in sessions))


def _tables(config: EdgeConfig, family: int) -> Iterator[str]:
    """From what hosts tell to what the world is told.

    hosts:  as told by each host, and the default route that hosts get.
    origin: the covering prefixes as *we* originate them, alive while a host tells them. Whose route that is makes no
    difference to it, so
            the world hears nothing when one host goes and another is left.
    master: what is forwarded, and what upstreams may hear.
    """
    anycast, external = (config.anycast4, config.external4) if family == 4 else (config.anycast6, config.external6)
    yield from ("", f"ipv{family} table hosts{family};", f"ipv{family} table origin{family};")
    yield from _block(
        f"protocol static default{family}",
        [
            f"ipv{family} {{ table hosts{family}; }};",
            f"route {'0.0.0.0/0' if family == 4 else '::/0'} unreachable;  # hosts leave by us",
        ],
    )
    yield from _block(
        f"protocol static cover{family}",
        [
            f"ipv{family} {{ table origin{family}; }};",
            f"igp table hosts{family};",
            "# alive while a host tells the same prefix: its own address is looked up among what hosts tell",
            *(f"route {p} recursive {p.network_address};" for p in anycast),
        ],
    )
    yield from _block(
        f"protocol static external{family}",
        [f"ipv{family};", f"route {external} unreachable;  # but for what hosts tell of it"],
    )
    yield from _block(
        f"protocol static guard{family}",
        [
            f"ipv{family} {{ import filter {{ preference = 10; accept; }}; }};",
            "# what nobody serves must not follow the default route back",
            *(f"route {p} unreachable;" for p in anycast),
        ],
    )
    yield from _block(
        f"protocol pipe alive{family}",
        [f"table master{family}; peer table origin{family};", "import where dest != RTD_UNREACHABLE; export none;"],
    )
    yield from _block(
        f"filter served{family}",
        [
            'if !(proto ~ "host_*") then reject;',
            f"if !(net ~ COVERS{family}) then accept;  # an address",
            "# a covering prefix with conditions goes out in its host's words, one without in ours",
            "if fades() then { dest = RTD_BLACKHOLE; preference = 50; accept; }",
            "if is_scoped() then { dest = RTD_BLACKHOLE; preference = 250; accept; }",
            "reject;",
        ],
    )
    yield from _block(
        f"protocol pipe served_{family}",
        [f"table master{family}; peer table hosts{family};", f"import filter served{family}; export none;"],
    )


def _kernel(family: int) -> Iterator[str]:
    yield from _block(
        f"protocol kernel kernel{family}",
        [
            "merge paths on;  # an address of several hosts: the kernel spreads flows over them",
            f"metric {KERNEL_METRIC};",
            f"ipv{family} {{ import none; export where source = RTS_BGP || source = RTS_STATIC; }};",
        ],
    )


def _host(config: EdgeConfig, host: EdgeHost, family: int) -> Iterator[str]:
    """A host: what it may say, and the session. It hears the default route and nothing else. What it tells of another
    host's external addresses counts while nobody else tells it: one that is kept follows its slot, and none is taken.
    """
    name, longest = host_session_name(host, family), 32 if family == 4 else 128
    near, own = (config.external4, host.external4) if family == 4 else (config.external6, host.external6)
    yield from _block(
        f"filter from_{name}",
        [
            f"if !(net ~ COVERS{family} || net ~ ANYCAST{family} || net ~ [ {near}{{{longest},{longest}}} ]) then "
            "reject;",
            "bgp_med = 0;",
            "bgp_local_pref = 100;",
            f"if (net ~ [ {near}+ ]) && (net !~ [ {own}+ ]) then bgp_local_pref = 50;  # another's: it comes first",
            "if fades() then bgp_local_pref = 0;",
            f"if net ~ COVERS{family} then {{ if fades() then dest = RTD_UNREACHABLE; else dest = RTD_BLACKHOLE; }}",
            "accept;",
        ],
    )
    local, neighbor = _ends(host.session, family)
    yield from _block(
        f"protocol bgp {name}",
        [
            f'description "host {host.name}";',
            f"local {local} as OWN; neighbor {neighbor} as OWN; direct;",
            f"allow local as {_LOOP};  # hosts prepend our number for the world to see",
            "bfd on; graceful restart aware;  # a speaker that dies comes back; a host that is gone is seen by BFD",
            "hold time 6; keepalive time 2;  # for a loss before BFD has come up, which takes a second or two",
            "connect delay time 1; connect retry time 1; error wait time 1, 2;",
            f"ipv{family} {{",
            f"  table hosts{family}; gateway direct; next hop self;",
            f"  import limit {HOST_LIMIT} action block;",
            f"  import filter from_{name};",
            f'  export where proto = "default{family}";',
            "};",
        ],
    )


def _upstream(upstream: Upstream, rank: int, family: int) -> Iterator[str]:
    """A neighbour: it may say everything but what is ours, and hears what is ours alone. Of equal routes that of the
    lowest `rank` is taken; without ranks `merge paths`, which is there for hosts, would spread what leaves over all of
    them.
    """
    name = session_name(upstream, family)
    yield from _block(f"filter from_{name}", [*_refused(upstream, family), f"bgp_med = {rank};", "accept;"])
    yield from _block(
        f"filter to_{name}",
        [
            f'if !(proto = "external{family}" || proto = "cover{family}" || (proto ~ "host_*" && net ~ '
            f"COVERS{family})) then reject;",
            "# our own communities, for one upstream among several: (OWN, 0, its number) not to it, (OWN, N, its "
            "number) N prepends",
            f"if (OWN, 0, {upstream.asn}) ~ bgp_large_community then reject;",
            f"prepend_for({upstream.asn});",
            f"bgp_large_community.delete([(OWN, 0..{MOST_PREPENDS}, *)]);",
            "accept;",
        ],
    )
    local, neighbor = _ends(upstream, family)
    yield from _block(
        f"protocol bgp {name}",
        [
            f'description "{upstream.kind} AS{upstream.asn}";',
            f"local {local} as OWN; neighbor {neighbor} as {upstream.asn};",
            f"bfd {'on' if upstream.bfd else 'off'};",
            "connect delay time 1; connect retry time 1; error wait time 1, 2;",
            "med metric on;  # the MED here is our own: of equal routes, that of the first upstream",
            "interpret communities off;  # NO_EXPORT and its like, set by a host, are meant for the neighbour",
            f"ipv{family} {{",
            f"  import limit {UPSTREAM_LIMIT} action restart;",
            f"  import filter from_{name};",
            f"  export filter to_{name};",
            "  next hop self;",
            "};",
        ],
    )


def _refused(upstream: Upstream, family: int) -> Iterator[str]:
    """What a neighbour may not say: docs/sessions.md. It may tell a default route, on which an edge router may live."""
    imports = upstream.imports
    allowed = ", ".join(f"{p}+" for p in imports.allow if p.version == family)
    beside = f" && (net !~ [ {allowed} ])" if allowed else ""
    yield f"if (net ~ OURS{family}) then reject;"
    yield f"if ((net != {DEFAULT[family]}) && is_bogon{family}(){beside}) then reject;"
    yield f"if (bgp_path.len > {imports.max_path}) then reject;"
    first_as = imports.first_as if imports.first_as is not None else upstream.kind is not UpstreamKind.IXP
    if first_as:
        yield f"if (bgp_path.first != {upstream.asn}) then reject;"
    if not imports.reserved_as:
        yield f"if (delete(bgp_path, {upstream.asn}) ~ RESERVED_AS) then reject;"
    yield "if ((65535, 0) ~ bgp_community) then bgp_local_pref = 0;  # graceful shutdown (RFC 8326)"


def _ends(session: Upstream, family: int) -> tuple[object, object]:
    return (session.local4, session.neighbor4) if family == 4 else (session.local6, session.neighbor6)


def _block(head: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{head} {{", *(f"  {line}" for line in lines), "}"]
