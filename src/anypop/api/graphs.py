"""Which graphs of the Internet control can ask: the operator's own files, and the lab's topology.

In: the folder in which `graph.yaml` may stand (the one where the command line looks too), control's environment, a
lab's folder. Out: the files of the graph that a request names. A request names one that is known here, never a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from anypop.advice import graph
from anypop.advice.graph import Sources
from anypop.control.refusals import Precondition
from anypop.model.errors import Invalid

FILES, LAB = "files", "lab"
NO_GRAPH = "control knows no graph of the Internet: write graph.yaml into its --graph folder, or start it with --lab"


class Unusable(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """The operator's graph.yaml is wrong. The text names files of control's machine: it is for the operator alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphs:
    """`folder`: of graph.yaml; `lab`: of a lab. None: there is none. Blocking: call in a thread."""

    folder: Path | None = None
    lab: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def named(self, wanted: str | None) -> Sources:
        """The graph of this name; without one the operator's files, else the lab. Raises `Precondition` where there is
        none, `Unusable`.
        """
        known = self._known()
        if not known:
            raise Precondition(NO_GRAPH)
        if wanted is not None and wanted not in known:
            raise Invalid.one("graph", f"no graph {wanted} is known here (there is {' and '.join(known)})")
        return known[wanted] if wanted is not None else next(iter(known.values()))

    def _known(self) -> dict[str, Sources]:
        try:
            found = (
                graph.find(Sources(), folder=self.folder, environment=self.environment)
                if self.folder is not None
                else None
            )
        except Invalid as error:
            raise Unusable(str(error)) from error
        known = {FILES: found} if found is not None and found.graph is not None else {}
        plan = self.lab / "lab.json" if self.lab is not None else None
        if plan is not None and plan.is_file():
            # What was measured, and who counts how much, belongs to the graph beside which it was written down.
            known[LAB] = Sources(lab=plan) if known or found is None else replace(found, lab=plan)
        return known
