"""The planner: from what is wanted and what there is, to what should be.

In: a `World`. Out: a `Plan`, with a note for everything that could not be done. It places first (a place is for
ever), then gives anycast addresses by where the places are, then announces by both. Pure: the same world gives the
same plan, in time linear in its instances.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from anypop.model.allocation import Pin
from anypop.model.announce import Address, Announcement, Prefix
from anypop.model.names import HostName, InstanceName, WorkloadId
from anypop.model.order import Containers, InstanceLink, InstanceOrder, Move, Removal
from anypop.model.plan import AnycastAddress, HostPlan, Incarnation, Plan, World
from anypop.model.reasons import Reason
from anypop.model.stack_names import DOMAIN
from anypop.model.workload import Workload
from anypop.plan import following, gateways
from anypop.plan.addresses import Numbering
from anypop.plan.announcements import Outside, order_of, own, told_of
from anypop.plan.anycast import allocate
from anypop.plan.dials import dialled
from anypop.plan.fields import filled
from anypop.plan.ground import Ground, WorldGround
from anypop.plan.moves import moves_of
from anypop.plan.placement import settle
from anypop.plan.policies import whole
from anypop.plan.rooms import Rooms
from anypop.plan.sites import Sites
from anypop.plan.stack_names import whole as named


def plan(world: World) -> Plan:
    """What should be. Never raises for what users or the world did: what cannot be done becomes a note, and all else
    goes on.
    """
    ground, sites = WorldGround(world), Sites.of(world.network)
    rooms = Rooms(ground, sites)
    placed = {w: settle(ground, rooms, w) for w in sorted(ground.workload_ids(), key=ground.rank)}
    incarnations = sorted(
        (i for settled in placed.values() for i in settled.kept), key=lambda i: (i.host, i.index, i.life)
    )
    removals = sorted(
        (*world.removals, *(removal for settled in placed.values() for removal in settled.removals)),
        key=lambda r: (r[0], *turn_of(r[1])),
    )
    table, address_notes = allocate(ground, sites, placed)
    homes = {w: settled.homes for w, settled in placed.items()}
    tenants: dict[Prefix, list[AnycastAddress]] = defaultdict(list)
    for held in table.values():
        tenants[held.prefix4].append(held)
        tenants[held.prefix6].append(held)
    told = {prefix: told_of(ground, sites, prefix, tenants[prefix], homes) for prefix in sorted(tenants, key=order_of)}

    standing: dict[HostName, list[Incarnation]] = defaultdict(list)
    removed: dict[HostName, list[Removal]] = defaultdict(list)
    announced: dict[HostName, list[Announcement]] = defaultdict(list)
    for incarnation in incarnations:
        standing[incarnation.host].append(incarnation)
    for name, removal in removals:
        removed[name].append(removal)
    for of_prefix in told.values():
        for name, announcements in of_prefix.hosts.items():
            announced[name] += announcements
    held_back, makes = _held(removals), Instances(ground)
    moves = {uid: move for settled in placed.values() for uid, move in moves_of(ground, settled.kept).items()}
    carried = frozenset(prefix for prefix, of_prefix in told.items() if of_prefix.carried)
    in_order = tuple(sorted(carried, key=order_of))
    hosts = {}
    for name, site in sites.hosts.items():
        hosts[name] = HostPlan(
            pop=site.pop.city,
            host=name,
            instances=tuple(
                makes.order(incarnation, site.numbers, table.get(incarnation.workload_id), moves.get(incarnation.uid))
                for incarnation in standing[name]
                if (name, *incarnation.slot) not in held_back
            ),
            removed=tuple(removed[name]),
            announcements=(
                *own(
                    site.pop,
                    site.host,
                    makes.outside(standing[name]),
                    ground.drains_at(site.pop.city),
                    tunnels=bool(sites.backbones),
                ),
                *announced[name],
            ),
            backbone=sites.backbone_of(name, in_order),
        )
    leaving: dict[WorkloadId, list[tuple[HostName, Removal]]] = defaultdict(list)
    for name, removal in removals:
        leaving[removal.workload_id].append((name, removal))
    had = [held.workload_id for held in world.anycast if held.workload_id in table]
    notes = [note for settled in placed.values() for note in settled.notes]
    return Plan(
        network=world.network,
        incarnations=tuple(incarnations),
        anycast=tuple(table[w] for w in dict.fromkeys((*had, *table))),
        hosts=hosts,
        removals=tuple(removals),
        notes=(*notes, *address_notes, *(note for of_prefix in told.values() for note in of_prefix.notes)),
        carried=carried,
        dials=dialled(world.dials, table, sites.pops),
        ruled=whole(
            ground,
            sites.hosts,
            world.policies,
            networks=world.networks,
            workloads=ground.workload_ids(),
            kept=lambda workload: placed[workload].kept if workload in placed else (),
            removals=lambda workload: leaving.get(workload, ()),
        ),
        named=named(
            ground,
            sites.hosts,
            hosts,
            workloads=ground.workload_ids(),
            kept=lambda workload: placed[workload].kept if workload in placed else (),
        ),
    )


def turn_of(removal: Removal) -> tuple[int, int, str]:
    """The order of removals on a host."""
    return removal.index, removal.link, removal.uid


_NO_PINS: Mapping[InstanceName, Pin] = {}


class Instances:
    """Incarnations as their hosts are told to run them, out of one ground. The instances of a revision share one
    payload.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._revisions: dict[tuple[WorkloadId, int], Workload | None] = {}
        self._payloads: dict[int, tuple[Workload, Containers]] = {}
        self._pins: dict[WorkloadId, Mapping[InstanceName, Pin]] = {}

    def order(
        self, incarnation: Incarnation, numbers: Numbering, anycast: AnycastAddress | None, move: Move | None
    ) -> InstanceOrder:
        """What nobody knows any more is made from the newest revision: it runs already, and is told so by its own
        template. `move`: see `moves`.
        """
        made_from = self._made_from(incarnation)
        assert made_from is not None  # what is kept belongs to a workload that is there
        pin = self._pin(incarnation)
        payload = self._payload(made_from)
        found = instance_order(incarnation, made_from, numbers, anycast, pin=pin, payload=payload)
        return found if move is None else replace(found, move=move)

    def outside(self, incarnations: Iterable[Incarnation]) -> Outside:
        """The public addresses that these have of their own, which somebody has to be told."""
        places: list[tuple[int, int]] = []
        kept: list[Address] = []
        for incarnation in incarnations:
            made_from, index = self._made_from(incarnation), incarnation.index
            families = made_from.families if made_from is not None else (4, 6)
            if (pin := self._pin(incarnation)) is not None:
                moved = following.moved(pin, incarnation.host, index)
                families = tuple(version for version in families if version not in moved)
                kept += (*moved.values(), *following.beside(pin))
            if made_from is not None and not made_from.external:
                continue
            places += ((4, index), (6, index)) if families == (4, 6) else [(version, index) for version in families]
        return Outside(places, kept)

    def _pin(self, incarnation: Incarnation) -> Pin | None:
        """What a slot claims; None where its workload claims nothing."""
        workload = incarnation.workload_id
        if workload not in self._pins:
            newest = self._ground.workload(workload)
            asks = newest is not None and newest.assignments
            self._pins[workload] = self._ground.pins_of(workload) if asks else _NO_PINS
        pins = self._pins[workload]
        return pins.get(incarnation.name) if pins else None

    def _made_from(self, incarnation: Incarnation) -> Workload | None:
        workload, number = incarnation.workload_id, incarnation.revision
        known = self._revisions.get((workload, number))
        if known is None:
            known = self._ground.revision(workload, number) or self._ground.workload(workload)
            self._revisions[workload, number] = known
        return known

    def _payload(self, workload: Workload) -> Containers:
        known = self._payloads.get(id(workload))
        if known is None:
            known = self._payloads[id(workload)] = workload, Containers.of(workload)
        return known[1]


