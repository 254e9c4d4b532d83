"""Who gets the traffic of an anycast address here, and when one that leaves or is superseded may stop. Pure.

In: `Facts`, the time. Out: the members of each group, where an external route may go, who has to drain, and who has
drained. An incarnation loses an address only when its live flows are pinned to it (`BeginDrain`): they stay, new ones
go elsewhere.
"""

from collections.abc import Collection

from anypop.agent.decide import backbone, returning
from anypop.agent.decide.backbone import LINGER, LINGER_S
from anypop.agent.decide.elements import FamilyVerdict, Leaving, Member
from anypop.agent.decide.facts import Facts
from anypop.agent.naming import short
from anypop.model.announce import Address, Prefix
from anypop.model.order import InstanceOrder
from anypop.model.reasons import Reason

# Orders of one step of control reach all hosts, and what they then tell each other, within so long.
AGREED_S = 1.0
LOOK_S = 0.1  # how often one that drains is asked whether any flow lives: nothing tells when a connection ends


def members_for(address: Address, facts: Facts, now: float) -> tuple[Member, ...]:
    """Who answers for an anycast address: those that serve and have their slot, and those that may not leave yet. Other
    hosts get what those here cannot take (`backbone`).

    When nobody serves, here or elsewhere, the members that at least run stay, and while traffic comes in, those that
    answer and only cool down return (fail open): an answer of a doubtful instance is better than none, and whether the
    prefix should go is the governor's question. Where another host served until now there are no such members: then
    those return that run and have answered once; and where there are none, other hosts get it that hold the address
    without serving it, since they fail open too. All probes of all hosts may have failed at once.
    """
    here = facts.behind.get(address, ())
    members = {m.short for m in facts.observed.balanced.get(address, ()) if m.peer is None}
    serving = {short(i.uid) for i in here if facts.is_serving(i, address) and _has_part(i, members, facts)}
    away, stays = facts.carriers.share(address, len(serving))
    if not serving and not away:
        running = {short(i.uid): i.uid for i in here if i.uid in facts.running and facts.is_wired(i.uid)}
        serving = members & set(running)
        if attracts(address, facts):
            serving |= {key for key, uid in running.items() if _cools_down(uid, address, facts)}
            serving = serving or set(_doubtful_behind(address, facts))
    leaving = {
        short(x.removal.uid)
        for x in facts.remains
        if (short(x.removal.uid) in members or is_called_back(x, address, facts))
        and _goes_on(x, facts, now)
        and not ((serving or (away and _may_rely(x, facts, now))) and facts.is_pinned(x.removal.uid))
    }
    if not (serving or leaving or away):
        away, stays = facts.carriers.last_resort(address)
    if not away:
        found = backbone.members(sorted(serving | leaving), away, stays)
    else:
        found = backbone.members(sorted(serving), away, stays)
        found += [Member(short=key, weight=LINGER) for key in leaving - serving]
    return tuple(backbone.ordered((*found, *_lingering(address, found, facts, now))))


def _may_rely(leaving: Leaving, facts: Facts, now: float) -> bool:
    """Whether one that leaves may leave an address to other hosts alone. Not at once: those that are told to go in the
    same moment still tell that they serve, and all would go since each counts on the others.
    """
    since = facts.observed.memory.draining_since.get(leaving.removal.uid)
    return since is not None and now >= since + AGREED_S


def _lingering(address: Address, found: Collection[Member], facts: Facts, now: float) -> list[Member]:
    """Other hosts that are needed no more, or serve nobody new, and have flows from here: they keep them until they are
    silent, for a while at most, and as long as somebody else is there for new ones.
    """
    wanted, seen = {m.peer for m in found}, facts.observed
    before = [m.peer for m in seen.balanced.get(address, ()) if m.peer is not None and m.peer not in wanted]
    since = seen.memory.lingering
    return [
        Member(short="", peer=peer, weight=LINGER)
        for peer in before
        if found
        and facts.carriers.holds(address, peer)
        and (address, peer) not in seen.idle
        and now < since.get((address, peer), now) + LINGER_S
    ]


