"""The next moment at which control has something to do although nobody says anything.

In: a decided state and the time. Out: that moment, for the core's one timer; None: nothing becomes due by itself. Pure.
"""

from anypop.control.allocation_book import is_waiting
from anypop.control.allocation_ends import next_end
from anypop.control.draining import next_drain_due
from anypop.control.scaling import next_look
from anypop.control.state import State
from anypop.plan.rollout import next_due


def due_at(state: State, now: float) -> float | None:
    """A report turns stale, a host is lost, a rest ends that a plan waits for, an address that is kept for a while
    goes, a rollout or a drain may go on or has run out of time, or loads are to be looked at.
    """
    patience = state.network.lost_after_s
    moments = [state.verdict.next_stale()]
    if patience > 0:
        lost_at = [max(at, state.started_at) + patience for at in state.verdict.silent.values()]
        moments.append(min((at for at in lost_at if at > now), default=None))
    moments += [next_due(rollout, now) for rollout in state.active_rollouts()]
    moments += [next_drain_due(state, now), next_look(state), next_end(state)]
    if state.plan is not None and (state.plan.is_short or is_waiting(state)):
        moments.append(state.next_rest_over())
    return min((moment for moment in moments if moment is not None), default=None)
