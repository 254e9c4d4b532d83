"""What is asked of instances, in processor time: the load of a PoP falls on all that answer there.

In: a simulated agent, and what is asked of each workload in each PoP (`Platform.demand`). Out: what the agent tells of
those of its instances that its order wants measured.
"""

from typing import TYPE_CHECKING

from anypop.agent.decide.elements import ContainerState
from anypop.model.names import CityCode, WorkloadId

if TYPE_CHECKING:
    from tests.simulate.agent import Agent
    from tests.simulate.lives import Platform

CORE = 1000  # thousandths of a core: what one instance may use


def measured(agent: "Agent") -> tuple[tuple[str, int], ...]:
    """What its instances use, of those that are to be measured: the load of a PoP falls on all that answer there."""
    host, platform = agent.host, agent.platform
    order = host.page.order if host.page is not None else None
    if order is None or not order.measured:
        return ()
    running = {c.uid for c in host.containers.values() if c.state is ContainerState.RUNNING}
    return tuple(
        (i.uid, _use(platform, i.workload_id, host.pop) if host.answers(i.uid) else 0)
        for i in order.instances
        if i.workload_id in order.measured and i.uid in running
    )


def flows(told: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """Connections of those that are measured: few, some or many, and always the same of one."""
    return tuple((uid, 100 * (sum(uid.encode()) % 3)) for uid, _ in told)


def _use(platform: "Platform", workload: WorkloadId, pop: CityCode) -> int:
    those = [host for host in platform.hosts.values() if host.pop == pop]
    answer = sum(host.answers(i.uid) for host in those for i in host.ordered() if i.workload_id == workload)
    return min(CORE, platform.demand.get((workload, pop), 0) // max(1, answer))
