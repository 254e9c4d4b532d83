"""Every reason a decision can have, in one enum.

Plan notes, agent reports, CLI `why`, logs and metrics all carry these values, so a reason means the same thing
everywhere. The value is the stable spelling for machines; `says` is the sentence for people.
"""

import re
from enum import StrEnum

_SPELT = re.compile("[a-z]+(-[a-z]+){0,9}")


class Reason(StrEnum):
    """Why something is as it is. Add a member together with its sentence in `_SAYS`."""

    # placement and plan
    NO_SUCH_POP = "no-such-pop"
    POP_FULL = "pop-full"
    NO_COVERING_PREFIX = "no-covering-prefix"
    SHARED_PREFIX = "shared-prefix"
    NO_ROOM = "no-room"
    OVER_QUOTA = "over-quota"
    NO_MACHINES = "no-machines"
    OLDER_AGENT = "older-agent"
    # removals
    WORKLOAD_DELETED = "workload-deleted"
    TARGET_REMOVED = "target-removed"
    CITY_REMOVED = "city-removed"
    SCALED_DOWN = "scaled-down"
    SUPERSEDED = "superseded"
    REPLACED = "replaced"
    REVERTED = "reverted"
    FORGOTTEN = "forgotten"
    HOST_EVICTED = "host-evicted"
    HOST_LOST = "host-lost"
    # rollouts
    ROLLING_OUT = "rolling-out"
    BAKING = "baking"
    ROLLED_OUT = "rolled-out"
    OVERTAKEN = "overtaken"
    PAUSED = "paused"
    DOES_NOT_START = "does-not-start"
    DOES_NOT_BECOME_HEALTHY = "does-not-become-healthy"
    RESTARTS = "restarts"
    VANTAGES_WORSE = "vantages-worse"
    NOT_AS_PREDICTED = "not-as-predicted"
    ASKED_BY_OPERATOR = "asked-by-operator"
    WAITS_FOR_ROOM = "waits-for-room"
    # autoscaling
    LOAD_ROSE = "load-rose"
    LOAD_FELL = "load-fell"
    LOAD_STEADY = "load-steady"
    LOAD_UNKNOWN = "load-unknown"
    AT_MOST_REPLICAS = "at-most-replicas"
    SCALING_HELD = "scaling-held"
    # volumes
    WAITS_FOR_VOLUME = "waits-for-volume"
    VOLUME_STAYS = "volume-stays"
    VOLUME_LOST = "volume-lost"
    # disks of virtual machines
    DISK_STAYS = "disk-stays"
    # addresses that are claimed
    WAITS_FOR_ADDRESS = "waits-for-address"
    ADDRESS_STAYS = "address-stays"
    # drains
    COUNTING = "counting"
    LOWERED = "lowered"
    DECAYING = "decaying"
    NOT_EXPORTED = "not-exported"
    EMPTYING = "emptying"
    DRAINED = "drained"
    RETURNING = "returning"
    UNDRAINED = "undrained"
    DEADLINE_PASSED = "deadline-passed"
    # dials
    DIALLED = "dialled"
    UNDIALLED = "undialled"
    SHEDS = "sheds"
    DIAL_WAITS = "dial-waits"
    NOBODY_TAKES = "nobody-takes"
    NO_BACKBONE = "no-backbone"
    # instances
    SCHEDULED = "scheduled"
    PULLING = "pulling"
    PULL_FAILED = "pull-failed"
    CREATE_FAILED = "create-failed"
    STARTING = "starting"
    PROBE_PENDING = "probe-pending"
    PROBE_FAILED = "probe-failed"
    RESTART_ASKED = "restart-asked"
    MOVING = "moving"
    HOOK_FAILED = "hook-failed"
    INITIALIZING = "initializing"
    COMPLETED = "completed"
    PROBE_PASSED = "probe-passed"
    NOT_ASKED = "not-asked"
    EXITED = "exited"
    OUT_OF_MEMORY = "out-of-memory"
    OUT_OF_DISK = "out-of-disk"
    BACK_OFF = "back-off"
    RUNNING = "running"
    STOPPING = "stopping"
    POWERED_OFF = "powered-off"
    RESCUED = "rescued"
    # announcements
    ANNOUNCED = "announced"
    WITHHELD = "withheld"
    NO_HEALTHY_INSTANCE = "no-healthy-instance"
    FAMILY_SILENT = "family-silent"
    NOT_CARRIED = "not-carried"
    ROUTE_NOT_IN_KERNEL = "route-not-in-kernel"
    SESSION_DOWN = "session-down"
    SETTLES = "settles"
    DRAINING = "draining"
    FLOOR_HOLDS = "floor-holds"
    LAST_ANNOUNCER = "last-announcer"
    SUSPECT_MONITOR = "suspect-monitor"
    NOWHERE_BETTER = "nowhere-better"
    AWAITING_GRANT = "awaiting-grant"
    GRANTED = "granted"
    FLAP_COOLDOWN = "flap-cooldown"
    DARK = "dark"
    # orders
    STALE_GENERATION = "stale-generation"
    SHRINKS_WITHOUT_TOKEN = "shrinks-without-token"
    # verdicts
    NO_REPORT = "no-report"
    REPORT_STALE = "report-stale"
    DRIFTED = "drifted"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> "Reason | None":
        """One that a newer version gives: nothing follows from its name alone, so an order, a report or an answer is
        not refused for it.
        """
        return cls.OTHER if isinstance(value, str) and _SPELT.fullmatch(value) else None

    @property
    def says(self) -> str:
        """The reason as a sentence part, for people."""
        return _SAYS[self]