def inbound_for(address: Address, facts: Facts) -> tuple[Member, ...]:
    """Who here answers what comes by the tunnel: the local members; where none is left, those whose flows are pinned,
    as long as they run, and else those that run and have answered once: other hosts learn a moment later that nobody
    new is to come, and until then an answer in doubt is better than none.
    """
    if facts.tunnel is None or not facts.carriers.carries(address):
        return ()
    local = [m for m in facts.observed.balanced.get(address, ()) if m.peer is None and _is_alive(m.short, facts)]
    if not local:
        local = [Member(short=key) for key in _pinned_behind(address, facts) or _doubtful_behind(address, facts)]
    return tuple(backbone.ordered(Member(short=m.short) for m in local))


def told_for(address: Address, facts: Facts, now: float) -> int | None:
    """What other hosts are told of an address: how many instances here serve it and have the way for what comes by the
    tunnel; 0 while some only finish what they have, or get the traffic since nobody serves, or while this host waits
    since it came back; None: nothing.
    """
    ways = {m.short for m in facts.observed.inbound.get(address, ())} & {m.short for m in inbound_for(address, facts)}
    serving = [i for i in facts.behind.get(address, ()) if short(i.uid) in ways and facts.is_serving(i, address)]
    if serving:
        return 0 if returning.holds_back(address, facts, now) else len(serving)
    ending = {key for key in facts.going_shorts if _is_alive(key, facts)} | set(_pinned_behind(address, facts))
    doubtful = {
        m.short for m in facts.observed.balanced.get(address, ()) if m.peer is None and _is_alive(m.short, facts)
    }
    return 0 if ways & (ending | doubtful) else None


def _is_alive(key: str, facts: Facts) -> bool:
    instance = facts.known.get(key)
    return instance is not None and _lives(instance.uid, facts)


def _pinned_behind(address: Address, facts: Facts) -> list[str]:
    """Instances with this address that go on for the flows that they have."""
    seen = facts.observed
    return [
        key
        for key, whole in sorted(seen.pins.items())
        if whole
        and (instance := facts.known.get(key)) is not None
        and address in instance.anycast
        and _lives(instance.uid, facts)
        and instance.uid not in seen.memory.drained
    ]


def _doubtful_behind(address: Address, facts: Facts) -> list[str]:
    """Staying instances with this address that run, have answered once, and do not now."""
    here = (i for i in facts.behind.get(address, ()) if i.uid in facts.running and facts.is_wired(i.uid))
    return [short(i.uid) for i in here if _has_answered(i.uid, address, facts)]


def _has_part(instance: InstanceOrder, members: Collection[str], facts: Facts) -> bool:
    """Whether a serving incarnation gets new flows: it has its slot, or it has not let go yet."""
    return facts.is_front(instance) or (short(instance.uid) in members and not facts.is_pinned(instance.uid))


def may_move(prefix: Prefix, facts: Facts, now: float) -> bool:
    """Whether the external route may lead to its slot's front, which it does not now: whoever has it is gone, has
    drained, or has its live flows pinned while the front serves.
    """
    key = facts.observed.external.get(prefix)
    holder = facts.known.get(key) if key is not None else None
    if holder is None or not facts.has_process(holder.uid) or not facts.is_wired(holder.uid):
        return True
    leaving = facts.going.get(holder.uid)
    if leaving is not None and is_drained(leaving, facts, now):
        return True
    return facts.is_pinned(holder.uid) and facts.serves(facts.external_owners[prefix])


def must_drain(facts: Facts) -> list[InstanceOrder | Leaving]:
    """Whose live flows are to be pinned now: the superseded that still have addresses, and those that leave and are
    not needed.
    """
    superseded = (
        i for i in facts.staying if i.uid in facts.superseded and _lives(i.uid, facts) and facts.has_addresses(i.uid)
    )
    leaving = (x for x in facts.remains if _lives(x.removal.uid, facts) and not is_needed(x, facts))
    return [
        *(i for i in superseded if not facts.is_pinned(i.uid)),
        *(
            x
            for x in leaving
            if not facts.is_pinned(x.removal.uid) and x.removal.uid not in facts.observed.memory.drained
        ),
    ]


def beside(instance: InstanceOrder | None, facts: Facts) -> tuple[str, ...]:
    """The other members here of the groups that it is in: a flow of one of them may use the port of one that only it
    still takes for open.
    """
    if instance is None:
        return ()
    there = {m.short for a in instance.anycast for m in facts.observed.balanced.get(a, ()) if m.peer is None}
    return tuple(sorted(there - {short(instance.uid)}))


