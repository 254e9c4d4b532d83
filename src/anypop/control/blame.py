"""Who stands behind a withdrawal, and who is in the dark: told by name to the owner and to the operator alone.

In: control's state. Out: the workloads that fail on a host in a covering prefix, words about them for one reader, and
the PoPs in which a workload is in the dark: its prefix is announced there for others, and it has never answered there,
nor anywhere from where it would be carried. Who is to blame is the judge's to say. Pure.
"""

from collections.abc import Collection

from anypop.control.sharing import tenants
from anypop.control.state import Declaration, State
from anypop.judge.judged import well_at
from anypop.judge.verdict import to_blame
from anypop.model.announce import Prefix
from anypop.model.names import CityCode, HostName, WorkloadId

_NOBODY = frozenset[WorkloadId]()
_NOWHERE = frozenset[CityCode]()


def failing(state: State, host: HostName, prefix: Prefix) -> list[Declaration]:
    """The workloads for whose sake the prefix may leave this host, oldest first; none: they are well, as far as is
    known, and it is the way to them that is not.
    """
    view, planned = state.verdict.views.get(host), state.plan
    if view is None or planned is None or (part := planned.hosts.get(host)) is None:
        return []
    memory, gates = state.history.workloads, state.verdict.gates.get(host, {})
    carried = prefix in planned.carried
    found = to_blame(
        gates.get(prefix, _NOBODY),
        well_at(view, prefix, gates, planned),
        lambda w: (
            (known := memory.get(w)) is not None and (bool(known.served) if carried else part.pop in known.served)
        ),
    )
    return sorted((d for w in found if (d := state.workloads.get(w)) is not None), key=lambda d: (d.created_at, d.id))


def affected(state: State, host: HostName, prefix: Prefix) -> list[Declaration]:
    """The workloads that the prefix draws traffic for on this host, oldest first."""
    gates = state.verdict.gates.get(host, {}).get(prefix, _NOBODY)
    return sorted((d for w in gates if (d := state.workloads.get(w)) is not None), key=lambda d: (d.created_at, d.id))


def names(failed: Collection[Declaration]) -> str:
    """`stack/workload` of each, for the operator."""
    return ", ".join(f"{d.workload.stack_slug}/{d.workload.slug}" for d in failed)


def because(failed: Collection[Declaration], reader: Declaration, *, carried: bool = False) -> str:
    """Why, for the owner of `reader`: a workload of the same account by its name, another one without it. Empty: none
    fails. `carried`: the prefix is, so an instance elsewhere would have done.
    """
    fails = "is neither served nor carried from here" if carried else "does not answer here"
    account = reader.workload.account_id
    own = [d for d in failed if d.workload.account_id == account]
    slugs = ", ".join(
        d.workload.slug if d.stack_id == reader.stack_id else f"{d.workload.stack_slug}/{d.workload.slug}" for d in own
    )
    if own:
        return f"{slugs} {fails}"
    return f"another workload of the prefix {fails}" if failed else ""


def is_carried(state: State, prefix: Prefix) -> bool:
    """Whether hosts carry the addresses of a prefix for each other."""
    return state.plan is not None and prefix in state.plan.carried


def is_silent(state: State, host: HostName, workload_id: WorkloadId, prefix: Prefix) -> bool:
    """Whether a workload's instances on a host are healthy, and do not answer in the family of a prefix; where the
    prefix is carried, whether they answer in it nowhere.
    """
    if is_carried(state, prefix):
        return prefix.version in state.verdict.mute.get(workload_id, ())
    view = state.verdict.views.get(host)
    return view is not None and (workload_id, prefix.version) in view.silent


def dark(state: State, workload_id: WorkloadId) -> frozenset[CityCode]:
    """The PoPs where it has had its time to start, has never answered, and others of its prefix have. What is carried
    is in the dark only where it has answered nowhere.
    """
    late: frozenset[CityCode] = state.verdict.late.get(workload_id, _NOWHERE)
    held = state.anycast.get(workload_id)
    if not late or held is None:
        return _NOWHERE
    others = {d.id for prefix in (held.prefix4, held.prefix6) for d in tenants(state, prefix)} - {workload_id}
    memories = (state.history.workloads.get(other) for other in others)
    alive = frozenset(pop for memory in memories if memory is not None for pop in memory.served)
    if not is_carried(state, held.prefix4):
        return late & alive
    mine = state.history.workloads.get(workload_id)
    return late if alive and (mine is None or not mine.served) else _NOWHERE
