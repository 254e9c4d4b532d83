"""Changes of scopes in waves: when a wave is through, what ends the rollout, and whether its end left things as before.

In: a rollout of kind SCOPES as it is stored, what its hosts do not do as asked yet, what the vantages saw, and the
time. Out: the rollout as it stands after that. Rules and looks are the caller's: it puts the rules of the waves so far
in place, and those from before when the phase says that they come back. Pure; every step can be taken again from what
is stored.
"""

from collections.abc import Sequence
from dataclasses import replace

from anypop.model.reasons import Reason
from anypop.model.rollout import Landing, Rollout, RolloutKind, RolloutPhase, WaveResult

# After control was away: time for every host to fetch its order and to report (heartbeats are 5 s apart), and for a
# look whose requests run into their timeouts.
RETURN_S = 20.0


def advance_scopes(rollout: Rollout, missing: Sequence[str], now: float) -> Rollout:
    """A change of scopes, moved on. `missing`: announcements of the waves so far that are not as asked yet, in words. A
    wave is through once all is out and every vantage has landed as predicted for the bake time. What is not so at the
    wave's deadline makes the rollout REVERTED, with what differs; so do vantages that stop looking.
    """
    if rollout.phase is not RolloutPhase.RUNNING:
        return rollout
    differs = (*missing, *_not_as_predicted(rollout))
    if differs:
        if now >= _deadline(rollout):
            return ended(rollout, RolloutPhase.REVERTED, Reason.NOT_AS_PREDICTED, differs, now)
        return replace(rollout, well_since=None, reason=Reason.ROLLING_OUT, message="; ".join(differs))
    well_since = rollout.well_since if rollout.well_since is not None else now
    rollout = replace(rollout, well_since=well_since, reason=Reason.BAKING, message="")
    baked_at = well_since + rollout.strategy.bake_s
    if now < baked_at:
        return rollout
    if rollout.baseline and (rollout.seen_at is None or rollout.seen_at < baked_at):
        # The last look is older than the time for which it must hold.
        if now >= max(baked_at + rollout.strategy.deadline_s, rollout.patient_until):
            return ended(
                rollout, RolloutPhase.REVERTED, Reason.NOT_AS_PREDICTED, ("the vantages do not look any more",), now
            )
        return rollout
    through = (*rollout.results, _result(rollout, (), now))
    if rollout.wave >= len(rollout.scopes) - 1:
        return replace(
            rollout, phase=RolloutPhase.DONE, reason=Reason.ROLLED_OUT, message="", ended_at=now, results=through
        )
    rollout = replace(
        rollout, wave=rollout.wave + 1, wave_at=now, well_since=None, reason=Reason.ROLLING_OUT, message=""
    )
    return replace(rollout, results=through, patient_until=0.0)


def ended(rollout: Rollout, phase: RolloutPhase, reason: Reason, differs: Sequence[str], now: float) -> Rollout:
    """The rollout, over before its last wave was through: the wave under way has `differs` for its result."""
    result = _result(rollout, differs, now)
    message = "; ".join(differs)
    rollout = replace(rollout, phase=phase, reason=reason, message=message, ended_at=now, well_since=None)
    return replace(rollout, results=(*rollout.results, result), patient_until=0.0)


def awaits_restoration(rollout: Rollout) -> bool:
    """Whether it was taken back and nobody knows yet whether the vantages land as before."""
    taken_back = (
        rollout.phase in (RolloutPhase.REVERTED, RolloutPhase.ABORTED) and rollout.reason is not Reason.WORKLOAD_DELETED
    )
    return taken_back and bool(rollout.baseline) and rollout.restored is None


def landed_back(rollout: Rollout, looks: Sequence[Landing], began_at: float) -> Rollout:
    """A rollout that was taken back, after a look that began then: restored once the vantages have landed as before it
    for the bake time; not restored when they do not at the end of another deadline.
    """
    over_at = rollout.ended_at
    if not awaits_restoration(rollout) or over_at is None or began_at < over_at:
        return rollout
    rollout = replace(rollout, seen=tuple(looks), seen_at=began_at)
    if _lands_elsewhere(rollout.baseline, looks):
        late = began_at >= max(over_at + rollout.strategy.deadline_s, rollout.patient_until)
        return replace(rollout, well_since=None, restored=False if late else None)
    well_since = began_at if rollout.well_since is None else rollout.well_since
    held = began_at >= well_since + rollout.strategy.bake_s
    return replace(rollout, well_since=well_since, restored=True if held else None)


def after_absence(rollout: Rollout, now: float) -> Rollout:
    """The rollout when control is back after it was away for long: nothing that ends by time alone ends before the
    hosts and the vantages have been heard again.
    """
    if rollout.kind is not RolloutKind.SCOPES:
        return rollout
    concerned = rollout.phase is RolloutPhase.RUNNING or awaits_restoration(rollout)
    return replace(rollout, patient_until=now + RETURN_S) if concerned else rollout


def wants_look(rollout: Rollout) -> bool:
    """Whether vantages are to be looked at for it now."""
    return bool(rollout.baseline) and (rollout.phase is RolloutPhase.RUNNING or awaits_restoration(rollout))


def moments(rollout: Rollout) -> list[float]:
    """When a running one may say something else although nothing happens."""
    found = [_deadline(rollout)]
    if rollout.well_since is not None:
        baked_at = rollout.well_since + rollout.strategy.bake_s
        found += [baked_at, max(baked_at + rollout.strategy.deadline_s, rollout.patient_until)]
    return found


def _deadline(rollout: Rollout) -> float:
    return max(rollout.wave_at + rollout.strategy.deadline_s, rollout.patient_until)


def _result(rollout: Rollout, differs: Sequence[str], now: float) -> WaveResult:
    seen = rollout.seen if _has_looked(rollout) else ()
    return WaveResult(seconds=now - rollout.wave_at, seen=seen, differs=tuple(differs))


def _has_looked(rollout: Rollout) -> bool:
    """Whether the vantages have looked since the wave began."""
    return rollout.seen_at is not None and rollout.seen_at >= rollout.wave_at


def _not_as_predicted(rollout: Rollout) -> list[str]:
    """What the vantages saw in this wave, where it is not what was predicted; where nothing was, who got all answers
    before must get them all. Without vantages nothing can differ.
    """
    if not rollout.baseline:
        return []
    if not _has_looked(rollout):
        return ["the vantages have not looked yet"]
    expected = dict(rollout.scopes[rollout.wave].expected)
    before = {look.vantage: look for look in rollout.baseline}
    seen = {look.vantage: look for look in rollout.seen}
    found = [f"{vantage} does not look any more" for vantage in before if vantage not in seen]
    for vantage, look in seen.items():
        wanted, was = expected.get(vantage), before.get(vantage)
        if not look.asked:  # nobody knows whether what was predicted has come true
            if wanted is not None or (was is not None and was.whole):
                found.append(f"{vantage} could not ask")
        elif wanted is not None and look.pop not in (wanted or (None,)):
            found.append(
                f"{vantage} lands in {look.pop or 'no PoP'}, predicted {' or '.join(sorted(wanted)) or 'no PoP'}"
            )
        elif not look.whole and (wanted or (wanted is None and was is not None and was.whole)):
            found.append(f"{vantage} gets {look.answered} of {look.asked} answers")
    return found


def _lands_elsewhere(before: Sequence[Landing], looks: Sequence[Landing]) -> bool:
    now = {look.vantage: look for look in looks}
    return any(
        (look := now.get(was.vantage)) is None or look.pop != was.pop or (was.whole and not look.whole)
        for was in before
    )
