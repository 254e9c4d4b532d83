"""Answers a chart: from the store of metrics, or from what hosts keep themselves.

In: a question whose stacks are the caller's own, the hosts, the store if there is one. Out: curves, where they come
from, how old the newest of it is, and who did not answer. What is finer than the store scrapes is asked of the hosts,
and so is everything while the store is away. It decides nothing.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from anypop.control.metrics.charts import CHARTS, Question, promql, selector, tier_for
from anypop.control.metrics.hosts import MeasuredHosts
from anypop.control.metrics.lives import Labels
from anypop.control.metrics.resampling import Curve, curves
from anypop.control.refusals import Refused
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import HostName
from anypop.model.streams import SamplesRequest

if TYPE_CHECKING:
    from anypop.control.metrics.store import MetricsStore

log = logging.getLogger("anypop.control")

LIVE_S = 3600.0  # for so long hosts keep each second


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """`age`: of the newest sample in it, in seconds; None: there is none. `missing`: who does not answer, and why."""

    curves: list[Curve]
    source: Literal["store", "agents"]
    age: float | None
    missing: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Asked:
    """What hosts told of one question."""

    points: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    labels: dict[str, Labels] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


async def answered(
    question: Question, *, hosts: MeasuredHosts, store: "MetricsStore | None", now: float, account: str
) -> Answered:
    """`account`: in whose name hosts are asked."""
    is_live = store is not None and question.step < store.interval and question.since >= now - LIVE_S
    if store is None or is_live:
        live = await of_hosts(question, hosts=hosts, now=now, account=account)
        if store is None or live.curves or not live.missing:
            return live
    try:
        found = await store.curves(
            promql(question, store.interval), since=question.since, until=question.until, step=question.step
        )
        age = None
        if found:
            newest = await store.values(f"max(timestamp({selector(CHARTS[question.chart].name, question)}))")
            last = max(curve.points[-1][0] for curve in found if curve.points)
            age = max(0.0, now - (newest[0][1] if newest else last))
    except WorldError as error:
        log.warning("charts come from the hosts: %s", error)
        return await of_hosts(
            question, hosts=hosts, now=now, account=account, missing=["the store of metrics does not answer"]
        )
    return Answered(curves=[_shown(one, question) for one in found], source="store", age=age)


def _shown(curve: Curve, question: Question) -> Curve:
    """A label that is empty is none for a store."""
    return Curve(labels={name: curve.labels.get(name, "") for name in question.labels}, points=curve.points)


async def of_hosts(
    question: Question, *, hosts: MeasuredHosts, now: float, account: str, missing: Collection[str] = ()
) -> Answered:
    """From what hosts keep."""
    tier = tier_for(question.step, now - question.since)
    window = question.window_s(tier)
    wanted = hosts.lives.matching(
        hosts.core.state, question.stacks, workload=question.workload, pop=question.pop, instance=question.instance
    )
    found = _Asked(missing=list(missing))
    await asyncio.gather(
        *(
            _ask(found, hosts, host, lives, question, tier=tier, window=window, account=account)
            for host, lives in wanted.items()
        )
    )
    series = [(found.labels[key], sorted(points)) for key, points in found.points.items()]
    made = await asyncio.to_thread(curves, series, question, window)
    newest = max((points[-1][0] for _, points in series if points), default=None)
    return Answered(
        curves=made,
        source="agents",
        age=None if newest is None else max(0.0, now - newest),
        missing=tuple(sorted(found.missing)),
    )


async def _ask(
    found: _Asked, hosts: MeasuredHosts, host: HostName, lives: Mapping[str, Labels], question: Question, *,
    tier: float, window: float, account: str,
) -> None:  # fmt: skip
    wanted = SamplesRequest(
        since=question.since - window, until=question.until, step_s=tier, names=(CHARTS[question.chart].name,),
        uids=tuple(lives),
    )  # fmt: skip
    try:
        async for series in hosts.samples(host, wanted, account):
            labels = dict(series.labels)
            # of what was asked for alone, whatever it tells
            if series.name == wanted.names[0] and labels.get("incarnation") in lives:
                key = repr(series.labels)
                found.labels[key] = labels
                found.points[key] += series.points
    except (Refused, WorldError, Invalid) as error:
        why = error.why if isinstance(error, WorldError) else error  # what was tried is known: it was asked
        found.missing.append(f"host {host}: {why}")
