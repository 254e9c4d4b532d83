"""Where the time of a deployment went, from its acceptance to the first neighbour that has it.

In: the state and a workload. Out: for each of its instances the steps with their times, by whose clock, and how far the
clocks of hosts run from control's; and how far the deployment has come. Control knows acceptance, plan and order; the
rest comes with reports. It measures nothing.
"""

from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from anypop.control.state import Declaration, Placed, State
from anypop.judge.verdict import Received
from anypop.model.names import HostName
from anypop.model.report import Milestone, Reached


def timeline(state: State, declared: Declaration) -> dict[str, Any]:
    """The answer. Times of a host are set against control's by what its last report tells of its clock."""
    placed = sorted(state.incarnations_of(declared.id).values(), key=lambda p: (p.incarnation.name, p.incarnation.life))
    hosts = sorted({p.incarnation.host for p in placed})
    ahead = {host: _ahead_s(state.reports.get(host)) for host in hosts}
    accepted = {r.number: r.created_at for r in (*state.revisions_of(declared.id).values(), declared.newest)}
    return {
        "workload": declared.workload.slug,
        "revision": declared.version,
        "acceptedAt": _moment(declared.newest.created_at),
        "instances": [_instance(state, one, accepted, ahead[one.incarnation.host]) for one in placed],
        "clocks": [{"host": host, "ahead_ms": _ms(s)} for host, s in ahead.items() if s is not None],
    }


def _instance(state: State, placed: Placed, accepted: dict[int, float], ahead_s: float | None) -> dict[str, Any]:
    life = placed.incarnation
    # what touches no process is a later revision of an incarnation that was planned before
    begun = min(accepted.get(life.revision, placed.created_at), placed.created_at)
    reached = _reached(state, life.host, life.uid)
    steps = [_step("accepted", begun, "control", begun), _step("planned", placed.created_at, "control", begun)]
    steps += [_step(one.milestone.value, one.at, life.host, begun + (ahead_s or 0.0)) for one in reached]
    return {
        "name": life.name,
        "uid": life.uid,
        "host": life.host,
        "revision": life.revision,
        "complete": any(one.milestone is Milestone.TOLD for one in reached),
        "steps": steps,
    }


def _reached(state: State, host: HostName, uid: str) -> tuple[Reached, ...]:
    received = state.reports.get(host)
    found = (i.milestones for i in received.report.instances if i.uid == uid) if received is not None else ()
    return next(iter(found), ())


def _ahead_s(received: Received | None) -> float | None:
    """How far the host's clock runs before control's; None: it has told nothing yet."""
    return received.report.at - received.at if received is not None else None


def _step(step: str, at: float, by: str, begun: float) -> dict[str, Any]:
    return {"step": step, "at": _moment(at), "by": by, "after_ms": _ms(at - begun)}


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def made_by_newest(state: State, declared: Declaration) -> list[Placed]:
    """The incarnations that the newest revision brought: those that were planned since it was accepted."""
    begun = declared.newest.created_at
    return [one for one in state.incarnations_of(declared.id).values() if one.created_at >= begun]


class Progress(Enum):
    """How far a deployment has come: all that the newest revision brings serves, and neighbours were told of it."""

    UNDER_WAY = auto()
    SERVES = auto()
    TOLD = auto()


def progress(state: State, declared: Declaration) -> Progress:
    """Of the newest revision."""
    if state.rollout_of(declared.id) is not None:
        return Progress.UNDER_WAY
    if len(state.incarnations_of(declared.id)) < state.count_of(declared.workload):
        return Progress.UNDER_WAY  # somebody has no place yet
    lives = [one.incarnation for one in made_by_newest(state, declared)]
    reached = [{one.milestone for one in _reached(state, life.host, life.uid)} for life in lives]
    if all(Milestone.TOLD in one for one in reached):
        return Progress.TOLD
    return Progress.SERVES if all(Milestone.ROUTED in one for one in reached) else Progress.UNDER_WAY
