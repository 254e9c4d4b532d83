"""The planner: from what is wanted and what there is, to what should be.

In: a `World`. Out: a `Plan`, with a note for everything that could not be done. Pure: the same world gives the same plan.
"""

from anypop.model.plan import Plan, PopPlan, World


def plan(world: World) -> Plan:
    """What should be. Never raises for what users or the world did: what cannot be done becomes a note, and all else goes on."""
    return Plan(
        network=world.network,
        slots=world.slots,
        anycast=world.anycast,
        pops={p.city: PopPlan(pop=p.city) for p in world.network.pops},
        removals=world.removals,
    )