_SAYS: dict[Reason, str] = {
    Reason.NO_SUCH_POP: "no PoP in that city",
    Reason.POP_FULL: "the PoP has no free address left",
    Reason.NO_COVERING_PREFIX: "no covering prefix is free for this account and this set of PoPs",
    Reason.SHARED_PREFIX: "not announced here: another workload of the same covering prefix has no instance in this "
    "PoP",
    Reason.NO_ROOM: "no host of the PoP has room for it",
    Reason.OVER_QUOTA: "the quota is used up",
    Reason.NO_MACHINES: "no host in reach can run virtual machines",
    Reason.OLDER_AGENT: "its host's agent is of an older version, which does not know all of it: that is held back",
    Reason.WORKLOAD_DELETED: "its workload was deleted",
    Reason.TARGET_REMOVED: "its target was taken away",
    Reason.CITY_REMOVED: "its city was taken out of the target",
    Reason.SCALED_DOWN: "the target asks for fewer in each city",
    Reason.SUPERSEDED: "a newer incarnation serves in its place",
    Reason.REPLACED: "makes room for a newer incarnation",
    Reason.REVERTED: "its revision was taken back",
    Reason.FORGOTTEN: "control knows nothing of it since its store was lost or restored, and its host was reset",
    Reason.HOST_EVICTED: "its host was evicted",
    Reason.HOST_LOST: "its host is lost",
    Reason.ROLLING_OUT: "is being changed",
    Reason.BAKING: "has changed and is watched for a while",
    Reason.ROLLED_OUT: "is through everywhere",
    Reason.OVERTAKEN: "a newer one took its place",
    Reason.PAUSED: "is paused",
    Reason.DOES_NOT_START: "a changed instance does not start",
    Reason.DOES_NOT_BECOME_HEALTHY: "a changed instance does not become healthy in time",
    Reason.RESTARTS: "a changed instance ended and had to be started again",
    Reason.VANTAGES_WORSE: "vantages get worse answers than before",
    Reason.NOT_AS_PREDICTED: "vantages do not land as predicted",
    Reason.ASKED_BY_OPERATOR: "asked for by a person",
    Reason.WAITS_FOR_ROOM: "waits: the host has no room for two, and taking the old one first would take it out of "
    "service",
    Reason.LOAD_ROSE: "has more instances: their use of processor was above the threshold",
    Reason.LOAD_FELL: "has fewer instances: their use of processor has been well below the threshold",
    Reason.LOAD_STEADY: "has as many instances as their use of processor asks for",
    Reason.LOAD_UNKNOWN: "is left as it is, since it is not known what its instances use",
    Reason.AT_MOST_REPLICAS: "is above the threshold, and has as many instances as it may",
    Reason.SCALING_HELD: "is left as it is for now, although its load asks for another number",
    Reason.WAITS_FOR_VOLUME: "waits for its volume",
    Reason.VOLUME_STAYS: "stays where its volume is: a volume does not travel to another host",
    Reason.VOLUME_LOST: "waits for the host that has its volume; volume release lets that go, with what is in it",
    Reason.DISK_STAYS: "stays where its root disk is: it is mended, or it is off and its disk cannot go alone",
    Reason.WAITS_FOR_ADDRESS: "waits for the address that it claims",
    Reason.ADDRESS_STAYS: "stays where the address is that it claims: that is bound to its host",
    Reason.COUNTING: "has its traffic counted, so that it can be seen to go",
    Reason.LOWERED: "is told at the lowest preference, so that its traffic goes elsewhere",
    Reason.DECAYING: "waits for its traffic to go elsewhere",
    Reason.NOT_EXPORTED: "waits until that is what its hosts really export",
    Reason.EMPTYING: "waits for its last flows, and for its instances to live elsewhere",
    Reason.DRAINED: "is drained: a person took its traffic away",
    Reason.RETURNING: "comes back, stage by stage",
    Reason.UNDRAINED: "is back, as it was",
    Reason.DEADLINE_PASSED: "was not through at its deadline, and nothing was done by force",
    Reason.DIALLED: "sends a part of its new connections to other PoPs, as it is dialled",
    Reason.UNDIALLED: "keeps all of its new connections",
    Reason.SHEDS: "is above its set load, and sends a part of its new connections to other PoPs",
    Reason.DIAL_WAITS: "waits until its hosts have told that they do it",
    Reason.NOBODY_TAKES: "serves all of it, since nobody in another PoP can take it now",
    Reason.NO_BACKBONE: "serves all of it, since there is no backbone",
    Reason.SCHEDULED: "waits for its PoP to report",
    Reason.PULLING: "its image is being pulled",
    Reason.PULL_FAILED: "its image cannot be pulled",
    Reason.CREATE_FAILED: "its container cannot be created",
    Reason.STARTING: "its process has been started",
    Reason.MOVING: "its virtual machine changes hosts: while it runs, or, of one that is off, its root disk",
    Reason.PROBE_PENDING: "has not answered its first probe yet",
    Reason.PROBE_FAILED: "does not answer its probe",
    Reason.RESTART_ASKED: "somebody asked that it be started anew",
    Reason.HOOK_FAILED: "its postStart hook failed",
    Reason.INITIALIZING: "waits for its init containers",
    Reason.COMPLETED: "its process ended as it should",
    Reason.PROBE_PASSED: "answers its probe",
    Reason.NOT_ASKED: "runs; nobody has asked whether it answers",
    Reason.EXITED: "its process ended",
    Reason.OUT_OF_MEMORY: "its process was ended for using more memory than it may",
    Reason.OUT_OF_DISK: "its process was ended for writing more than it may while its host's disk was nearly full",
    Reason.BACK_OFF: "waits before the next try",
    Reason.RUNNING: "runs and answers",
    Reason.STOPPING: "is being taken down",
    Reason.POWERED_OFF: "somebody has powered it off",
    Reason.RESCUED: "was started with another image to be mended, and gets no traffic",
    Reason.ANNOUNCED: "is announced",
    Reason.WITHHELD: "is withheld by the operator",
    Reason.NO_HEALTHY_INSTANCE: "no instance in this PoP is healthy",
    Reason.FAMILY_SILENT: "its instances do not answer in this family",
    Reason.NOT_CARRIED: "an address of it is neither served here nor carried from here",
    Reason.ROUTE_NOT_IN_KERNEL: "the local route is not in the kernel yet",
    Reason.SESSION_DOWN: "the BGP session is down",
    Reason.SETTLES: "came back a moment ago, and is announced when it has been well for a while",
    Reason.DRAINING: "is being drained",
    Reason.FLOOR_HOLDS: "kept announced: one PoP less would fall below the floor",
    Reason.LAST_ANNOUNCER: "kept announced: this is the last PoP that announces it",
    Reason.SUSPECT_MONITOR: "kept announced: more than half of the PoPs turned bad at once, so the monitor is suspect",
    Reason.NOWHERE_BETTER: "kept announced: no other PoP that announces it has a healthy instance either",
    Reason.AWAITING_GRANT: "wants to withdraw and waits for the governor's grant",
    Reason.GRANTED: "may withdraw",
    Reason.FLAP_COOLDOWN: "was unhealthy or lost too often of late and cools down before it returns",
    Reason.DARK: "dark here: announced for others of its prefix, has never answered in this PoP itself",
    Reason.STALE_GENERATION: "order refused: a newer generation was obeyed before",
    Reason.SHRINKS_WITHOUT_TOKEN: "order refused: it drops instances that nobody asked to delete",
    Reason.NO_REPORT: "this PoP has never reported",
    Reason.REPORT_STALE: "the last report is too old to trust",
    Reason.DRIFTED: "differs from its order",
    Reason.OTHER: "for a reason that this version does not know",
}
