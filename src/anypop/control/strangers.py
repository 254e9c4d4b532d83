"""What hosts that were reset run, and nothing here knows of: it is taken down once, by name.

In: control's state and reports. Out: the state with what such a host is told to take down, until it reports none of it
any more. Pure.
"""

from collections.abc import Iterable
from dataclasses import replace

from anypop.control.state import State
from anypop.model.names import HostName
from anypop.model.order import Removal
from anypop.model.reasons import Reason


def with_strangers(state: State, host: HostName) -> State:
    """The state after a host was reset: what it runs and nothing here knows of is to be taken down. Only where that is
    why it refuses its order: then it goes on with the order before, which names each of them.
    """
    received = state.reports.get(host)
    if received is None or received.report.refused is not Reason.SHRINKS_WITHOUT_TOKEN:
        return state
    known = {*state.incarnations_on(host), *state.tombstones_on(host)}
    strangers = tuple(
        Removal(name=i.name, uid=i.uid, reason=Reason.FORGOTTEN)
        for i in received.report.instances
        if i.uid not in known
    )
    return replace(state, strangers={**state.strangers, host: strangers}) if strangers else state


def met(draft: State, news: Iterable[HostName]) -> State:
    """Without the strangers of hosts that report none of them any more."""
    over = {
        host
        for host in news
        if (asked := draft.strangers.get(host)) is not None
        and (received := draft.reports.get(host)) is not None
        and {r.uid for r in asked}.isdisjoint(i.uid for i in received.report.instances)
    }
    return replace(draft, strangers={h: s for h, s in draft.strangers.items() if h not in over}) if over else draft
