"""Hosts that are lost or given up: the book of them, and what a person may ask.

In: a host's name. Out: the `alter` step for `Core.change`. What follows is said in `losses` and `returns`. Pure.
"""

from dataclasses import replace

from anypop.control.core import Alter
from anypop.control.refusals import NotFound, Precondition
from anypop.control.returns import without_newcomers
from anypop.control.state import State
from anypop.model.names import HostName


def evict(host: HostName) -> Alter:
    """Give a host up: its instances are placed on the other hosts of its PoP. What it still runs goes when the new one
    is healthy; where it is silent, once it is heard again.

    The step raises `NotFound`, and `Precondition` where the PoP has no other host.
    """

    def alter(state: State, now: float) -> State:
        pop = next((p for p, h in state.network.hosts() if h.name == host), None)
        if pop is None:
            there = ", ".join(sorted(h.name for _, h in state.network.hosts()))
            raise NotFound(f"no host {host} (there are {there})")
        others = [h.name for h in pop.hosts if h.name != host and h.name not in state.evicted]
        if not others:
            raise Precondition(
                f"{host} is the last host of {pop.city} that is in use: its instances have nowhere to go there. "
                f"Take {pop.city} out of the workloads' targets instead"
            )
        return state if host in state.evicted else replace(state, evicted={**state.evicted, host: now})

    return alter


def readmit(host: HostName) -> Alter:
    """Take a host that was given up back into use: new instances may be placed there again. What lives elsewhere by now
    stays there; who was about to take over is not needed any more.
    """

    def alter(state: State, now: float) -> State:
        if host not in state.evicted:
            raise NotFound(f"{host} is not evicted")
        state = without_newcomers(state, host, now)
        return replace(state, evicted={name: at for name, at in state.evicted.items() if name != host})

    return alter
