"""What a simulated agent sees of its host: what `observe.observer` gives the real one.

In: the agent, and with it its host as it is at this moment, its probes and what its speaker last said. Out: `Observed`.
"""

from typing import TYPE_CHECKING

from anypop.agent.decide import memory
from anypop.agent.decide.elements import ContainerState
from anypop.agent.decide.observed import Observed
from anypop.agent.naming import link_of, short
from anypop.agent.observe.observer import _announced
from anypop.agent.observe.probes import Target

if TYPE_CHECKING:
    from tests.simulate.agent import Agent

_FLOWS_LAST_S = 20.0  # with another host that gets no new ones


def observed_by(agent: "Agent") -> Observed:
    host = agent.host
    page = host.page
    assert page is not None
    host.idle = {key for key, since in host.lingers.items() if host.clock() - since > _FLOWS_LAST_S}
    containers = tuple(memory.as_known(c, host.memory) for c in host.containers.values())
    running = {c.key: c.pid for c in containers if c.state is ContainerState.RUNNING}
    targets = {}
    for instance in page.order.instances:
        for container in instance.containers:
            key = (instance.uid, container.name)
            if (pid := running.get(key)) is not None:
                targets[key] = Target(
                    container=container,
                    address=next(instance.addresses()).private,
                    pid=pid,
                    found=(key, pid) in host.memory.found,
                    link=link_of(instance.uid),
                    announced=_announced(instance),
                )
    agent.probes.set(targets)
    going = [x.removal.uid for x in page.leaving if short(x.removal.uid) in host.pins]
    return Observed(
        containers=containers,
        namespaces=frozenset(host.namespaces),
        links=dict(host.links),
        groups=dict(host.device_groups),
        external=dict(host.external),
        covers=frozenset(host.covers),
        balanced={a: host.groups[a] for a in host.routed},
        pins=dict.fromkeys(host.pins, True),
        live={short(uid): uid in host.busy for uid in going},
        speaker=host.speaker,
        fallen=host.fallen if host.speaker is None else None,
        tunnel=True if host.tunnel is not None else None,
        tunnel_number=7,
        inbound=dict(host.inbound),
        served=dict(host.served),
        idle=frozenset(host.idle),
        siblings=dict(host.siblings),
        away=dict(host.away),
        away_lives=host.away_lives,
        offers={peer: dict(told) for peer, told in host.offers.items()},
        tunnels=agent.platform.tunnels.reports(host.name),
        sessions=agent.sessions,
        exported=agent.exported,
        told=agent.told_how,
        health={i.uid: agent.probes.verdict(i.uid, (c.name for c in i.containers)) for i in page.order.instances},
        leaving=page.leaving,
        busy=frozenset(agent.busy),
        overfull=host.overfull(),
        memory=host.memory,
        volumes=host.volumes.seen(),
    )
