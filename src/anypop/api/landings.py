"""Where the vantages land, for rollouts and drains: before a change, and after each of its waves or its withdrawal.

In: a workload; the core's news. Out: landings, put into the rollout or drain that waits for them; what they mean is
`plan.rollout`'s and `plan.drain`'s to say. Without vantages there is nothing to see, and both go by what the hosts
report alone.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from functools import partial

from anypop.api.context import Platform
from anypop.api.probes import entered_in, is_carried
from anypop.api.threads import in_own_thread
from anypop.api.vantages import Vantage
from anypop.control import drains, rollouts
from anypop.control.core import ANY_CHANGE
from anypop.control.state import State
from anypop.model.announce import Address, Prefix
from anypop.model.drain import Aim, DrainKind, Landings
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, WorkloadId
from anypop.model.rollout import Landing, RolloutKind
from anypop.model.workload import Protocol
from anypop.plan.announcements import order_of
from anypop.plan.drain import wants_look as looks_for_drain
from anypop.plan.rollout import wants_look

log = logging.getLogger("anypop.api")

REQUESTS = 3  # of each vantage in each round: one lost answer shows, and a round stays short
PAUSE_S = 0.3  # between two rounds while a wave settles


async def keep_looking(platform: Platform) -> None:
    """Look for every rollout that waits for a look, until control stops."""
    while not platform.core.bell.closed:
        state = platform.core.state
        if await look(platform):
            await asyncio.sleep(PAUSE_S)
        elif platform.core.state is state:
            await platform.core.bell.wait(ANY_CHANGE, 60.0)


async def look(platform: Platform) -> bool:
    """One look for each rollout and each drain that waits for one. False where none does."""
    waiting = [(r, began) for r in platform.core.state.rollouts_to_look_for() if (began := wants_look(r)) is not None]
    for rollout, baseline in waiting:
        began_at = platform.clock()
        found: list[Landing] = []
        try:
            found = await landings_of(platform, rollout.workload_id)
        except WorldError as error:
            log.warning("vantages for rollout %s: %s", rollout.id, error)
        # Of scopes it counts that nothing was seen: what was predicted is not known to have come true.
        if found or rollout.kind is RolloutKind.SCOPES:
            await platform.core.change(rollouts.saw(rollout.id, found, began_at=began_at, baseline=baseline))
    drained = [d for d in platform.core.state.active_drains() if looks_for_drain(d, platform.clock())]
    for drain in drained:
        began_at = platform.clock()
        seen = await _by_prefix(platform, {landings.prefix for landings in drain.baseline})
        await platform.core.change(drains.saw(drain.id, seen, began_at=began_at))
    return bool(waiting or drained)


async def landings_before(platform: Platform, aim: Aim) -> list[Landings]:
    """Where every vantage lands that asks for an address of a prefix which the PoP announces; one address stands for
    its prefix, since BGP knows nothing finer.
    """
    plan, pop = platform.core.state.plan, platform.core.state.pop(aim.pop)
    if plan is None or pop is None or aim.kind is DrainKind.INSTANCE:
        return []
    told = {prefix for host in pop.hosts for prefix in plan.telling.get(host.name, ())}
    return await _by_prefix(platform, told)


async def _by_prefix(platform: Platform, prefixes: Collection[Prefix]) -> list[Landings]:
    """The vantages ask by IPv4."""
    plan, found = platform.core.state.plan, list[Landings]()
    for prefix in sorted((p for p in prefixes if p.version == 4), key=order_of):
        workload = min(plan.tenants(prefix), default=None) if plan is not None else None
        if workload is None:
            continue
        try:
            if looks := await landings_of(platform, workload):
                found.append(Landings(prefix=prefix, looks=tuple(looks)))
        except WorldError as error:
            log.warning("vantages for %s: %s", prefix, error)
    return found


async def landings_of(platform: Platform, workload_id: WorkloadId) -> list[Landing]:
    """Where every vantage lands now; empty where there is no vantage, or the workload has no anycast address."""
    state = platform.core.state
    held, declared = state.anycast.get(workload_id), state.workloads.get(workload_id)
    if platform.vantages is None or held is None or declared is None:
        return []
    ports = [p.port for c in declared.workload.containers for p in c.ports if p.protocol is Protocol.TCP]
    vantages = await in_own_thread(platform.vantages.all)
    async with platform.probing:
        ask = partial(_landing, platform, state, workload_id, address=held.address4, port=ports[0] if ports else 80)
        found = list(await asyncio.gather(*(ask(vantage) for vantage in vantages)))
    if not is_carried(state, workload_id):
        return found
    # what a change of announcements moves is where packets come in, whoever answers them
    entered = await entered_in(platform, [vantage.name for vantage in vantages], held.address4)
    return [replace(one, pop=entered.get(one.vantage, one.pop)) if one.answered else one for one in found]


async def _landing(
    platform: Platform, state: State, workload_id: WorkloadId, vantage: Vantage, *, address: Address, port: int
) -> Landing:
    assert platform.vantages is not None
    try:
        found = await in_own_thread(partial(platform.vantages.probe, vantage.name, address, port, REQUESTS))
    except WorldError as error:
        log.warning("vantage %s could not ask: %s", vantage.name, error)
        return Landing(vantage=vantage.name, pop=None, answered=0, asked=0)
    pops: dict[str, CityCode] = {
        str(p.incarnation.name): p.incarnation.pop for p in state.incarnations_of(workload_id).values()
    }
    bodies = [a.body.strip() for a in found.answers if not a.error]
    reached = Counter(pops[body] for body in bodies if body in pops)
    # half here and half there is a change under way: not every answer counts then
    best, count = reached.most_common(1)[0] if reached else (None, 0)
    mixed = len(reached) > 1 and not is_carried(state, workload_id)
    asked = REQUESTS - sum(not a.asked for a in found.answers)
    return Landing(vantage=vantage.name, pop=best, answered=count if mixed else len(bodies), asked=asked)
