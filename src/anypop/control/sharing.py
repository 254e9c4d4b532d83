"""Covering prefixes that workloads of several accounts share, and what follows from that.

In: control's state. Out: who shares what, and the steps of a tenant with the refusal in front of them: a prefix is
announced as a whole, so how far it goes is one account's business only while nobody else's address is in it. Addresses
are given so that this is always so (`plan.anycast`); an older version gave them otherwise, and what it gave stays. To a
tenant nothing is said of who the others are. Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from anypop.control.refusals import Forbidden
from anypop.control.state import Declaration, State
from anypop.model.announce import Prefix
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


def alone(alter: Callable[[State, float], State], workload_id: WorkloadId) -> Callable[[State, float], State]:
    """A tenant's change of how the workload's prefixes are announced: the step raises `Forbidden` where another account
    would feel it.
    """

    def checked(state: State, now: float) -> State:
        found = shared_with_others(state, workload_id)
        if found:
            raise Forbidden(
                f"{' and '.join(str(one.prefix) for one in found)}: another account has addresses there too, and a "
                "prefix is announced as a whole, so how far it goes is the operator's to change. Ask the operator, or "
                "create the workload anew, which gives it a prefix of your own"
            )
        return alter(state, now)

    return checked
