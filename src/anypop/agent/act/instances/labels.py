"""Labels on containers: what a later agent finds one by, and what it must know about the lives before this one. Pure.

In: the step that makes a container. Out: its labels; and back again, what they tell.
"""

from collections.abc import Mapping
from contextlib import suppress

from anypop.agent.decide.elements import Ending, Past
from anypop.agent.decide.steps import CreateContainer
from anypop.agent.naming import LABEL
from anypop.model.confinement import Confinement
from anypop.model.reasons import Reason


def labels_for(step: CreateContainer, *, prefix: str, pop: str, confinement: Confinement) -> dict[str, str]:
    """What the container is, and its past where there is one."""
    told = {
        "prefix": prefix,
        "pop": pop,
        "instance": step.instance.name,
        "uid": step.instance.uid,
        "workload": step.instance.workload_id,
        "template": step.instance.template,
        "revision": str(step.instance.revision),
        "generation": str(step.generation),
        "container": step.container.name,
        "confinement": confinement,
    }
    if any(c.name == step.container.name for c in step.instance.init):
        told["init"] = "true"
    if step.container.message_path:
        told["message-path"] = step.container.message_path
    if step.container.message_from_log:
        told["message-from-log"] = "true"
    if step.instance.restarts:
        told["asked-restarts"] = str(step.instance.restarts)
    if step.past.restarts:
        told["restarts"] = str(step.past.restarts)
    if step.past.last is not None:
        last = step.past.last
        told |= {
            "last-exit-reason": last.reason,
            "last-exit-code": _text(last.code),
            "last-finished-at": _text(last.at),
        }
        if last.message:
            told["last-message"] = last.message
    return {LABEL + key: value for key, value in told.items()}


def template_in(labels: Mapping[str, str]) -> str:
    """The template of what a container was made from; empty where an older version made it."""
    return labels.get(f"{LABEL}template", "")


def is_init(labels: Mapping[str, str]) -> bool:
    """Whether it is to end before others begin."""
    return f"{LABEL}init" in labels


def message_in(labels: Mapping[str, str]) -> tuple[str, bool]:
    """The file in which its process says why it ends, and whether its log may stand for it."""
    return labels.get(f"{LABEL}message-path", ""), f"{LABEL}message-from-log" in labels


def asked_in(labels: Mapping[str, str]) -> int:
    """How often somebody had asked for a restart when it was made."""
    with suppress(ValueError):
        return int(labels.get(f"{LABEL}asked-restarts", "0"))
    return 0


def confinement_in(labels: Mapping[str, str]) -> Confinement:
    """How a container was shut in."""
    with suppress(ValueError):
        return Confinement(labels.get(f"{LABEL}confinement", ""))
    return Confinement.OLDER


def past_in(labels: Mapping[str, str]) -> Past:
    """What a container's labels tell of its past. Labels that nobody can read tell nothing."""
    try:
        restarts = int(labels.get(f"{LABEL}restarts", "0"))
        reason = labels.get(f"{LABEL}last-exit-reason")
        if reason is None:
            return Past(restarts=restarts)
        code, at = labels.get(f"{LABEL}last-exit-code", ""), labels.get(f"{LABEL}last-finished-at", "")
        last = Ending(
            reason=Reason(reason),
            code=int(code) if code else None,
            at=float(at) if at else None,
            message=labels.get(f"{LABEL}last-message", ""),
        )
        return Past(restarts=restarts, last=last)
    except ValueError:
        return Past()


def _text(value: float | None) -> str:
    return "" if value is None else str(value)
