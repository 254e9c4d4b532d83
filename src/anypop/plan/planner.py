"""The planner: from what is wanted and what there is, to what should be.

In: a `World`. Out: a `Plan`, with a note for everything that could not be done. It places first (a place is for ever), then gives anycast
addresses by where the places are, then announces by both. Pure: the same world gives the same plan, in time linear in its instances.
"""

from collections import defaultdict
from ipaddress import IPv4Address, IPv6Address

from anypop.model.names import HostName, InstanceName, WorkloadId
from anypop.model.order import Containers, InstanceLink, InstanceOrder, Removal
from anypop.model.plan import AnycastAddress, HostPlan, Incarnation, Plan, World
from anypop.model.reasons import Reason
from anypop.model.workload import Workload
from anypop.plan.addresses import Numbering
from anypop.plan.announcements import announcements
from anypop.plan.anycast import allocate
from anypop.plan.fields import filled
from anypop.plan.placement import place

DOMAIN = "edgeengine.internal"  # the suffix by which instances of one stack know each other


def plan(world: World) -> Plan:
    """What should be. Never raises for what users or the world did: what cannot be done becomes a note, and all else goes on."""
    numbering = {host.name: Numbering.of(host) for _, host in world.network.hosts()}
    placed = place(world, numbering)
    table, address_notes = allocate(world, placed)
    told, silent_notes = announcements(world, placed.incarnations, table)

    newest = {w.id: w for w in world.workloads}
    revisions = {(w.id, w.revision): w for w in (*world.revisions, *world.workloads)}
    anycast = {a.workload_id: a for a in table}
    held = _held(placed.removals)
    instances: dict[HostName, list[InstanceOrder]] = defaultdict(list)
    for incarnation in placed.incarnations:
        if incarnation.host not in numbering or incarnation.slot in held:
            continue
        # what nobody knows any more is made from the newest: it runs already, and is told so by its own template
        made_from = revisions.get((incarnation.workload_id, incarnation.revision), newest[incarnation.workload_id])
        instances[incarnation.host].append(
            instance_order(incarnation, made_from, numbering[incarnation.host], anycast.get(incarnation.workload_id))
        )
    removed: dict[HostName, list[Removal]] = defaultdict(list)
    for host, removal in placed.removals:
        removed[host].append(removal)
    return Plan(
        network=world.network,
        incarnations=placed.incarnations,
        anycast=table,
        hosts={
            host.name: HostPlan(
                pop=pop.city,
                host=host.name,
                instances=tuple(instances[host.name]),
                removed=tuple(removed[host.name]),
                announcements=told[host.name],
            )
            for pop, host in world.network.hosts()
        },
        removals=placed.removals,
        notes=placed.notes + address_notes + silent_notes,
    )


def instance_order(incarnation: Incarnation, workload: Workload, numbers: Numbering, anycast: AnycastAddress | None) -> InstanceOrder:
    """One incarnation as its host is told to run it; environment from instance fields filled in. `workload`: the revision it follows."""
    order = InstanceOrder(
        name=incarnation.name,
        uid=incarnation.uid,
        workload_id=incarnation.workload_id,
        life=incarnation.life,
        template=incarnation.template or workload.template,
        revision=incarnation.revision,
        links=(InstanceLink(addresses=numbers.addresses(incarnation.index, incarnation.link)),),
        anycast=_anycast(workload, anycast),
        payload=Containers(containers=workload.containers),
        hosts_domain=f"{workload.stack_slug}.{DOMAIN}",
    )
    return filled(order, incarnation, workload)


def _anycast(workload: Workload, held: AnycastAddress | None) -> tuple[IPv4Address | IPv6Address, ...]:
    if held is None:
        return ()
    return (held.address4, held.address6) if workload.dual_stack else (held.address4,)


def _held(removals: tuple[tuple[HostName, Removal], ...]) -> frozenset[tuple[WorkloadId, InstanceName]]:
    """Slots whose next incarnation must wait until the one before it has made room."""
    return frozenset((r.workload_id, r.name) for _, r in removals if r.reason is Reason.REPLACED)
