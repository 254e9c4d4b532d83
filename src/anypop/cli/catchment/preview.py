"""What a change of announcements will move, told before anybody is asked to agree to it.

In: the announcements' rows as control gives them, and the scopes that are about to change. Out: a `Diff`, or None where
there is no graph to ask, which is no error: announcing must not depend on a model. A graph that is there and cannot be
read is said in one line.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anypop.advice.preview import compared
from anypop.cli.catchment import graph_options
from anypop.cli.failure import Failure
from anypop.model.errors import Invalid, WorldError
from anypop.model.network import Network, network_from
from anypop.model.sessions import Session, of_rows
from anypop.routing.catchment.diff import Diff

if TYPE_CHECKING:
    from anypop.cli.call import Call
    from anypop.lab.address import LabPlan


def foreseen(call: "Call", rows: Sequence[Mapping[str, Any]], after: Iterable[Session]) -> Diff | None:
    """What moves when these sessions get these scopes."""
    try:
        found = graph_options.sources(call)
        if found is None:
            return None
        loaded = graph_options.load(found)
        now = of_rows(_network(call, loaded.plan), rows)
        return compared(loaded.graph, now, now.with_scopes({session.key: session.scope for session in after}))
    except (Failure, Invalid, WorldError) as error:
        problem = error.problems[0] if isinstance(error, Invalid) else error
        call.screen.note(f"no prediction: {problem}")
        return None


def _network(call: "Call", plan: "LabPlan | None") -> Network:
    """The lab's own plan tells it without a request."""
    if plan is not None:
        from anypop.lab.address import network_of  # noqa: PLC0415 - only for labs

        return network_of(plan)
    return network_from(call.client.get("/anypop/v1/network", what="read the network"))
