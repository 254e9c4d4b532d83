"""Instances of one stack reach each other's own addresses on other hosts by the tunnels.

In: nothing of its own: instances come, move and go by what people do, and tunnels fail. Out: invariants: where nothing
disturbs two hosts, the private and external addresses of what runs on the one lead there from the other; and no such
way leads to a host that has no such address.
"""

from typing import TYPE_CHECKING, Any

from anypop.agent.decide.steps import SetSibling
from anypop.agent.naming import short
from anypop.model.announce import Address
from tests.simulate import scenes
from tests.simulate.features.feature import Feature
from tests.simulate.invariants.broken import broken
from tests.simulate.invariants.carried import is_calm
from tests.simulate.mutation import Mutation, of
from tests.simulate.networks import HOSTS_CARRY_FROM

if TYPE_CHECKING:
    from tests.simulate.host import Host
    from tests.simulate.lives import Platform


def siblings_reach_each_other(platform: "Platform", seconds: float) -> None:
    """12: From each host with instances of a stack, the addresses of those on another host lead there."""
    now = platform.world.now
    calm = [host for host in platform.hosts.values() if is_calm(platform, host, seconds)]
    for here in calm if platform.tunnels.used else ():
        if not any(now - here.well_since.get(i.uid, now) > seconds for i in here.ordered()):
            continue
        for there in calm:
            if there is here or not _knows(here, there):
                continue
            for i in there.ordered():
                if now - there.well_since.get(i.uid, now) <= seconds:
                    continue
                for address in (a.private for a in i.addresses()):
                    if here.siblings.get(address) != platform.tunnels.ends[there.name]:
                        text = f"{here.name} has no way to {i.name}'s {address} on {there.name}"
                        raise broken(12, siblings_reach_each_other, text)


def _knows(here: "Host", there: "Host") -> bool:
    """Whether by its order the other one is a peer of it."""
    backbone = here.page.order.backbone if here.page is not None else None
    return backbone is not None and any(peer.host == there.name for peer in backbone.peers)


def no_way_leads_to_a_stranger(platform: "Platform", seconds: float) -> None:
    """20: A way to an own address of an instance leads to the host that has its link."""
    now, marks = platform.world.now, platform.marks
    for here in platform.hosts.values():
        for address, peer in here.siblings.items() if here.powered else ():
            there = platform.hosts[platform.tunnels.names[peer]]
            key = "sibling", here.name, address
            if _has(there, address) or not is_calm(platform, here, seconds) or not is_calm(platform, there, seconds):
                marks[key] = now
            elif now - marks.get(key, now) > 12.0:
                text = f"{here.name} leads {address} to {there.name}, where nobody has it"
                raise broken(20, no_way_leads_to_a_stranger, text)


def _has(host: "Host", address: Address) -> bool:
    page = host.page or host.told
    going = [x.instance for x in page.leaving if x.instance is not None] if page is not None else []
    known = (*host.ordered(), *going)
    return any(address in (a.private, a.external) for i in known if short(i.uid) in host.links for a in i.addresses())


def _never_away(right: Any) -> Any:
    return lambda facts: [s for s in right(facts) if not isinstance(s, SetSibling) or s.peer is not None]


MUTATIONS = {
    "nobody is told whose addresses are here": Mutation(
        where="anypop.agent.decide.facts.Facts.own_told",
        change=lambda right: property(lambda self: {}),
        caught_by=of(12),
        script=((50.0, scenes.nothing),),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_backbone,
    ),
    "the way to one that is gone stays": Mutation(
        where="anypop.agent.decide.converge._siblings",
        change=_never_away,
        caught_by=of(20),
        script=((5.0, scenes.not_in_new_york), (75.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_backbone,
    ),
}

FEATURE = Feature(now_and_then=(siblings_reach_each_other, no_way_leads_to_a_stranger), mutations=MUTATIONS)
