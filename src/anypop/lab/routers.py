"""The configuration of each lab router: bird.conf as text, from the plan and the dictionaries.

After the address plan, before `build` starts the daemons. Pure. Our own routers are not here: a host's agent configures
its own, and `edge` has the edge routers of PoPs of several hosts.

Inside an AS: Babel (RFC 8966) over the internal links, with a link's length in km as its cost, and BGP between
loopbacks: a full mesh, or with route reflectors where it has some. Babel and not OSPF, because OSPF may not tell of its
first neighbours for five seconds (MinLSInterval, RFC 2328): a lab would be ready three times later. Between ASes: BGP
for each family, with BFD.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anypop.lab.address import End, LabPlan, Link, Role, Router, bfd_of
from anypop.lab.policy import Neighbour, Policy
from anypop.lab.topology import FAMILIES, AutonomousSystem, Habit, OwnNetwork
from anypop.model.cities import city
from anypop.model.network import UpstreamKind
from anypop.model.route import Relationship
from anypop.routing.dictionary import for_asn
from anypop.routing.entries import Entry

# Babel's infinity is 65535. No cable is longer than 40,000 km, once around the Earth.
_LEAST_COST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSession:
    """A BGP session of a router with one neighbour, in each of `families`. `pop`: the city, where the neighbour is one
    of our PoPs. `client`: the neighbour is a client of this route reflector. `member`: the neighbour's number inside a
    confederation.
    """

    name: str
    relationship: Relationship
    asn: int
    router: str
    city: str
    local: tuple[str, str]
    neighbour: tuple[str, str]
    interface: str = ""
    pop: str = ""
    families: tuple[int, ...] = FAMILIES
    client: bool = False
    member: int | None = None


def sessions(lab: LabPlan, router: Router) -> tuple[RouterSession, ...]:
    """The BGP sessions of a lab router; protocol names are `<name>_v4` and `<name>_v6`. In the order of the links,
    internal ones last.
    """
    found = [_external(lab, link, own, far) for link, own, far in lab.links_of(router.netns) if link.role in _EXTERNAL]
    system = lab.topology.find(router.asn)
    assert system is not None, router.asn
    for other in lab.routers:
        if other.asn == router.asn and other.netns != router.netns and system.speak(router.city, other.city):
            found.append(
                RouterSession(
                    name=f"internal_{other.city.lower()}",
                    relationship=Relationship.INTERNAL,
                    asn=router.asn,
                    router=other.name,
                    city=other.city,
                    local=(str(router.loopback4), str(router.loopback6)),
                    neighbour=(str(other.loopback4), str(other.loopback6)),
                    client=router.city in system.reflectors and other.city not in system.reflectors,
                    member=system.member(other.city),
                )
            )
    return tuple(found)


def render(lab: LabPlan, router: Router) -> str:
    """bird.conf of one router."""
    system = lab.topology.find(router.asn)
    assert system is not None, router.asn
    known = sessions(lab, router)
    place = city(router.city)
    policy = Policy(
        asn=router.asn,
        city=router.city,
        region=place.continent,
        entries=_entries(lab, router.asn, system.communities),
        habits=system.habits,
    )
    lines = [
        f"# {router.name}: AS{router.asn} ({system.name}) in {place.name}, {place.country}. Made by "
        "anypop.lab.routers; do not edit.",
        "log stderr { warning, error, auth, fatal, bug };",
        f"router id {router.loopback4};",
        "",
        *_block("protocol device", ["scan time 60;"]),
        *_block("protocol direct loopback0", ["ipv4; ipv6;", 'interface "lo";']),
        *_block("protocol direct vantages0", ["ipv4; ipv6;", 'interface "v*";']),
    ]
    for family in (4, 6):
        lines += _block(
            f"protocol kernel kernel{family}",
            [f"ipv{family} {{ import none; export where source = RTS_BGP || source = RTS_BABEL; }};"],
        )
    lines += _interior(lab, router)
    lines += _bfd(known, bfd_of(lab.topology.own))
    lines += _block("function set_preference()", [*policy.preferring()])
    regions = sorted({city(s.city).continent for s in known if s.relationship is Relationship.INTERNAL})
    for region in regions:
        carrying = [_ORIGINATED, *policy.carrying(region), *(_next_hop(router, policy) if system.confederation else ())]
        lines += _block(f"filter carry_to_{region.lower()}", [*carrying, "accept;"])
    if regions:
        lines += _block("filter carried", ["set_preference();", "accept;"])
    for session in known:
        if session.relationship is not Relationship.INTERNAL:
            lines += _filters(lab, policy, session)
        lines += _protocols(session, system, system.member(router.city))
    return "\n".join(lines) + "\n"


_EXTERNAL = (Role.CUSTOMER_PROVIDER, Role.PEER, Role.SIBLING, Role.UPSTREAM)
_ORIGINATED = 'if source != RTS_BGP && proto != "vantages0" then reject;'


def _external(lab: LabPlan, link: Link, own: End, far: End) -> RouterSession:
    local, neighbour = ((end.addresses[0].partition("/")[0], end.addresses[1].partition("/")[0]) for end in (own, far))
    if link.role is Role.UPSTREAM:
        site = next(s for s in lab.sites if s.netns == far.netns)
        kind = next(u.kind for u in site.upstreams if u.interface == far.interface)
        asn, router, place = lab.topology.own.asn, site.name, site.pop.city
        relationship = Relationship.CUSTOMER if kind is UpstreamKind.TRANSIT else Relationship.PEER
    else:
        other = next(r for r in lab.routers if r.netns == far.netns)
        asn, router, place = other.asn, other.name, other.city
        relationship = Relationship.SIBLING if link.role is Role.SIBLING else Relationship.PEER
        if link.role is Role.CUSTOMER_PROVIDER:
            relationship = Relationship.CUSTOMER if far is link.a else Relationship.PROVIDER
    return RouterSession(
        name=f"as{asn}_{place.lower()}",
        relationship=relationship,
        asn=asn,
        router=router,
        city=place,
        local=local,
        neighbour=neighbour,
        interface=own.interface,
        pop=place if link.role is Role.UPSTREAM else "",
        families=link.families,
    )


def _entries(lab: LabPlan, asn: int, dictionary: int) -> tuple[Entry, ...]:
    """The dictionary that the AS obeys, with its placeholders filled by its real neighbours."""
    topology = lab.topology
    neighbours = {link.b for link in topology.links if link.a == asn} | {
        link.a for link in topology.links if link.b == asn
    }
    if any(upstream.asn == asn for pop in topology.own.pops for upstream in pop.upstreams):
        neighbours.add(topology.own.asn)
    return for_asn(dictionary).concrete(sorted(neighbours))


def _interior(lab: LabPlan, router: Router) -> Iterator[str]:
    """Babel on the internal links. A route's metric is its length in km, which BGP reads as the distance of an exit."""
    inner = [(link, own) for link, own, _ in lab.links_of(router.netns) if link.role is Role.INTERNAL]
    if not inner:
        return
    channels = [
        f"ipv{family} {{ import filter {{ igp_metric = babel_metric; accept; }}; "
        'export where source = RTS_BABEL || proto = "loopback0"; };'
        for family in (4, 6)
    ]
    # BIRD passes news on after half the update interval at the latest: with the usual 4 s, a backbone of ten cities
    # takes 20 s to agree.
    timing = "hello interval 1 s; update interval 1 s;"
    interfaces = [
        f'interface "{own.interface}" {{ type wired; rxcost {link_cost(link.km)}; {timing} }};' for link, own in inner
    ]
    yield from _block("protocol babel interior0", channels + interfaces)


