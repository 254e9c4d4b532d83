"""What the speaker shall say: for each prefix and upstream, whether it is announced now, and how. Pure.

In: `Facts`, the time. Out: the whole `SpeakerConfig`. A prefix goes out only when its routes are in the kernel and
every gate has an instance that is known to be healthy; once out, ill health alone never takes it back: that is the
governor's to grant. An address that the PoP's own edge router spreads over hosts is told at the lowest preference while
nobody answers for it here: another host that does is then preferred, and where none does nothing changes. What the
order takes back, or what leaves with its last instance, first turns to the lowest
preference for `decay_s` (RFC 8326) and is then withdrawn. On a session that flaps nothing is announced for a while
(`flaps`).
"""

from dataclasses import replace

from anypop.agent.decide import returning
from anypop.agent.decide.elements import Export, SpeakerConfig
from anypop.agent.decide.facts import Facts, text_of
from anypop.agent.decide.traffic import is_called_back
from anypop.model.announce import Announcement, Prefix
from anypop.model.order import Order
from anypop.model.reasons import Reason


def speaker_for(facts: Facts, now: float) -> SpeakerConfig:
    """The speaker's configuration as it should be now."""
    order, exports = facts.order, []
    known = {u.name for u in order.upstreams}
    for key in sorted(facts.wanted.keys() | facts.exports.keys(), key=_in_turn):
        export = _export(key, facts, now)
        if export is not None and export.upstream in known and not rests(key, facts, now):
            exports.append(export)
    return SpeakerConfig(
        asn=order.asn, router_id=order.router_id, upstreams=order.upstreams, exports=tuple(exports),
        ours=ours_of(order), management=order.management, rpki=order.rpki,
        # it tells who serves what; who is to get a part of it is no business of its
        backbone=replace(order.backbone, dials=()) if order.backbone is not None else None,
        own=(order.private4, order.private6, order.external4, order.external6) if order.backbone is not None else (),
    )  # fmt: skip


def _in_turn(key: tuple[Prefix, str]) -> tuple[int, str, str]:
    prefix, upstream = key
    return prefix.version, text_of(prefix), upstream


def rests(key: tuple[Prefix, str], facts: Facts, now: float) -> bool:
    """Whether a prefix is not announced on a session for now since that flaps. One that stands calmly must have the
    prefix meanwhile; where none does, this PoP would leave, which is the governor's to grant: never the last one.
    """
    prefix, upstream = key
    uplink = facts.observed.memory.uplinks.get((upstream, prefix.version))
    if uplink is None or not uplink.rests(now):
        return False
    granted = facts.grants.get(prefix)
    return _has_calm_way(prefix, facts, now) or (granted is not None and granted.allowed)


def _has_calm_way(prefix: Prefix, facts: Facts, now: float) -> bool:
    uplinks = facts.observed.memory.uplinks
    ways = (uplinks.get((name, prefix.version)) for name in facts.ways_of.get(prefix, ()))
    return any(way is not None and way.up and not way.rests(now) for way in ways)


def flaps_alone(prefix: Prefix, facts: Facts, now: float) -> bool:
    """Whether all ways by which a prefix could be announced here flap or are down, and one at least flaps."""
    if not facts.has_flaps:
        return False
    uplinks = facts.observed.memory.uplinks
    ways = [uplinks.get((name, prefix.version)) for name in facts.ways_of.get(prefix, ())]
    return any(way is not None and way.rests(now) for way in ways) and not _has_calm_way(prefix, facts, now)


def ours_of(order: Order) -> tuple[Prefix, ...]:
    """What no neighbour may tell: all that is ours. An order of an older control does not say; then what is the host's.
    Covering prefixes have routes of their own here, which are asked first.
    """
    return order.ours or (order.private4, order.private6, order.external4, order.external6)


def _export(key: tuple[Prefix, str], facts: Facts, now: float) -> Export | None:
    prefix, asked, current = key[0], facts.wanted.get(key), facts.exports.get(key)
    if asked is not None and prefix in facts.ready_prefixes and (current is not None or facts.is_proven(prefix)):
        return None if returning.waits(key, facts, now) else as_asked(asked)
    if current is None:
        return None
    if asked is not None and not facts.is_abandoned(prefix):
        granted = facts.grants.get(prefix)
        # an address without any working instance is left to the governor; its routes being away is ours to mend
        shut = not facts.gates(prefix) <= facts.open_gates
        if granted is not None and granted.allowed and shut:
            return None
        return replace(current, graceful=True) if shut and _is_spread(key, facts) else current
    return _fading(key, current, facts, now)