def _lives(uid: str, facts: Facts) -> bool:
    return facts.has_process(uid) and facts.is_wired(uid)


def _goes_on(leaving: Leaving, facts: Facts, now: float) -> bool:
    return _lives(leaving.removal.uid, facts) and not is_drained(leaving, facts, now)


def _cools_down(uid: str, address: Address, facts: Facts) -> bool:
    verdict = facts.observed.health.get(uid)
    return verdict is not None and verdict.of(address.version).reason is Reason.FLAP_COOLDOWN


def _has_answered(uid: str, address: Address, facts: Facts) -> bool:
    verdict = facts.observed.health.get(uid)
    one = verdict.of(address.version) if verdict is not None else None
    if one is None or one.healthy is not False or one.reason is Reason.PROBE_PENDING:
        return False
    return one.ever if isinstance(one, FamilyVerdict) else True


def attracts(address: Address, facts: Facts) -> bool:
    """Whether an announcement of ours draws traffic to `address` that somebody here must answer.

    A prefix that goes on for other addresses does not count for one that the order no longer names as a gate:
    withdrawing it would hurt them.
    """
    covers = facts.covers_of(address)
    return any(not (prefix in facts.wanted_prefixes and address not in facts.gates(prefix)) for prefix in covers)


def is_needed(leaving: Leaving, facts: Facts) -> bool:
    """Whether an instance under removal must go on, since its address is announced and nobody else here answers for
    it.
    """
    addresses = facts.memberships.get(short(leaving.removal.uid), ())
    if any(address not in facts.open_gates and attracts(address, facts) for address in addresses):
        return True
    had = leaving.instance.anycast if leaving.instance is not None else ()
    return any(is_called_back(leaving, address, facts) for address in had)


def needed_again(facts: Facts) -> frozenset[str]:
    """Uids of incarnations under removal that drained, or have drained, and are to have their traffic again."""
    memory = facts.observed.memory
    drained = (x for x in facts.remains if x.removal.uid in memory.draining_since or x.removal.uid in memory.drained)
    return frozenset(x.removal.uid for x in drained if is_needed(x, facts))


def is_called_back(leaving: Leaving, address: Address, facts: Facts) -> bool:
    """Whether one that has left a group already is to have the traffic again: it runs, and since it left all that
    served here have died, and nobody elsewhere serves. Nobody asks it any more how it is: an answer of one in doubt is
    better than none.
    """
    instance = leaving.instance
    if instance is None or address not in instance.anycast or facts.is_member(instance.uid, address):
        return False
    if not _lives(instance.uid, facts):
        return False
    # a member that runs and is ill goes on having it: it is what the order asks for, and may answer again
    here = any(
        facts.is_serving(i, address) or (facts.is_member(i.uid, address) and _lives(i.uid, facts))
        for i in facts.behind.get(address, ())
    )
    return not here and address not in facts.carried and attracts(address, facts)


def is_drained(leaving: Leaving, facts: Facts, now: float) -> bool:
    """Whether it may be taken away: not needed, its flows pinned, and then no flow of it lives or its time is over.
    Nothing that does not run needs to drain.
    """
    uid = leaving.removal.uid
    if is_needed(leaving, facts):
        return False
    if not _lives(uid, facts):
        return True
    if uid in facts.observed.memory.drained:
        return True
    since = facts.observed.memory.draining_since.get(uid)
    if not facts.is_pinned(uid) or since is None:
        return False
    is_quiet = not facts.observed.live.get(short(uid), True) and not _gets_new_flows(uid, facts)
    return is_quiet or now >= since + facts.order.drain_s


def _gets_new_flows(uid: str, facts: Facts) -> bool:
    """Whether a group or an external route leads to it although somebody else is there for them: that is about to
    change, and until then a flow may begin at any moment.
    """
    key = short(uid)
    if any(address in facts.open_gates for address in facts.memberships.get(key, ())):
        return True
    if any(m.short == key for there in facts.observed.newcomers.values() for m in there.values()):
        return True
    owners = (facts.external_owners.get(prefix) for prefix in facts.external.get(key, ()))
    return any(owner is not None and facts.serves(owner) for owner in owners)