def link_cost(km: float) -> int:
    """What an internal link of so many km costs its routers."""
    return max(_LEAST_COST, round(km))


def _bfd(known: Sequence[RouterSession], times: str) -> Iterator[str]:
    """Towards our PoPs 50 ms x 3, unless the topology says otherwise: how fast a cut is noticed there is what people
    come to see. Elsewhere 1 s x 3, which a hundred networks on one machine can afford (at 300 ms they took half a core
    when nothing happened).
    """
    pops = ", ".join(f'"{s.interface}"' for s in known if s.pop)
    fast = [f"interface {pops} {{ {times} }};"] if pops else []
    rest = ['interface "l*" { min rx interval 1 s; min tx interval 1 s; multiplier 3; };']
    if any(s.interface for s in known):
        yield from _block("protocol bfd bfd0", fast + rest)


def _filters(lab: LabPlan, policy: Policy, session: RouterSession) -> Iterator[str]:
    own = lab.topology.own
    if session.pop:
        footprint = frozenset({city(session.pop).continent})
    else:
        system = lab.topology.find(session.asn)
        assert system is not None, session.asn
        footprint = system.continents
    neighbour = Neighbour(asn=session.asn, relationship=session.relationship, footprint=footprint)
    entering = [*policy.entering(session.relationship, session.asn), "accept;"]
    if session.pop:
        entering = [*_only_ours(own, session.pop, policy.dropping()), *entering]
    yield from _block(f"filter from_{session.name}", entering)
    yield from _block(f"filter to_{session.name}", [_ORIGINATED, *policy.leaving(neighbour), "accept;"])


