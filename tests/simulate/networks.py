"""What a simulated platform consists of: PoPs, hosts, upstreams, prefixes, and from some seed on a backbone, or
workloads of virtual machines with one or without.

In: the dice of a platform. Out: the network document, and whether both workloads are to have anycast addresses.
"""

from dataclasses import replace
from random import Random

from anypop.model.backbone import BackboneRules
from anypop.model.names import HostName
from anypop.model.network import Capacity, Network
from tests.control_world import a_network

CITIES = ("AMS", "LHR", "JFK")
HOSTS_CARRY_FROM = 1_000_000  # the seeds from here on are those of platforms with a backbone
MACHINES_FROM = 2_000_000  # and from here on of those with virtual machines, every second one with a backbone
VOLUMES_FROM = MACHINES_FROM + 2  # every third one of these has volumes as well


def has_backbone(seed: int) -> bool:
    return seed >= HOSTS_CARRY_FROM and (seed < MACHINES_FROM or seed % 2 == 0)


def has_volumes(seed: int) -> bool:
    return seed >= VOLUMES_FROM and (seed - VOLUMES_FROM) % 3 == 0


def network_of(dice: Random, *, carries: bool, pair: bool = False) -> tuple[Network, bool]:
    """Three PoPs; in London there may be two hosts (`pair`: there are), one of them small."""
    plain = a_network({city: (1299, 3356) if dice.random() < 0.5 else (1299,) for city in CITIES})
    small = Capacity(cpu_millis=3000, memory_bytes=1 << 40, disk_bytes=1 << 40)
    pops = list(plain.pops)
    if dice.random() < 0.4 or pair:
        second = a_network(dict.fromkeys((*CITIES, "LAX"), (1299,))).pops[-1].hosts[0]
        pops[1] = replace(
            pops[1],
            hosts=(
                replace(pops[1].hosts[0], name=HostName("LHR-1")),
                replace(second, name=HostName("LHR-2"), capacity=small if dice.random() < 0.5 else None),
            ),
        )
    if dice.random() < 0.3:
        pops[0] = replace(pops[0], hosts=(replace(pops[0].hosts[0], capacity=small),))
    if dice.random() < 0.4:  # then both workloads share it, or one has none
        plain = replace(plain, anycast4=plain.anycast4[:1], anycast6=plain.anycast6[:1])
    plain = replace(plain, scale_look_s=2.0, scale_down_after_s=12.0)
    plain = replace(plain, pops=tuple(pops), lost_after_s=dice.choice((0.0, 20.0, 60.0)))
    both_anycast = dice.random() < 0.4
    if carries:
        plain = replace(plain, backbone=BackboneRules(), return_after_s=dice.choice((0.0, 0.0, 8.0)))
    return plain, both_anycast
