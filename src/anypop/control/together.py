"""Several changes as one step: all of them, or none.

In: the `alter` step of each, with the name of what it is about. Out: one step for `Core.change`, which sees the whole:
quotas, addresses and room are asked of what all of them come to. A refusal says whose it is. Pure.
"""

from collections.abc import Iterable, Mapping

from anypop.control.core import Alter, Look
from anypop.control.declare import refuse_without_address
from anypop.control.refusals import Exists, NotFound, Precondition, VersionConflict
from anypop.control.state import State
from anypop.model.errors import Invalid, Problem
from anypop.model.names import WorkloadId

_NAMED = (Exists, NotFound, Precondition, VersionConflict)


def all_of(steps: Iterable[tuple[str, Alter]]) -> Alter:
    """One after the other in one draft. The step raises what the first of them raises that is refused, with its name
    before it; of what is wrong in itself (`Invalid`) everything.
    """
    known = tuple(steps)

    def alter(state: State, now: float) -> State:
        problems: list[Problem] = []
        for name, step in known:
            try:
                state = step(state, now)
            except _NAMED as refusal:
                raise type(refusal)(f"{name}: {refusal.message}. Nothing was changed") from refusal
            except Invalid as error:
                problems += [Problem(path=name, message=str(problem)) for problem in error.problems]
        if problems:
            raise Invalid(problems)
        return state

    return alter


def accepted_by_all(new: Mapping[str, WorkloadId]) -> Look:
    """For creations: they are refused, all of them, where one asks for an anycast address and there is none to give."""

    def look(state: State) -> None:
        lacking = []
        for name, workload in new.items():
            try:
                refuse_without_address(workload)(state)
            except Precondition as refusal:
                lacking.append(f"{name}: {refusal.message}")
        if lacking:
            raise Precondition("; ".join(lacking))

    return look
