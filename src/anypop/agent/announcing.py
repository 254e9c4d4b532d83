"""What the speaker shall say: for each prefix and upstream, whether it is announced now, and how. Pure.

In: order, observed, time. Out: the whole `SpeakerConfig`. A prefix goes out only when its routes are in the kernel and every gate has a
healthy instance; once out, ill health alone never takes it back: that is the governor's to grant. What the order takes back, or what leaves
with its last instance, first turns to the lowest preference for `decay_s` (RFC 8326) and is then withdrawn.
"""

from anypop.agent.observed import Export, Leaving, Observed, SpeakerConfig
from anypop.agent.standing import (
    anycast_of,
    exports_now,
    gate_is_open,
    gates_of,
    grant_for,
    is_abandoned,
    is_needed,
    is_ready,
    staying,
    wanted,
)
from anypop.model.announce import Announcement, Prefix
from anypop.model.order import Order
from anypop.model.reasons import Reason


def speaker_for(order: Order, observed: Observed, now: float) -> SpeakerConfig:
    """The speaker's configuration as it should be now."""
    asked, current = wanted(order), exports_now(observed)
    known = {u.name for u in order.upstreams}
    exports = []
    for key in sorted(set(asked) | set(current), key=str):
        export = _export(key, asked.get(key), order, observed, now)
        if export is not None and export.upstream in known:
            exports.append(export)
    return SpeakerConfig(asn=order.asn, router_id=order.router_id, upstreams=order.upstreams, exports=tuple(exports))


def _export(key: tuple[Prefix, str], asked: Announcement | None, order: Order, observed: Observed, now: float) -> Export | None:
    prefix, current = key[0], exports_now(observed).get(key)
    if asked is not None and is_ready(prefix, order, observed):
        return as_asked(asked)
    if current is None:
        return None
    if asked is not None and not is_abandoned(prefix, order, observed):
        granted = grant_for(prefix, order)
        # an address without any working instance is left to the governor; its routes being away is ours to mend
        may_go = granted is not None and granted.allowed and not all(gate_is_open(g, order, observed) for g in gates_of(prefix, order))
        return None if may_go else current
    return _fading(key, current, order, observed, now)


def as_asked(asked: Announcement) -> Export:
    scope = asked.scope
    return Export(
        prefix=asked.prefix, upstream=asked.upstream, prepend=scope.prepend, communities=scope.communities,
        large_communities=scope.large_communities,
    )  # fmt: skip


def _fading(key: tuple[Prefix, str], current: Export, order: Order, observed: Observed, now: float) -> Export | None:
    """The announcement on its way out: at lowest preference while its traffic decays, then not at all."""
    since = observed.graceful_since.get(key)
    if current.graceful and since is not None and now >= since + order.decay_s:
        return None
    return Export(
        prefix=current.prefix, upstream=current.upstream, prepend=current.prepend, communities=current.communities,
        large_communities=current.large_communities, graceful=True,
    )  # fmt: skip


def holds(leaving: Leaving, order: Order, observed: Observed) -> bool:
    """Whether an instance under removal has to wait for a withdrawal before its drain time begins."""
    return is_needed(leaving, order, observed)


def reason_for(prefix: Prefix, order: Order, observed: Observed) -> tuple[Reason, bool]:
    """Why `prefix` is, or is not, announced here; and whether local evidence says it should go while a grant is missing."""
    asked = any(p == prefix for p, _ in wanted(order))
    current = any(p == prefix for p, _ in exports_now(observed))
    if not asked:
        return (Reason.DRAINING if current else Reason.WITHHELD), False
    open_gates = all(gate_is_open(g, order, observed) for g in gates_of(prefix, order))
    if open_gates:
        if prefix not in observed.covers:
            return Reason.ROUTE_NOT_IN_KERNEL, False
        return (Reason.ANNOUNCED if any(p == prefix for p, _ in observed.exported) else Reason.SESSION_DOWN), False
    if not current:
        return Reason.NO_HEALTHY_INSTANCE, False
    if is_abandoned(prefix, order, observed):
        return Reason.DRAINING, False
    granted = grant_for(prefix, order)
    if granted is None:
        return (Reason.PROBE_PENDING if _starts(prefix, order, observed) else Reason.AWAITING_GRANT), True
    return (Reason.GRANTED if granted.allowed else granted.reason), True


def _starts(prefix: Prefix, order: Order, observed: Observed) -> bool:
    """Whether all that keeps gates shut are instances that have never answered yet."""
    shut = {g for g in gates_of(prefix, order) if not gate_is_open(g, order, observed)}
    told = [observed.health.get(i.uid) for i in staying(order, observed) if shut.intersection(anycast_of(i))]
    return all(verdict is None or verdict.reason is Reason.PROBE_PENDING for verdict in told)
