"""/anypop/v1/metrics/query: a chart of what the caller's instances use, over time.

In: a chart of the closed list, whose instances, from when to when. Out: curves, whether a store of metrics or the hosts
themselves told them, and how old the newest of it is. Control puts the caller's stacks in; no text of a caller becomes
a part of an expression but as an escaped value of a label.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.exposition import Charted
from anypop.control.accounts import Caller
from anypop.control.metrics.charts import BY, CHARTS, LONGEST_S, MOST_POINTS, Question, usual_step
from anypop.control.metrics.queries import answered
from anypop.control.refusals import NotFound
from anypop.model.errors import Invalid, Problem

router = APIRouter(prefix="/anypop/v1", tags=["platform"])

USUAL_S = 3600.0
AHEAD_S = 60.0  # clients' clocks differ
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")


async def parameters(
    *,
    chart: Annotated[str, Query(description=", ".join(CHARTS))] = "",
    stack: Annotated[str, Query(description="id or slug; default: all of the caller's")] = "",
    workload: Annotated[str, Query(description="id or slug; default: all")] = "",
    pop: Annotated[str, Query(description="the code of a city; default: all")] = "",
    instance: Annotated[str, Query(description="an instance's name; default: all")] = "",
    by: Annotated[str, Query(description=f"one curve for each: {', '.join(BY)}; default: workload")] = "",
    since: Annotated[
        str, Query(alias="from", description="RFC 3339, or seconds since the epoch; default: an hour ago")
    ] = "",
    until: Annotated[str, Query(alias="to", description="the same; default: now")] = "",
    step: Annotated[str, Query(description="seconds between two values; default: for some 240 of them")] = "",
) -> dict[str, str]:
    return {
        "chart": chart, "stack": stack, "workload": workload, "pop": pop, "instance": instance, "by": by,
        "from": since, "to": until, "step": step,
    }  # fmt: skip


@router.get("/metrics/query")
@answers(Charted, Code.NOT_FOUND)
async def query_metrics(
    caller: AskingCaller, platform: PlatformDep, asked: Annotated[dict[str, str], Depends(parameters)]
) -> dict[str, Any]:
    """Get a chart of the caller's own instances.

    `age`: of the newest sample, in seconds. `missing`: hosts that did not answer; what they measure is not in it.
    """
    question = _question(platform, caller, asked)
    found = await answered(
        question, hosts=platform.measured, store=platform.metrics_store, now=platform.clock(), account=caller.account.id
    )
    slugs = _Slugs.of(platform, caller)
    series = [{"labels": slugs.shown(one.labels), "points": [list(p) for p in one.points]} for one in found.curves]
    return {
        "chart": question.chart,
        "unit": CHARTS[question.chart].unit,
        "step": question.step,
        "source": found.source,
        **({} if found.age is None else {"age": round(found.age, 3)}),
        "missing": list(found.missing),
        "series": series,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slugs:
    """What people call the ids in labels; of what is gone the id itself."""

    stacks: Mapping[str, str]
    platform: Platform

    @staticmethod
    def of(platform: Platform, caller: Caller) -> "_Slugs":
        return _Slugs(stacks={one.id: one.slug for one in platform.stacks_of(caller)}, platform=platform)

    def shown(self, labels: Mapping[str, str]) -> dict[str, str]:
        found = dict(labels)
        if "workload" in found:
            declared = self.platform.core.state.workloads.get(found["workload"])  # type: ignore[call-overload]
            found["workload"] = declared.workload.slug if declared is not None else found["workload"]
        if "stack" in found:
            found["stack"] = self.stacks.get(found["stack"], found["stack"])
        return found


def _question(platform: Platform, caller: Caller, asked: Mapping[str, str]) -> Question:
    """What is asked. Raises `Invalid` with all that is wrong, and `NotFound`."""
    problems: list[Problem] = []
    now = platform.clock()
    by = asked["by"] or "workload"
    if asked["chart"] not in CHARTS:
        problems.append(Problem(path="chart", message=f"must be one of {', '.join(CHARTS)}"))
    if by not in BY:
        problems.append(Problem(path="by", message=f"must be one of {', '.join(BY)}"))
    pop, instance = asked["pop"].upper(), asked["instance"]
    if pop and pop not in platform.cities():
        problems.append(Problem(path="pop", message="is no PoP of this platform; see `anypop pops`"))
    if instance and (len(instance) > 253 or _NAME.fullmatch(instance) is None):
        problems.append(Problem(path="instance", message="must be an instance's name, like web-eu-ams-0"))
    until = _moment(asked["to"], "to", now, problems)
    since = _moment(asked["from"], "from", until - USUAL_S, problems)
    span = until - since
    if until > now + AHEAD_S:
        problems.append(Problem(path="to", message="is in the future"))
    if span <= 0:
        problems.append(Problem(path="from", message="must be before `to`"))
    if span > LONGEST_S:
        problems.append(Problem(path="from", message=f"lies more than {LONGEST_S / 86_400:g} days before `to`"))
    store = platform.metrics_store
    step = usual_step(max(span, 1.0), least=store.interval if store is not None else 1.0)
    if asked["step"]:
        step = float(asked["step"]) if _SECONDS.fullmatch(asked["step"]) else 0.0
        if not 1 <= step <= LONGEST_S:
            problems.append(Problem(path="step", message="must be seconds, 1 or more"))
        elif span / step > MOST_POINTS:
            least = -(-span // MOST_POINTS)
            problems.append(Problem(path="step", message=f"must be {least:g} or more for so long a time"))
    if problems:
        raise Invalid(problems)
    stacks = [platform.stack_of(caller, asked["stack"])] if asked["stack"] else platform.stacks_of(caller)
    workload = ""
    if asked["workload"]:
        found = [one for stack in stacks if (one := platform.core.state.find(stack.id, asked["workload"])) is not None]
        if not found:
            raise NotFound(f"no workload {asked['workload']}")
        workload, stacks = str(found[0].id), [stack for stack in stacks if stack.id == found[0].stack_id]
    if not stacks:
        raise NotFound("there is no stack of which to show anything")
    since = since - since % step  # so that the same moments are asked for again as time goes on
    return Question(
        chart=asked["chart"], stacks=tuple(str(stack.id) for stack in stacks), workload=workload, pop=pop,
        instance=instance, by=by, since=since, until=until, step=step,
    )  # fmt: skip


def _moment(text: str, path: str, default: float, problems: list[Problem]) -> float:
    if not text:
        return default
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        problems.append(Problem(path=path, message="must be seconds since the epoch, or like 2026-01-31T10:00:00Z"))
        return default
