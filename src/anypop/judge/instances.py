"""What may be shown of one instance: its phase, whether it is healthy, and why.

In: the instance's name and uid, the last report of its PoP and when that arrived. Out: `Shown`, read alike by API, CLI
and metrics. Unknown is never healthy: of a PoP that has gone silent nothing is claimed.
"""

from dataclasses import dataclass

from anypop.judge.verdict import Received, is_fresh
from anypop.model.names import InstanceName
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, InstanceReport, Phase


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


def shown(name: InstanceName, uid: str, received: Received | None, *, now: float, removing: bool = False) -> Shown:
    """How the instance stands. `removing`: its removal was ordered and its PoP has not yet reported it gone."""
    found = None
    if received is not None:
        found = next((i for i in received.report.instances if i.uid == uid and i.name == name), None)
    return shown_by(found, received, now=now, removing=removing)


def shown_by(found: InstanceReport | None, received: Received | None, *, now: float, removing: bool = False) -> Shown:
    """The same for whoever has looked already for what the report says of it."""
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