def instance_order(
    incarnation: Incarnation,
    workload: Workload,
    numbers: Numbering,
    anycast: AnycastAddress | None,
    *,
    pin: Pin | None = None,
    payload: Containers | None = None,
) -> InstanceOrder:
    """One incarnation as its host is told to run it; environment from instance fields filled in. `workload`: the
    revision it follows. `pin`: what its slot claims. `payload`: its containers, where somebody has put them together
    already.
    """
    order = InstanceOrder(
        name=incarnation.name,
        uid=incarnation.uid,
        workload_id=incarnation.workload_id,
        stack_id=workload.stack_id,
        life=incarnation.life,
        template=incarnation.template or workload.template,
        revision=incarnation.revision,
        restarts=incarnation.restarts,
        links=links_of(workload, numbers, incarnation, pin),
        anycast=_anycast(workload, anycast),
        beside=following.beside(pin) if pin is not None else (),
        payload=payload or Containers.of(workload),
        hosts_domain=f"{workload.stack_slug}.{DOMAIN}",
        power=incarnation.power,
        rescue=incarnation.rescue,
    )
    return filled(order, incarnation, workload)


def links_of(
    workload: Workload, numbers: Numbering, incarnation: Incarnation, pin: Pin | None = None
) -> tuple[InstanceLink, ...]:
    """Its interfaces with their addresses."""
    addresses = numbers.on_link(
        incarnation.index if workload.external else None, incarnation.link, workload.families, workload.vpc
    )
    if pin is not None and workload.external:
        addresses = following.as_claimed(addresses, pin, incarnation.host, incarnation.index)
    first = InstanceLink(
        network=workload.network,
        addresses=addresses,
        reach=workload.vpc.reach,
        **gateways.led(workload, incarnation.target, workload.network, workload.vpc),
    )
    if not workload.further:
        return (first,)
    # where its revision is forgotten, an incarnation may have fewer than the newest one says
    return (
        first,
        *(
            InstanceLink(
                network=interface.network,
                addresses=numbers.on_link(None, link, interface.families, interface.vpc),
                reach=interface.vpc.reach,
                **gateways.led(workload, incarnation.target, interface.network, interface.vpc),
            )
            for interface, link in zip(workload.further, incarnation.further, strict=False)
        ),
    )


def _anycast(workload: Workload, held: AnycastAddress | None) -> tuple[IPv4Address | IPv6Address, ...]:
    if held is None:
        return ()
    return (held.address4, held.address6) if workload.dual_stack else (held.address4,)


def _held(removals: Iterable[tuple[HostName, Removal]]) -> frozenset[tuple[HostName, WorkloadId, InstanceName]]:
    """Slots on a host whose next incarnation must wait until the one before it has made room there."""
    return frozenset((host, r.workload_id, r.name) for host, r in removals if r.reason is Reason.REPLACED)
