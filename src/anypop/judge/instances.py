"""What may be shown of one instance: its phase, whether it is healthy, and why.

In: the instance's name and uid, the last report of its PoP and when that arrived. Out: `Shown`, read alike by API, CLI
and metrics. Unknown is never healthy: of a PoP that has gone silent nothing is claimed.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from anypop.judge.verdict import Received, is_fresh
from anypop.model.names import InstanceName
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, InstanceReport, Phase

Slot = tuple[InstanceName, str]  # and the uid of who has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """`phase` None: unknown (its PoP is silent). `healthy` is True only by a fresh report of this very incarnation."""

    phase: Phase | None
    healthy: bool
    reason: Reason
    message: str = ""
    started_at: float | None = None
    containers: tuple[ContainerReport, ...] = ()
    init: tuple[ContainerReport, ...] = ()

    @property
    def word(self) -> str:
        """The phase as the Workload API spells it."""
        return self.phase.value if self.phase is not None else "INSTANCE_PHASE_UNSPECIFIED"


def shown(found: InstanceReport | None, received: Received | None, *, now: float, removing: bool = False) -> Shown:
    """How an instance stands. `found`: what the last report says of it. `removing`: its removal was ordered and its PoP
    has not yet reported it gone.
    """
    started_at = found.started_at if found else None
    containers, init = (found.containers, found.init) if found else ((), ())
    if removing:
        return Shown(
            phase=Phase.DELETING, healthy=False, reason=Reason.STOPPING, started_at=started_at, containers=containers,
            init=init,
        )  # fmt: skip
    if received is None:
        return Shown(phase=Phase.SCHEDULING, healthy=False, reason=Reason.SCHEDULED)
    if not is_fresh(received, now):
        return Shown(
            phase=None, healthy=False, reason=Reason.REPORT_STALE, started_at=started_at, containers=containers,
            init=init,
        )  # fmt: skip
    if found is None:
        return Shown(phase=Phase.SCHEDULING, healthy=False, reason=Reason.SCHEDULED)
    return Shown(
        phase=found.phase,
        healthy=found.healthy and found.phase is Phase.RUNNING,
        reason=found.reason,
        message=found.message,
        started_at=started_at,
        containers=containers,
        init=init,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Of many instances of one host: how many there are in which phase, by the Workload API's words, and in health."""

    phases: Counter[str]
    healthy: int

    @property
    def total(self) -> int:
        return self.phases.total()


def counted(placed: Collection[Slot], leaving: Collection[Slot], received: Received | None, *, now: float) -> Counted:
    """How all of them stand, which is asked once for each way to be that there is: a page that shows a hundred hosts
    counts ten thousand instances.
    """
    told = {(i.name, i.uid): i for i in received.report.instances} if received is not None else {}
    ways: Counter[tuple[Phase, bool, bool] | bool] = Counter()
    examples: dict[tuple[Phase, bool, bool] | bool, InstanceReport | None] = {}
    for slots, removing in ((placed, False), (leaving, True)):
        for slot in slots:
            found = told.get(slot)
            way = removing if found is None else (found.phase, found.healthy, removing)
            ways[way] += 1
            examples[way] = found
    phases: Counter[str] = Counter()
    healthy = 0
    for way, count in ways.items():
        removing = way if isinstance(way, bool) else way[2]
        one = shown(examples[way], received, now=now, removing=removing)
        phases[one.word] += count
        healthy += count * one.healthy
    return Counted(phases=phases, healthy=healthy)
