"""Restarts that are under way on other hosts of a PoP, of which an agent cannot know.

In: control's state, the incarnation that is to be started anew, the time. Out: the one that has to serve again first.
Those on one host are put one after the other by its agent (`agent.decide.restarts`). Pure.
"""

from anypop.control.state import State
from anypop.judge.verdict import is_fresh
from anypop.model.plan import Incarnation
from anypop.model.report import InstanceReport

COMES_BACK_S = 60.0  # one that has run for so long and does not serve is ill, and not on its way


def restarts_beside(state: State, going: Incarnation, now: float) -> Incarnation | None:
    """An instance of the same workload on another host of the same PoP that is being started anew, where `going` is all
    that serves there meanwhile; None: nothing is in the way. Of a host that is silent nothing is known, and it is not
    waited for.
    """
    mates = [
        placed.incarnation
        for placed in state.incarnations_of(going.workload_id).values()
        if placed.incarnation.pop == going.pop and placed.incarnation.name != going.name
    ]
    under_way: list[Incarnation] = []
    for mate in sorted(mates, key=lambda i: i.name):
        received, issued = state.reports.get(mate.host), state.orders.get(mate.host)
        if not is_fresh(received, now) or received is None:
            continue
        told = next((i for i in received.report.instances if i.uid == mate.uid), None)
        obeys = issued is None or received.report.generation >= issued.order.generation
        if mate.restarts and mate.host != going.host and not (obeys and _is_over(told, now)):
            under_way.append(mate)
        elif told is not None and told.healthy:
            return None
    return under_way[0] if under_way else None


def _is_over(told: InstanceReport | None, now: float) -> bool:
    if told is None:
        return False
    return told.healthy or (told.started_at is not None and now > told.started_at + COMES_BACK_S)
