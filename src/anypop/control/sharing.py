"""Covering prefixes that workloads of several accounts share, and what follows from that.

In: control's state. Out: who shares what, and the steps of a tenant with the refusal in front of them: a prefix is
announced as a whole, so how far it goes is one account's business only while nobody else's address is in it, and while
the operator's policy leaves it to the owner. Without a backbone addresses are given so that nobody shares
(`plan.anycast`); what was given otherwise stays. To a tenant nothing is said of who the others are. Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from anypop.control.refusals import Forbidden
from anypop.control.state import Declaration, State
from anypop.model.announce import Prefix, ScopedBy
from anypop.model.names import WorkloadId


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A covering prefix with addresses of more than one account, and all workloads that have one there."""

    prefix: Prefix
    workloads: tuple[Declaration, ...]

    @property
    def accounts(self) -> tuple[str, ...]:
        """Their ids, in order."""
        return tuple(sorted({declared.workload.account_id for declared in self.workloads}))

    @property
    def names(self) -> tuple[str, ...]:
        """`stack/workload`, as the operator reads them."""
        return tuple(sorted(f"{d.workload.stack_slug}/{d.workload.slug}" for d in self.workloads))


def shared(state: State, prefixes: Iterable[Prefix] | None = None) -> Iterator[Shared]:
    """Those of `prefixes` (of all covering ones) that more than one account has addresses in."""
    every: tuple[Prefix, ...] = (*state.network.anycast4, *state.network.anycast6)
    for prefix in every if prefixes is None else prefixes:
        found = Shared(prefix=prefix, workloads=tuple(tenants(state, prefix)))
        if len(found.accounts) > 1:
            yield found


def tenants(state: State, prefix: Prefix) -> list[Declaration]:
    """Whose addresses are in a covering prefix, oldest first."""
    held: Iterable[WorkloadId]
    if state.plan is not None:
        held = state.plan.tenants(prefix)
    else:
        held = [w for w, entry in state.anycast.items() if prefix in (entry.prefix4, entry.prefix6)]
    found = (state.workloads.get(w) for w in held)
    return sorted((d for d in found if d is not None), key=lambda d: (d.created_at, d.id))


def shared_with_others(state: State, workload_id: WorkloadId) -> tuple[Shared, ...]:
    """The covering prefixes of a workload in which other accounts have addresses too."""
    held = state.anycast.get(workload_id)
    return tuple(shared(state, (held.prefix4, held.prefix6))) if held is not None else ()


def kept_by_operator(state: State, workload_id: WorkloadId) -> tuple[Prefix, ...]:
    """The covering prefixes of a workload that nobody but the operator may scope."""
    held = state.anycast.get(workload_id)
    of = {p.prefix for p in state.network.policies if p.scoped_by is ScopedBy.OPERATOR}
    return tuple(p for p in (held.prefix4, held.prefix6) if p in of) if held is not None else ()


def alone(alter: Callable[[State, float], State], workload_id: WorkloadId) -> Callable[[State, float], State]:
    """A tenant's change of how the workload's prefixes are announced: the step raises `Forbidden` where another account
    would feel it, or where the operator keeps such changes to himself.
    """

    def checked(state: State, now: float) -> State:
        if why := not_for_its_tenant(state, workload_id):
            raise Forbidden(why)
        return alter(state, now)

    return checked


def not_for_its_tenant(state: State, workload_id: WorkloadId) -> str:
    """Why the account of a workload may not change how its prefixes are announced, in words; empty: it may."""
    if kept := kept_by_operator(state, workload_id):
        return (
            f"how far {' and '.join(map(str, kept))} goes is the operator's to change, by the policy of the network "
            "document; ask the operator"
        )
    if found := shared_with_others(state, workload_id):
        return (
            f"{' and '.join(str(one.prefix) for one in found)}: another account has addresses there too, and a prefix "
            "is announced as a whole, so how far it goes is the operator's to change. Ask the operator, or create the "
            f"workload anew{_as_what(state)}, which gives it a prefix of your own"
        )
    return ""


def _as_what(state: State) -> str:
    return " with local only" if state.network.backbone is not None else ""
