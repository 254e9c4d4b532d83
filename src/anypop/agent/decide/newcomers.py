"""Who of a group gets new flows beyond its buckets, since it joined while they were all busy. Pure.

In: `Facts`, the time; how many buckets each member of a group has that the kernel could not yet balance. Out: the ways
that members get or lose, and what becomes of each address's flows (`Joining`). No bucket is moved: a part of the new
flows goes to the newcomer by a way of its own, is remembered, and goes on there. As its buckets come, the part becomes
less; when it has them the part is nothing, and the way stays for the flows that took it, until the last one ends.
Where another host is to get no new flows and has buckets that are busy, all others get ways, and new flows go by these
alone.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from anypop.agent.decide.backbone import LINGER
from anypop.agent.decide.elements import Entry, Joining, Member, Who
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.inside import takes_udp
from anypop.agent.decide.steps import DropNewcomer, LeadNewcomer, Step
from anypop.agent.naming import NEWCOMER_SLOTS, short
from anypop.model.announce import Address

WHOLE = 10_000  # parts of new flows are told in these
# Of the buckets that are due to a member, so many it has when it needs a way no more, and so few when it gets one. What
# is between is no reason to begin: buckets are never shared out to the last one.
ENOUGH, TOO_FEW = Fraction(15, 16), Fraction(3, 4)
STEPS = 16  # buckets are counted in these parts of what is due: each of them loads the rules once at most
LOOK_S = 5.0  # how often buckets are counted while some have too few: nothing tells that one has moved
# A flow of UDP has no beginning that a packet shows: what sends within so long was there before. A bucket has to be
# silent for as long before it moves. The time begins when somebody is ordered, so for one who takes a minute to become
# healthy it is over by then.
LEARN_S = 60.0


def ways(address: Address, wanted: Collection[Member], facts: Facts) -> list[Step]:
    """Those that are missing for an address, and those that lead to nobody any more, or have done their work. `wanted`:
    who is to be in its groups, once or more.
    """
    seen = facts.observed
    there = seen.newcomers.get(address, {})
    stay, steps, left = {m.who for m in wanted}, list[Step](), set[Who]()
    still = _in_need(address, ENOUGH, facts) if there else frozenset[Who]()
    for slot, member in sorted(there.items()):
        done = seen.remembered is not None and not seen.remembered.get((address, slot))
        if member.who not in stay or (done and member.who not in still):
            steps.append(DropNewcomer(address=address, slot=slot))
        else:
            left.add(member.who)
    if seen.remembered is None:
        return steps
    # flows that are remembered by a slot would follow whoever has it next
    taken = there.keys() | {slot for a, slot in seen.remembered if a == address}
    needy = _in_need(address, TOO_FEW, facts)
    for one in wanted:
        if one.who in needy and one.who not in left:
            free = (slot for slot in NEWCOMER_SLOTS if slot not in taken)
            if (chosen := next(free, None)) is not None:
                taken |= {chosen}
                member = Member(short=one.short, peer=one.peer)
                source = facts.tunnel.own if facts.tunnel is not None and one.peer else None
                left.add(one.who)
                steps.append(LeadNewcomer(address=address, slot=chosen, member=member, source=source))
    return steps


def joinings_for(facts: Facts, now: float, steps: Iterable[Step] = ()) -> tuple[Joining, ...]:
    """What the flows of each address with such ways are to do, but for the ways that these steps take away."""
    seen, found = facts.observed, list[Joining]()
    dropped = {(s.address, s.slot) for s in steps if isinstance(s, DropNewcomer)}
    awaited = frozenset(_awaited(facts))
    for address in sorted({*seen.newcomers, *awaited}, key=lambda a: (a.version, int(a))):
        there = seen.newcomers.get(address, {})
        learns = now < seen.memory.joined_since.get(address, now) + LEARN_S
        ways_left = {slot: m for slot, m in sorted(there.items()) if (address, slot) not in dropped}
        for entry in Entry:
            met = _met(ways_left.values(), address, entry, facts)
            slots = {slot: m.who for slot, m in ways_left.items() if m.who in met}
            if address in _groups(entry, facts) and (slots or (address in awaited and entry is not Entry.AWAY)):
                parts = tuple(_parts(address, entry, slots, facts))
                found.append(Joining(address=address, entry=entry, slots=tuple(slots), parts=parts, learns=learns))
    return tuple(found)


def _awaited(facts: Facts) -> Iterator[Address]:
    """The addresses for whose newcomers flows of UDP are learnt ahead: somebody who takes UDP is ordered and not in the
    group yet, or is there since a moment and has no way.
    """
    learnt = {j.address for j in facts.observed.memory.joinings or ()} - facts.observed.newcomers.keys()
    for address, members in facts.observed.balanced.items():
        there = {m.short for m in members}
        here = facts.behind.get(address, ())
        comes = any(short(i.uid) not in there and takes_udp(i) for i in here)
        if comes or (address in learnt and _in_need(address, TOO_FEW, facts)):
            yield address


def _met(those: Iterable[Member], address: Address, entry: Entry, facts: Facts) -> Collection[Who]:
    """To whom packets of this kind may go, of those: what came by the tunnel never goes to another host,
    what leaves by a dial only to those that take it.
    """
    if entry is Entry.AWAY:
        return {m.who for m in facts.observed.away.get(address, ())}
    return {m.who for m in those if entry is Entry.CLIENTS or m.peer is None}


def due(facts: Facts, now: float) -> list[float]:
    """The moments at which an answer may change although nothing happens."""
    times = [since + LEARN_S for since in facts.observed.memory.joined_since.values()]
    return [*times, now + LOOK_S] if any(j.parts for j in facts.observed.memory.joinings or ()) else times


def _parts(address: Address, entry: Entry, slots: Mapping[int, Who], facts: Facts) -> Iterator[tuple[int, int]]:
    """What goes beside the buckets, so that a newcomer has its share by both together.

    Who is due f and has s of the buckets gets d beside them and (1 - D) s by them, where D is all that goes beside
    them: d = f - (1 - D) s, and so D = (F - S) / (1 - S) with the sums of f and s. While somebody lingers nothing goes
    by the buckets, but where not everybody has a way.
    """
    shares = _shares(address, entry, facts)
    if _lingers(address, entry, facts):
        at = Fraction(0)
        for slot, who in slots.items():
            before, at = round(WHOLE * at), at + shares.get(who, (Fraction(0), Fraction(0)))[0]
            if part := round(WHOLE * at) - before:
                yield slot, part
        return
    those = {slot: shares[who] for slot, who in slots.items() if who in shares and _is_less(shares[who], ENOUGH)}
    stepped = {slot: (due, Fraction(int(STEPS * has / due), STEPS) * due) for slot, (due, has) in those.items()}
    all_due, all_has = (sum((pair[n] for pair in stepped.values()), Fraction(0)) for n in (0, 1))
    if all_has >= 1:
        return
    beside = (all_due - all_has) / (1 - all_has)
    for slot, (due_, has) in stepped.items():
        if part := round(WHOLE * (due_ - (1 - beside) * has)):
            yield slot, part


def _in_need(address: Address, enough: Fraction, facts: Facts) -> frozenset[Who]:
    """Who has less than that part of the buckets that are due to him, for any packets; all, while others linger."""
    found = set[Who]()
    for entry in Entry:
        shares = _shares(address, entry, facts)
        lingers = bool(shares) and _lingers(address, entry, facts)
        found |= {who for who, one in shares.items() if lingers or _is_less(one, enough)}
    return frozenset(found)


def _lingers(address: Address, entry: Entry, facts: Facts) -> bool:
    """Whether another host that is to get no new flows has buckets. What it would answer them with may end in a moment;
    under load its buckets do not fall idle.
    """
    counts, members = facts.observed.buckets.get((address, entry), {}), _groups(entry, facts).get(address, ())
    return any(counts.get(m.who) for m in members if m.peer is not None and m.weight <= LINGER)


def _is_less(share: tuple[Fraction, Fraction], enough: Fraction) -> bool:
    due_, has = share
    return has < enough * due_


def _shares(address: Address, entry: Entry, facts: Facts) -> Mapping[Who, tuple[Fraction, Fraction]]:
    """What part of the buckets is due to each member, and what it has; of a group that is balanced, nothing."""
    counts = facts.observed.buckets.get((address, entry))
    if not counts:
        return {}
    weights = {m.who: m.weight for m in _groups(entry, facts).get(address, ()) if m.weight > LINGER}
    buckets, whole = sum(counts.values()), sum(weights.values())
    if not buckets or (len(weights) < 2 and not _lingers(address, entry, facts)):
        return {}
    return {who: (Fraction(w, whole), Fraction(counts.get(who, 0), buckets)) for who, w in weights.items()}


def _groups(entry: Entry, facts: Facts) -> Mapping[Address, Sequence[Member]]:
    seen = facts.observed
    return {Entry.CLIENTS: seen.balanced, Entry.TUNNEL: seen.inbound, Entry.AWAY: seen.away}[entry]