def _only_ours(own: OwnNetwork, pop: str, dropping: str) -> Iterator[str]:
    """What an upstream takes from one of our PoPs: covering prefixes and the PoP's own, exactly; hosts inside them
    only to drop them.
    """
    site = next(p for p in own.pops if p.city == pop)
    for version, length, networks in (
        (4, 32, (*own.anycast4, site.external4)),
        (6, 128, (*own.anycast6, site.external6)),
    ):
        exact = ", ".join(str(n) for n in networks)
        hosts = ", ".join(f"{n}{{{length},{length}}}" for n in networks)
        yield f"if net.type = NET_IP{version} && net !~ [{exact}] && !(net ~ [{hosts}] && {dropping}) then reject;"


def _next_hop(router: Router, policy: Policy) -> Iterator[str]:
    """A border router of a confederation is the next hop of what it tells inside; in all members, as with reflectors.
    BIRD's own option would make every router at the edge of a member one.
    """
    for family, loopback in zip(FAMILIES, (router.loopback4, router.loopback6), strict=True):
        yield f"if {policy.entered_here} && net.type = NET_IP{family} then bgp_next_hop = {loopback};"


# Not `deterministic med on`, although RFC 4451 asks for it: with it BIRD 2.0.12 now and then stays with a longer path
# after routes of one neighbour came in another order (3 of 7 runs of one world of `script/bench agree`, none without).
def _protocols(session: RouterSession, system: AutonomousSystem, member: int | None) -> Iterator[str]:
    asn, habits = system.asn, system.habits
    for family, local, neighbour in zip(FAMILIES, session.local, session.neighbour, strict=True):
        if family not in session.families:
            continue
        lines = [
            f'description "{session.relationship} {session.router}";',
            f"local {local} as {member or asn};",
            f"neighbor {neighbour} as {session.member or session.asn};",
            "connect delay time 1; connect retry time 1; error wait time 1, 2;",
        ]
        if member is not None:
            lines.append(f"confederation {asn};")
            if session.member not in (None, member):
                lines.append("confederation member on; multihop;")
        if Habit.COMPARES_MED_ALWAYS in habits:
            lines.append("med metric on;")
        if Habit.MISSING_MED_IS_WORST in habits:
            lines.append(f"default bgp_med {(1 << 32) - 1};")
        if session.relationship is Relationship.INTERNAL:
            region = city(session.city).continent.lower()
            lines += ["rr client;"] if session.client else []
            # what is reflected keeps the border router as its next hop, so nobody's packets go round by the reflector
            own = "next hop self ebgp; " if system.reflectors else "" if member else "next hop self; "
            lines.append(f"ipv{family} {{ {own}import filter carried; export filter carry_to_{region}; }};")
        else:
            lines.append("bfd on;")
            # who is told by a route server leaves its number out, not its address: the next hop is the server here
            server = Habit.ROUTE_SERVER in habits
            lines += ["rs client;"] if server else []
            filters = f"import filter from_{session.name}; export filter to_{session.name};"
            lines.append(f"ipv{family} {{ {'next hop self; ' if server else ''}{filters} }};")
        yield from _block(f"protocol bgp {session.name}_v{family}", lines)


def _block(head: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{head} {{", *(f"  {line}" for line in lines), "}"]
