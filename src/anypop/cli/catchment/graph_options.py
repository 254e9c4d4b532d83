"""Which graph of the Internet a command asks: its options, the environment and the state folder in, a loaded graph out.

The order in which they count is `advice.graph`'s. Where the platform is a lab, the lab's own topology is read here.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anypop.advice import graph
from anypop.advice.graph import File, Graph, Sources
from anypop.cli.failure import Exit, Failure

if TYPE_CHECKING:
    from anypop.cli.call import Call
    from anypop.lab.address import LabPlan

GraphFile = Annotated[
    File,
    typer.Option(
        "--graph", metavar="FILE", help="AS relationships: CAIDA serial-1 or serial-2, or CSV; plain, gz or bz2."
    ),
]
Overrides = Annotated[
    File, typer.Option("--overrides", metavar="FILE", help="CSV of relationships that are known better.")
]
Footprint = Annotated[
    File, typer.Option("--footprint", metavar="FILE", help="CSV of the cities of networks: asn,cities.")
]
Weights = Annotated[
    File, typer.Option("--weights", metavar="FILE", help="CSV of users (or traffic) per network: asn,weight.")
]
History = Annotated[
    File,
    typer.Option(
        "--history", metavar="FOLDER", help="Earlier announcements and what was seen under them, to learn from."
    ),
]
Observed = Annotated[File, typer.Option("--observations", metavar="FILE", help="Measurements that overrule the model.")]

_ADVICE = (
    "Give --graph FILE, set ANYPOP_GRAPH, or write graph.yaml; 'anypop catchment generate' makes one for who has none."
)


def warn(call: "Call", graph: Graph) -> None:
    for warning in graph.warnings[:5]:
        call.screen.note(f"warning: {warning}")
    if len(graph.warnings) > 5:
        call.screen.note(f"warning: and {len(graph.warnings) - 5} more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A graph, and the plan of the lab that it is."""

    graph: Graph
    plan: "LabPlan | None" = None


def sources(call: "Call", given: Sources | None = None) -> Sources | None:
    """The files meant; None where there is no graph at all. Raises `Invalid` for a graph.yaml that is wrong."""
    return graph.find(given or Sources(), folder=call.folder, environment=os.environ)


def loaded(call: "Call", given: Sources) -> Loaded:
    """The graph meant. Raises `Failure` where there is none, and `Invalid` with every problem of its files."""
    found = sources(call, given)
    if found is None:
        raise Failure("no graph of the Internet is known here", code=Exit.USAGE, advice=_ADVICE)
    return load(found)


def load(found: Sources) -> Loaded:
    """Read all files. Problems of all of them are told together."""
    if found.lab is None:
        return Loaded(graph=graph.load(found))
    from anypop.lab import build  # noqa: PLC0415 - only for labs
    from anypop.lab.model import modelled  # noqa: PLC0415

    plan = build.attach(Path(found.lab).parent).plan
    made = modelled(plan)
    return Loaded(graph=graph.load(found, graph.Topology(internet=made.internet, policies=made.policies)), plan=plan)
