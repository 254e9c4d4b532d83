"""What a change of announcements will move, told before anybody is asked to agree to it.

In: the announcements' rows as control gives them, and the scopes that are about to change. Out: a `Diff`, or None where there is no graph
to ask, which is no error: announcing must not depend on a model. A graph that is there and cannot be read is said in one line.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anypop.cli.catchment import graphs
from anypop.cli.catchment.graphs import Ground, Sources
from anypop.cli.failure import Failure
from anypop.model.codec import from_data
from anypop.model.errors import Invalid, WorldError
from anypop.model.network import Network
from anypop.model.sessions import Announcements, Session, of_rows
from anypop.routing.catchment.diff import Diff, diff
from anypop.routing.catchment.predict import predict

if TYPE_CHECKING:
    from anypop.cli.door import Door


def foreseen(door: "Door", rows: Sequence[Mapping[str, Any]], after: Iterable[Session]) -> Diff | None:
    """What moves when these sessions get these scopes."""
    try:
        found = graphs.sources(door, Sources())
        if found is None:
            return None
        ground = graphs.load(found)
        now = of_rows(_network(door, ground), rows)
        return compared(ground, now, now.with_scopes({session.key: session.scope for session in after}))
    except (Failure, Invalid, WorldError) as error:
        problem = error.problems[0] if isinstance(error, Invalid) else error
        door.screen.note(f"no prediction: {problem}")
        return None


def compared(ground: Ground, now: Announcements, then: Announcements) -> Diff:
    """The difference between two sets of announcements over one graph."""
    homes = tuple(sorted({*now.pops, *then.pops}))
    before, after = (predict(ground.engine, a, weights=ground.weights, pins=ground.pins(), homes=homes) for a in (now, then))
    return diff(before, after)


def _network(door: "Door", ground: Ground) -> Network:
    """The lab's own plan tells it without a request."""
    if ground.plan is not None:
        from anypop.lab.address import network_of  # noqa: PLC0415 - only for labs

        return network_of(ground.plan)
    return from_data(Network, door.client.get("/anypop/v1/network", what="read the network"))