def _is_spread(key: tuple[Prefix, str], facts: Facts) -> bool:
    """Whether this is one address, told to the router that spreads it over the hosts of this PoP."""
    prefix, name = key
    return prefix.prefixlen == prefix.max_prefixlen and name in facts.edges


def as_asked(asked: Announcement) -> Export:
    scope = asked.scope
    return Export(
        prefix=asked.prefix, upstream=asked.upstream, prepend=scope.prepend, communities=scope.communities,
        large_communities=scope.large_communities, extended_communities=scope.extended_communities,
        watched=asked.drains,
    )  # fmt: skip


def _fading(key: tuple[Prefix, str], current: Export, facts: Facts, now: float) -> Export | None:
    """The announcement on its way out: at lowest preference while its traffic decays, then not at all."""
    since = facts.observed.memory.graceful_since.get(key)
    if current.graceful and since is not None and now >= since + facts.order.decay_s:
        return None
    return replace(current, graceful=True)


def reason_for(prefix: Prefix, facts: Facts, now: float) -> tuple[Reason, bool]:
    """Why `prefix` is, or is not, announced here; and whether local evidence says it should go while a grant is
    missing.
    """
    current = prefix in facts.exported_prefixes
    if prefix not in facts.wanted_prefixes:
        withheld = Reason.DRAINED if prefix in facts.drained_prefixes else Reason.WITHHELD
        return (Reason.DRAINING if current else withheld), False
    if facts.gates(prefix) <= facts.open_gates:
        if prefix not in facts.observed.covers:
            return Reason.ROUTE_NOT_IN_KERNEL, False
        if flaps_alone(prefix, facts, now):
            return Reason.FLAP_COOLDOWN, True
        if not current and not facts.is_proven(prefix):
            return Reason.PROBE_PENDING, False
        if not current and returning.waits_everywhere(prefix, facts, now):
            return Reason.SETTLES, False
        return (Reason.ANNOUNCED if prefix in facts.sent_prefixes else Reason.SESSION_DOWN), False
    if not current:
        return _why_shut(prefix, facts), False
    if facts.is_abandoned(prefix):
        return Reason.DRAINING, False
    granted = facts.grants.get(prefix)
    if granted is None:
        return (Reason.PROBE_PENDING if _starts(prefix, facts) else Reason.AWAITING_GRANT), True
    return (Reason.GRANTED if granted.allowed else granted.reason), True


def is_vacant(prefix: Prefix, facts: Facts) -> bool:
    """Whether nobody could answer here for any address of a prefix: no instance runs, no route leads to one, and
    neither one that had left its group and is called back nor another host that a tunnel reaches and that tells that it
    answers: their routes are only a step away. That is what processes and the kernel say; no probe that may be wrong is
    asked.
    """
    gates, seen = facts.gates(prefix), facts.observed
    here = (i for gate in gates for i in facts.behind.get(gate, ()))
    runs = any(i.uid in facts.running and facts.is_wired(i.uid) for i in here)
    led = any(seen.balanced.get(gate) or gate in facts.carriers.held for gate in gates)
    returns = any(is_called_back(x, gate, facts) for x in facts.remains for gate in gates)
    return bool(gates) and not (runs or led or returns)


def _starts(prefix: Prefix, facts: Facts) -> bool:
    """Whether all that keeps gates shut are instances that have never answered yet."""
    shut = facts.gates(prefix) - facts.open_gates
    told = [facts.observed.health.get(i.uid) for gate in shut for i in facts.behind.get(gate, ())]
    version = prefix.version
    return all(verdict is None or verdict.of(version).reason is Reason.PROBE_PENDING for verdict in told)


def _why_shut(prefix: Prefix, facts: Facts) -> Reason:
    """No instance is healthy, or those that are do not answer in the family of the prefix."""
    shut = facts.gates(prefix) - facts.open_gates
    told = [facts.observed.health.get(i.uid) for gate in shut for i in facts.behind.get(gate, ())]
    silent = (v is not None and v.healthy is True and v.of(prefix.version).healthy is False for v in told)
    return Reason.FAMILY_SILENT if any(silent) else Reason.NO_HEALTHY_INSTANCE
