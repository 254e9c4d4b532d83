"""The planner: from what is wanted and what there is, to what should be.

In: a `World`. Out: a `Plan`, with a note for everything that could not be done. It places first (a place is forever), then gives anycast
addresses by where the places are, then announces by both. Pure: the same world gives the same plan, in time linear in its instances.
"""

from collections import defaultdict

from anypop.model.names import CityCode
from anypop.model.order import InstanceOrder, Removal
from anypop.model.plan import AnycastAddress, Plan, PopPlan, Slot, World
from anypop.model.workload import Workload
from anypop.plan.addresses import Numbering
from anypop.plan.announcements import announcements
from anypop.plan.anycast import allocate
from anypop.plan.fields import filled
from anypop.plan.places import place

DOMAIN = "edgeengine.internal"  # the suffix by which instances of one stack know each other


def plan(world: World) -> Plan:
    """What should be. Never raises for what users or the world did: what cannot be done becomes a note, and all else goes on."""
    numbering = {pop.city: Numbering.of(pop) for pop in world.network.pops}
    places = place(world, numbering)
    table, address_notes = allocate(world, places)
    told, silent_notes = announcements(world, places.slots, table)

    workloads = {w.id: w for w in world.workloads}
    anycast = {a.workload_id: a for a in table}
    instances: dict[CityCode, list[InstanceOrder]] = defaultdict(list)
    for slot in places.slots:
        if slot.pop in numbering:
            instances[slot.pop].append(
                instance_order(slot, workloads[slot.workload_id], numbering[slot.pop], anycast.get(slot.workload_id))
            )
    removed: dict[CityCode, list[Removal]] = defaultdict(list)
    for city, removal in places.removals:
        removed[city].append(removal)
    return Plan(
        network=world.network,
        slots=places.slots,
        anycast=table,
        pops={
            city: PopPlan(pop=city, instances=tuple(instances[city]), removed=tuple(removed[city]), announcements=told[city])
            for city in numbering
        },
        removals=places.removals,
        notes=places.notes + address_notes + silent_notes,
    )


def instance_order(slot: Slot, workload: Workload, numbers: Numbering, anycast: AnycastAddress | None) -> InstanceOrder:
    """One instance as its PoP is told to run it; environment from instance fields filled in."""
    gateway4, private4 = numbers.link4(slot.index)
    gateway6, private6 = numbers.link6(slot.index)
    external4, external6 = numbers.outside(slot.index)
    order = InstanceOrder(
        name=slot.name,
        uid=slot.uid,
        workload_id=slot.workload_id,
        private4=private4,
        gateway4=gateway4,
        private6=private6,
        gateway6=gateway6,
        external4=external4,
        external6=external6,
        anycast4=anycast.address4 if anycast else None,
        anycast6=anycast.address6 if anycast and workload.dual_stack else None,
        containers=workload.containers,
        hosts_domain=f"{workload.stack_slug}.{DOMAIN}",
    )
    return filled(order, slot, workload)
