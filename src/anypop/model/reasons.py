"""Every reason a decision can have, in one enum.

Plan notes, agent reports, CLI `why`, logs and metrics all carry these values, so a reason means the same thing everywhere.
The value is the stable spelling for machines; `says` is the sentence for people.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something is as it is. Add a member together with its sentence in `_SAYS`."""

    # placement and plan
    NO_SUCH_POP = "no-such-pop"
    POP_FULL = "pop-full"
    NO_COVERING_PREFIX = "no-covering-prefix"
    SHARED_PREFIX = "shared-prefix"
    # instances
    SCHEDULED = "scheduled"
    PULLING = "pulling"
    PULL_FAILED = "pull-failed"
    CREATE_FAILED = "create-failed"
    STARTING = "starting"
    PROBE_PENDING = "probe-pending"
    PROBE_FAILED = "probe-failed"
    PROBE_PASSED = "probe-passed"
    EXITED = "exited"
    OUT_OF_MEMORY = "out-of-memory"
    BACK_OFF = "back-off"
    RUNNING = "running"
    STOPPING = "stopping"
    # announcements
    ANNOUNCED = "announced"
    WITHHELD = "withheld"
    NO_HEALTHY_INSTANCE = "no-healthy-instance"
    ROUTE_NOT_IN_KERNEL = "route-not-in-kernel"
    SESSION_DOWN = "session-down"
    DRAINING = "draining"
    FLOOR_HOLDS = "floor-holds"
    LAST_ANNOUNCER = "last-announcer"
    SUSPECT_MONITOR = "suspect-monitor"
    NOWHERE_BETTER = "nowhere-better"
    AWAITING_GRANT = "awaiting-grant"
    GRANTED = "granted"
    FLAP_COOLDOWN = "flap-cooldown"
    # orders
    STALE_GENERATION = "stale-generation"
    SHRINKS_WITHOUT_TOKEN = "shrinks-without-token"
    # verdicts
    NO_REPORT = "no-report"
    REPORT_STALE = "report-stale"
    DRIFTED = "drifted"

    @property
    def says(self) -> str:
        """The reason as a sentence part, for people."""
        return _SAYS[self]


_SAYS: dict[Reason, str] = {
    Reason.NO_SUCH_POP: "no PoP in that city",
    Reason.POP_FULL: "the PoP has no free address left",
    Reason.NO_COVERING_PREFIX: "no covering prefix is free for this set of PoPs",
    Reason.SHARED_PREFIX: "not announced here: another workload of the same covering prefix has no instance in this PoP",
    Reason.SCHEDULED: "waits for its PoP to report",
    Reason.PULLING: "its image is being pulled",
    Reason.PULL_FAILED: "its image cannot be pulled",
    Reason.CREATE_FAILED: "its container cannot be created",
    Reason.STARTING: "its process has been started",
    Reason.PROBE_PENDING: "has not answered its first probe yet",
    Reason.PROBE_FAILED: "does not answer its probe",
    Reason.PROBE_PASSED: "answers its probe",
    Reason.EXITED: "its process ended",
    Reason.OUT_OF_MEMORY: "it wanted more memory than it may have, and was ended",
    Reason.BACK_OFF: "waits before the next try",
    Reason.RUNNING: "runs and answers",
    Reason.STOPPING: "is being taken down",
    Reason.ANNOUNCED: "is announced",
    Reason.WITHHELD: "is withheld by the operator",
    Reason.NO_HEALTHY_INSTANCE: "no instance in this PoP is healthy",
    Reason.ROUTE_NOT_IN_KERNEL: "the local route is not in the kernel yet",
    Reason.SESSION_DOWN: "the BGP session is down",
    Reason.DRAINING: "is being drained",
    Reason.FLOOR_HOLDS: "kept announced: one PoP less would fall below the floor",
    Reason.LAST_ANNOUNCER: "kept announced: this is the last PoP that announces it",
    Reason.SUSPECT_MONITOR: "kept announced: more than half of the PoPs turned bad at once, so the monitor is suspect",
    Reason.NOWHERE_BETTER: "kept announced: no other PoP that announces it has a healthy instance either",
    Reason.AWAITING_GRANT: "wants to withdraw and waits for the governor's grant",
    Reason.GRANTED: "may withdraw",
    Reason.FLAP_COOLDOWN: "was unhealthy too often of late and cools down before it returns",
    Reason.STALE_GENERATION: "order refused: a newer generation was obeyed before",
    Reason.SHRINKS_WITHOUT_TOKEN: "order refused: it drops instances that nobody asked to delete",
    Reason.NO_REPORT: "this PoP has never reported",
    Reason.REPORT_STALE: "the last report is too old to trust",
    Reason.DRIFTED: "differs from its order",
}
