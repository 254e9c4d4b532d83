"""Who gets the traffic of an anycast address here, and when one that leaves may stop. Pure.

In: `Facts`, the time. Out: the members of each group, and whether an incarnation under removal is still needed or
still draining.
"""

from anypop.agent.decide.elements import Leaving, Member
from anypop.agent.decide.facts import Facts
from anypop.agent.naming import short
from anypop.model.announce import Address
from anypop.model.reasons import Reason

DRAIN_WEIGHT = 1
FULL_WEIGHT = 100  # a hundredth of the buckets: a draining hop keeps its busy buckets and gets hardly a new one


def members_for(address: Address, facts: Facts, now: float) -> tuple[Member, ...]:
    """Who answers for an anycast address: those that serve, and those that drain.

    When nobody serves, the members that at least run stay, and while traffic comes in, those that answer and only
    cool down return (fail open): an answer of a doubtful instance is better than none, and whether the prefix should
    go is the governor's question.
    """
    here = facts.behind.get(address, ())
    members = {m.short for m in facts.observed.balanced.get(address, ())}
    serving = {short(i.uid) for i in here if facts.is_serving(i, address)}
    if not serving:
        running = {short(i.uid): i.uid for i in here if i.uid in facts.running and facts.is_wired(i.uid)}
        serving = members & set(running)
        if attracts(address, facts):
            serving |= {key for key, uid in running.items() if _cools_down(uid, facts)}
    draining = {short(x.removal.uid) for x in facts.remains if short(x.removal.uid) in members and _goes_on(x, facts, now)}
    # while nobody else serves, those that leave carry on in full
    weights = dict.fromkeys(draining, DRAIN_WEIGHT if serving else FULL_WEIGHT) | dict.fromkeys(serving, FULL_WEIGHT)
    return tuple(Member(short=key, weight=weight) for key, weight in sorted(weights.items()))


def _goes_on(leaving: Leaving, facts: Facts, now: float) -> bool:
    uid = leaving.removal.uid
    return facts.has_process(uid) and facts.is_wired(uid) and not is_drained(leaving, facts, now)


def _cools_down(uid: str, facts: Facts) -> bool:
    verdict = facts.observed.health.get(uid)
    return verdict is not None and verdict.reason is Reason.FLAP_COOLDOWN


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
    return any(address not in facts.open_gates and attracts(address, facts) for address in addresses)


def is_drained(leaving: Leaving, facts: Facts, now: float) -> bool:
    """Whether it may be taken away: not needed, and its drain time is over (nothing that never ran needs to drain)."""
    if is_needed(leaving, facts):
        return False
    uid = leaving.removal.uid
    if not facts.has_process(uid):
        return True
    since = facts.observed.memory.draining_since.get(uid)
    return since is not None and now >= since + facts.order.drain_s
