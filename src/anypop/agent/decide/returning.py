"""A host that has come back after its machine was dead: when it is announced again. Pure.

In: `Facts`, the time. Out: whether an announcement waits. Coming back is slower than leaving: while others serve what
is asked for here, each instance, each route and the session have to have been well for `return_after_s` first, so that
the traffic of a PoP never meets the one instance that happened to be up first. Where nobody else serves, it is
announced at once. Who else serves, hosts tell each other by the backbone; without one nobody knows, and nothing waits.
"""

from anypop.agent.decide.facts import Facts
from anypop.model.announce import Address, Prefix

# The sessions between hosts take some 3 s after a start; until then it is not known who else serves.
ASK_S = 5.0
# What has not become well by then is not waited for: an instance that never starts must not keep the others away.
MOST_S = 60.0


def waits(key: tuple[Prefix, str], facts: Facts, now: float) -> bool:
    """Whether a prefix is not announced to an upstream for now, since this host came back a moment ago."""
    prefix, upstream = key
    memory, after = facts.observed.memory, facts.order.return_after_s
    since = memory.returned_at
    if since is None or not after or key in facts.exports or not facts.gates(prefix) or facts.tunnel is None:
        return False
    if now >= since + max(MOST_S, after):
        return False
    if not _others_serve(prefix, facts):
        return now < since + ASK_S and not _others_are_known(facts)
    well, session = memory.well_since.get(prefix), memory.uplinks.get((upstream, prefix.version))
    if well is None or now < well + after:
        return True
    return session is None or not session.up or now < session.up_at + after


def waits_everywhere(prefix: Prefix, facts: Facts, now: float) -> bool:
    """Whether that holds for each upstream that is to hear of a prefix."""
    keys = [key for key in facts.wanted if key[0] == prefix]
    return bool(keys) and all(waits(key, facts, now) for key in keys)


def settles_since(facts: Facts, now: float) -> float | None:
    """What the next agent has to know, if this one dies now: when this host came back, while anything waits."""
    since = facts.observed.memory.returned_at
    return since if since is not None and any(waits(key, facts, now) for key in facts.wanted) else None


def holds_back(address: Address, facts: Facts, now: float) -> bool:
    """Whether other hosts are not to send anybody new for an address yet: it lies in a prefix that waits. So hosts that
    have come back all at once do not wait for each other: none of them serves in the others' eyes.
    """
    if facts.observed.memory.returned_at is None:
        return False
    return any(address in p and waits_everywhere(p, facts, now) for p in facts.wanted_prefixes)


def well(facts: Facts) -> frozenset[Prefix]:
    """The prefixes of which each instance here serves, with its route in the kernel."""
    return frozenset(p for p in facts.ready_prefixes if all(_all_serve(p, facts)))


def _all_serve(prefix: Prefix, facts: Facts) -> list[bool]:
    return [
        facts.is_serving(i, gate) and facts.is_member(i.uid, gate)
        for gate in facts.gates(prefix)
        for i in facts.behind.get(gate, ())
        if i.uid not in facts.superseded
    ]


def _others_serve(prefix: Prefix, facts: Facts) -> bool:
    return all(facts.carriers.serving(gate) for gate in facts.gates(prefix))


def _others_are_known(facts: Facts) -> bool:
    """Whether each other host has been heard: then who tells nothing serves nothing."""
    up = {t.host for t in facts.observed.tunnels if t.up}
    return all(peer.host in up for peer in facts.carriers.peers)


def due(facts: Facts) -> list[float]:
    """The moments at which an answer may change although nothing happens."""
    memory, after = facts.observed.memory, facts.order.return_after_s
    if memory.returned_at is None:
        return []
    times = [memory.returned_at + ASK_S, memory.returned_at + max(MOST_S, after)]
    times += [since + after for since in memory.well_since.values()]
    return times + [uplink.up_at + after for uplink in memory.uplinks.values() if uplink.up]
