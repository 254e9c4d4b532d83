"""Events: everything that can happen on a platform, as a closed set.

Made by `control.history` from the difference of two states, kept by the store, told by the API. A kind is stable for
machines, and each kind has the same fields whenever it happens; the message is for people.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Field = str | int | bool | None


class EventKind(StrEnum):
    """What happened. The value is the stable spelling."""

    WORKLOAD_CREATED = "workload-created"
    WORKLOAD_CHANGED = "workload-changed"
    WORKLOAD_DELETION_ASKED = "workload-deletion-asked"
    WORKLOAD_GONE = "workload-gone"
    ROLLOUT_BEGUN = "rollout-begun"
    ROLLOUT_WAVE = "rollout-wave"
    ROLLOUT_RUNNING = "rollout-running"
    ROLLOUT_PAUSED = "rollout-paused"
    ROLLOUT_DONE = "rollout-done"
    ROLLOUT_REVERTED = "rollout-reverted"
    ROLLOUT_ABORTED = "rollout-aborted"
    ROLLOUT_SUPERSEDED = "rollout-superseded"
    ROLLOUT_RESTORED = "rollout-restored"
    ROLLOUT_NOT_RESTORED = "rollout-not-restored"
    DRAIN_BEGUN = "drain-begun"
    DRAIN_STAGE = "drain-stage"
    DRAIN_HELD = "drain-held"
    DRAINED = "drained"
    DRAIN_STUCK = "drain-stuck"
    DRAIN_RETURNS = "drain-returns"
    DRAIN_OVER = "drain-over"
    DIALLED = "dialled"
    SHEDS = "sheds"
    SCALED = "scaled"
    SCALING_HELD = "scaling-held"
    SCOPE_CHANGED = "scope-changed"
    NOT_PLANNED = "not-planned"
    PREFIX_SHARED = "prefix-shared"
    ORDER_ISSUED = "order-issued"
    ORDER_REFUSED = "order-refused"
    INSTANCE = "instance"
    INSTANCE_GONE = "instance-gone"
    ANNOUNCED = "announced"
    WITHDRAWN = "withdrawn"
    SESSION = "session"
    TUNNELS = "tunnels"
    POP_TRUSTED = "pop-trusted"
    POP_UNKNOWN = "pop-unknown"
    WITHDRAWAL_GRANTED = "withdrawal-granted"
    WITHDRAWAL_REFUSED = "withdrawal-refused"
    PREFIX_LEAVES = "prefix-leaves"
    DARK = "dark"
    DARK_NO_MORE = "dark-no-more"
    HOST_LOST = "host-lost"
    HOST_EVICTED = "host-evicted"
    HOST_BACK = "host-back"
    AGENT_RESTARTED = "agent-restarted"
    CONTROL_STARTED = "control-started"
    CERTIFICATE_RENEWED = "certificate-renewed"
    CERTIFICATE_NOT_RENEWED = "certificate-not-renewed"
    CERTIFICATE_ENDS = "certificate-ends"
    ALARM = "alarm"
    DRIFT = "drift"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `subject` is a name; `fields` are the facts of it, for programs; `stack_id`: whose it
    is, None: the operator's.
    """

    kind: EventKind
    subject: str
    message: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)
    stack_id: str | None = None
