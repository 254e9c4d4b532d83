"""What happens in a life that is to show a mutation, and on which platforms it can show.

In: the platform and the dice of an act. Out: something is asked, breaks or is mended, as in `people` and `faults`, but
always in the same way.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulate import people

Act = Callable[[Any, Random], None]
Script = tuple[tuple[float, Act], ...]


def deploy(chosen: str) -> Act:
    """The second workload, in all cities, twice in each."""

    def act(platform: Any, dice: Random) -> None:
        people.deploys(platform, dice, 1, chosen)
        people.changes(platform, 1, "cities", list(platform.cities))
        people.changes(platform, 1, "replicas", 2)

    return act


def no_registry(platform: Any, dice: Random) -> None:
    platform.hosts[min(platform.hosts)].registry_away = True


def all_die(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        for uid in sorted(host.ready):
            host.die(uid)


def control_dies(platform: Any, dice: Random) -> None:
    platform.control.kill("kill -9")


def all_reboot(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        host.power_off()
        platform.world.after(1.0, host.power_on)


def wires_double(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        host.wire.doubles, host.wire.slow_s = 0.9, 3.0


def change(n: int, what: str, told: object) -> Act:
    return lambda platform, dice: people.changes(platform, n, what, told)


def copied(platform: Any, dice: Random) -> None:
    platform.control.copies = [platform.control.stored]


def one_falls_ill(platform: Any, dice: Random) -> None:
    host = platform.hosts[min(platform.hosts)]
    for uid in sorted(host.ready):
        host.falls_ill(uid)


def agents_die(platform: Any, dice: Random) -> None:
    for agent in platform.agents.values():
        agent.killed("kill -9")


def only_in_london(platform: Any, dice: Random) -> None:
    people.changes(platform, 0, "cities", ["LHR"])
    people.changes(platform, 0, "replicas", 1)


def no_registry_elsewhere(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        host.registry_away = not host.ready


def busy_ones_are_cut_off(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        if host.pop == "LHR" and host.ready:
            host.wire.cut = True
            platform.agents[host.name].line.lost()


def all_are_heard(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        host.wire.heal()


def not_in_new_york(platform: Any, dice: Random) -> None:
    people.changes(platform, 0, "cities", ["AMS", "LHR"])


def second_in_new_york(platform: Any, dice: Random) -> None:
    people.deploys(platform, dice, 1, "good:2")
    people.changes(platform, 1, "cities", ["JFK"])
    people.changes(platform, 1, "replicas", 1)


def new_york_falls_ill(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        for i in host.ordered() if host.pop == "JFK" else ():
            if i.name.startswith("two"):
                host.falls_ill(i.uid)


def london_is_dark(platform: Any, dice: Random) -> None:
    """For longer than anything rests."""
    for host in platform.hosts.values():
        if host.pop == "LHR":
            host.power_off()


def london_returns(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        if host.pop == "LHR":
            host.power_on()


def new_york_is_apart(platform: Any, dice: Random) -> None:
    """From all other hosts; control hears it."""
    others = [name for name, host in platform.hosts.items() if host.pop != "JFK"]
    mine = [name for name, host in platform.hosts.items() if host.pop == "JFK"]
    platform.tunnels.cuts({(a, b) for a in mine for b in others})


def nothing(platform: Any, dice: Random) -> None:
    """Time passes."""


def one_host_each(platform: Any) -> bool:
    return len(platform.hosts) == len(platform.cities)


def shared(platform: Any) -> bool:
    return one_host_each(platform) and platform.both_anycast and len(platform.control.state.network.anycast4) == 1


def has_backbone(platform: Any) -> bool:
    return bool(platform.tunnels.used)


def has_plain_backbone(platform: Any) -> bool:
    return has_backbone(platform) and one_host_each(platform)


def has_shared_backbone(platform: Any) -> bool:
    return has_backbone(platform) and shared(platform)


def tight(platform: Any) -> bool:
    return any(h.capacity is not None for _, h in platform.control.state.network.hosts())


def has_twins_that_are_lost(platform: Any) -> bool:
    return not one_host_each(platform) and platform.control.state.network.lost_after_s == 20.0


LATER = (40.0, nothing)
PAST = ((20.0, nothing),)
CUT_OFF = (
    (5.0, only_in_london),
    (14.0, no_registry_elsewhere),
    (15.0, busy_ones_are_cut_off),
    (60.0, all_are_heard),
    (75.0, nothing),
)
AWAY = ((6.0, control_dies), (7.0, all_reboot), (60.0, nothing))
