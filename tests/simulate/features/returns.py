"""Hosts that were lost and return: by a dead wire to control, or by a dead machine.

In: an act that keeps a host away for longer than it takes to be given up, and the return in the same life. Out:
invariants: it keeps what it runs until what was placed elsewhere answers (`stops_no_last_healthy_one` asks that at each
step; `test_returns` tells the stories); and it comes back slower than it left: while others serve what is asked for
there, a machine that was dead is announced only when its instances have been well for a while.
"""

from random import Random
from typing import TYPE_CHECKING

from anypop.agent.decide.steps import SetSpeaker, Step
from anypop.model.announce import Address
from anypop.model.names import HostName
from tests.simulate import scenes
from tests.simulate.features.feature import Feature
from tests.simulate.invariants.broken import broken
from tests.simulate.invariants.carried import has_steady, is_calm
from tests.simulate.mutation import Mutation, always, of
from tests.simulate.networks import HOSTS_CARRY_FROM

if TYPE_CHECKING:
    from tests.simulate.agent import Agent
    from tests.simulate.lives import Platform

STEADY_S = 12.0


def is_away_for_long(platform: "Platform", dice: Random) -> None:
    """One host, by its power or by its wire to control, for longer than a host may be silent; then it returns."""
    lost_after = platform.control.state.network.lost_after_s
    name = HostName(dice.choice(sorted(platform.hosts)))
    host, seconds = platform.hosts[name], lost_after % 60 + dice.uniform(3.0, 25.0)
    dark = dice.random() < 0.5
    host.troubled_at = platform.world.now
    platform.world.tell(name, f"{'is dark' if dark else 'cannot reach control'} for {seconds:.0f} s")
    if dark:
        host.power_off()
    else:
        host.wire.cut = True
        platform.agents[name].line.lost()

    def returns() -> None:
        host.troubled_at = platform.world.now
        platform.world.tell(name, "returns")
        host.power_on()
        host.wire.heal()

    platform.world.after(seconds, returns)
    platform.lasts(seconds + 20.0)


def comes_back_slower_than_it_left(agent: "Agent", step: Step) -> None:
    """17: A machine that was dead is announced for an address only when it has served it for `return_after_s`, while
    other hosts that it hears serve it all the time.
    """
    host = agent.host
    if not isinstance(step, SetSpeaker) or host.page is None or host.booted_at is None:
        return
    after, now = host.page.order.return_after_s, agent.world.now
    before = {(e.prefix, e.upstream) for e in host.speaker.exports} if host.speaker is not None else set()
    for export in step.config.exports:
        gates = host._gates_of(export.prefix)
        if (export.prefix, export.upstream) in before or not gates or now - host.booted_at > 60.0:
            continue
        if now - host.booted_at < after and all(_is_served_by_others(agent, gate) for gate in gates):
            raise broken(17, comes_back_slower_than_it_left, f"{host.name} announces {export.prefix} at once")


def _is_served_by_others(agent: "Agent", address: Address) -> bool:
    """Whether another host that it hears has served an address since long before."""
    platform, host = agent.platform, agent.host
    return any(
        host.offers.get(platform.tunnels.ends[there.name], {}).get(address, 0) > 0
        and is_calm(platform, there, STEADY_S)
        and has_steady(platform, there, address, STEADY_S)
        for there in platform.hosts.values()
        if there is not host
    )


MUTATIONS = {
    "a host that comes back is announced at once": Mutation(
        where="anypop.agent.decide.returning.waits",
        change=always(False),
        caught_by=of(17),
        script=((16.0, scenes.london_is_dark), (24.0, scenes.london_returns), (45.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=lambda platform: scenes.has_plain_backbone(platform) and platform.settles_s > 0,
    ),
}

FEATURE = Feature(
    acts=((2, is_away_for_long),),
    at_step=(comes_back_slower_than_it_left,),
    mutations=MUTATIONS,
)
