"""Which new flows of an address leave this PoP by its dial, and who takes them. Pure.

In: `Facts`, the time. Out: the group of those that take them, and what the firewall's dials are to do with the flows of
each address (`Steer`). The groups for clients are not touched by a dial, so no flow that stands moves, however busy:
it is each new flow that is sent away, and known until it ends. A dial is in force only while somebody else in another
PoP can take what leaves; otherwise all is served here.
"""

from collections.abc import Sequence
from fractions import Fraction

from anypop.agent.decide import backbone
from anypop.agent.decide.backbone import FULL, LINGER, LINGER_S
from anypop.agent.decide.elements import Member, Steer
from anypop.agent.decide.facts import Facts
from anypop.model.announce import Address
from anypop.model.backbone import BackbonePeer

# A flow of UDP has no beginning that a packet shows: what sends within so long of the first dial was there before it.
LEARN_S = 30.0


def away_for(address: Address, facts: Facts, now: float) -> tuple[Member, ...]:
    """Who gets what leaves; beside them, or when nobody is to get any more, those that have such flows still."""
    there = facts.observed.away.get(address, ())
    takers = _takers(address, facts)
    if takers:
        total = sum(count for _, count in takers)
        found = backbone.members([], {peer.address: Fraction(n, total) for peer, n in takers}, Fraction(0))
        wanted, since = {m.peer for m in found}, facts.observed.memory.lingering
        left = [
            Member(short="", peer=m.peer, weight=LINGER)
            for m in there
            if m.peer is not None and m.peer not in wanted and facts.carriers.holds(address, m.peer)
            and now < since.get((address, m.peer), now) + LINGER_S
        ]  # fmt: skip
        return tuple(backbone.ordered((*found, *left)))
    if facts.observed.away_lives is False:
        return ()
    return tuple(m for m in there if m.peer is not None and facts.carriers.holds(address, m.peer))


def steers_for(facts: Facts, now: float) -> tuple[Steer, ...]:
    """What the flows of each address with a way for those that leave are to do."""
    found, since = [], facts.observed.memory.steered_since
    for address in sorted(facts.observed.away, key=lambda a: (a.version, int(a))):
        if is_in_force(address, facts):
            keep = facts.carriers.kept(facts.order.pop, address)
            learns = now < since.get(address, now) + LEARN_S
            found.append(Steer(address=address, keep=keep, learns=learns))
        elif away_for(address, facts, now):
            found.append(Steer(address=address, keep=FULL))
    return tuple(found)


def is_in_force(address: Address, facts: Facts) -> bool:
    """Whether new flows can leave: the kernel has a way to somebody who takes them."""
    takers = {peer.address for peer, _ in _takers(address, facts)}
    return any(m.peer in takers for m in facts.observed.away.get(address, ()))


def _takers(address: Address, facts: Facts) -> Sequence[tuple[BackbonePeer, int]]:
    """Nobody where the own PoP does not serve the address: then all of it is carried anyway."""
    here = any(facts.is_serving(i, address) for i in facts.behind.get(address, ()))
    return facts.carriers.takers(address) if here or facts.carriers.is_near(address) else ()
