"""Small worlds for tests of plan and judge: a network of four cities, workloads, reports. Pure; every value can be
overridden.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from anypop.model.announce import Prefix
from anypop.model.names import CityCode, HostName, StackId, WorkloadId
from anypop.model.network import Host, Network, Pop, Upstream
from anypop.model.order_since import VERSION
from anypop.model.plan import HostPlan, Plan, World
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, Phase, PrefixReport, Report, SessionReport
from anypop.model.workload import Container, Port, Target, Workload
from anypop.plan.template import template_of

CITIES = tuple(CityCode(c) for c in ("AMS", "LHR", "JFK", "LAX"))
AMS, LHR, JFK, LAX = CITIES
HOSTS = tuple(HostName(c) for c in CITIES)  # the only host of a PoP is called like its city
KEY = b"a platform's own key"


def upstream(name: str, asn: int, *, six: bool = True) -> Upstream:
    link = 2 * (asn % 0x4000)  # each neighbour is at the end of a link of its own
    return Upstream(
        name=name,
        asn=asn,
        interface=f"up-{name}",
        neighbor4=IPv4Address("10.200.0.1") + link,
        local4=IPv4Address("10.200.0.0") + link,
        neighbor6=IPv6Address("2001:db8:ffff::1") + link if six else None,
        local6=IPv6Address("2001:db8:ffff::") + link if six else None,
    )


def pop(city: CityCode, n: int, *, external_bits: int = 26) -> Pop:
    return Pop(city=city, hosts=(host(HostName(city), n, external_bits=external_bits),))


def host(name: HostName, n: int, *, external_bits: int = 26) -> Host:
    return Host(
        name=name,
        router_id=IPv4Address(f"10.255.0.{n + 1}"),
        private4=IPv4Network(f"10.{n}.0.0/20"),
        private6=IPv6Network(f"fd00:{n:x}::/64"),
        external4=IPv4Network((f"198.{18 + n}.0.0", external_bits)),
        external6=IPv6Network(f"2001:db8:{n + 1:x}::/64"),
        upstreams=(upstream("telia", 1299), upstream("qwest", 209, six=False)),
    )


def network(cities: Sequence[CityCode] = CITIES, *, prefixes: int = 2, external_bits: int = 26) -> Network:
    """Each city keeps its prefixes whichever others are there."""
    return Network(
        asn=33438,
        anycast4=tuple(IPv4Network(f"203.0.{113 + n}.0/24") for n in range(prefixes)),
        anycast6=tuple(IPv6Network(f"2001:db8:a{n:03x}::/48") for n in range(prefixes)),
        pops=tuple(pop(c, CITIES.index(c), external_bits=external_bits) for c in cities),
    )


def workload(slug: str = "web", *, cities: Iterable[CityCode] = CITIES, replicas: int = 2, **more: Any) -> Workload:
    plain = Workload(
        id=WorkloadId(f"id-{slug}"),
        stack_id=StackId("stack-1"),
        stack_slug="fun",
        slug=slug,
        name=slug,
        containers=(
            Container(
                name="app", image="registry.example/web:1", ports=(Port(name="http", port=80, open_to_all=True),)
            ),
        ),
        targets=(Target(name="all", cities=tuple(cities), replicas=replicas),),
        anycast=True,
    )
    wanted = replace(plain, **more)
    return wanted if wanted.template else replace(wanted, template=template_of(wanted, KEY))


def part_of(planned: Plan, city: CityCode) -> HostPlan:
    """The part of the only host of a city."""
    return planned.hosts[HostName(city)]


def after(world: World, planned: Plan, **changes: Any) -> World:
    """The world once `planned` is stored, with changes on top."""
    stored = replace(
        world,
        incarnations=planned.incarnations,
        anycast=planned.anycast,
        removals=planned.removals,
        serial=world.serial + 1,
    )
    return replace(stored, **changes)


def report(
    planned: Plan,
    where: HostName,
    *,
    at: float = 0,
    generation: int = 1,
    unhealthy: Iterable[str] = (),
    withdrawn: Iterable[Prefix] = (),
    wants: Iterable[Prefix] = (),
    vacant: bool = False,
    sessions: str = "established",
) -> Report:
    """A host that does as its plan says. `unhealthy`: workload ids whose instances fail here; `wants`: prefixes it
    asks to withdraw, being `vacant` or not.
    """
    ill, gone, asked = set(unhealthy), set(withdrawn), set(wants)
    site, part = planned.network.host(where), planned.hosts[where]
    assert site is not None
    told = part.announcements
    return Report(
        pop=part.pop,
        host=where,
        at=at,
        generation=generation,
        understands=VERSION,
        instances=tuple(
            InstanceReport(
                name=i.name,
                uid=i.uid,
                phase=Phase.RUNNING,
                healthy=i.workload_id not in ill,
                reason=Reason.PROBE_FAILED if i.workload_id in ill else Reason.PROBE_PASSED,
                template=i.template,
            )
            for i in part.instances
        ),
        sessions=tuple(
            SessionReport(upstream=u.name, family=family, state=sessions)
            for u in site.upstreams
            for family in ((4, 6) if u.local6 else (4,))
        ),
        prefixes=tuple(
            PrefixReport(
                prefix=p,
                announced=p not in gone,
                upstreams=() if p in gone else tuple(a.upstream for a in told if a.prefix == p),
                reason=Reason.AWAITING_GRANT if p in asked else Reason.ANNOUNCED,
                wants_withdraw=p in asked,
                vacant=vacant and p in asked,
            )
            for p in dict.fromkeys(a.prefix for a in told)
        ),
    )
