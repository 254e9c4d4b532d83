"""The judge: what we make of all reports at one moment.

In: the plan, the last report of each PoP with the time it arrived, the time now, and the memory of earlier judgements. Out: a verdict
(what every face shows, with the grants that go into orders) and the new memory. Pure; it must not trust a report older than 15 s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anypop.model.announce import Prefix
from anypop.model.names import CityCode
from anypop.model.plan import Plan, PopVerdict, Verdict
from anypop.model.reasons import Reason
from anypop.model.report import Report

FRESH_S = 15.0  # three heartbeats of 5 s: one may be lost and one late


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A report and when it arrived, in seconds of control's own clock (the same clock as `now`)."""

    report: Report
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the judge must remember between two judgements. Control stores it with its orders and hands it back; it never looks inside."""

    granted: Mapping[tuple[CityCode, Prefix], int | None] = field(default_factory=dict)
    bad_since: Mapping[tuple[CityCode, Prefix], float] = field(default_factory=dict)
    announced: frozenset[Prefix] = frozenset()


def is_fresh(received: Received | None, now: float) -> bool:
    """Whether a report may be believed."""
    return received is not None and now - received.at <= FRESH_S


def judge(
    plan: Plan,
    reports: Mapping[CityCode, Received],
    *,
    now: float,
    history: History,
    generations: Mapping[CityCode, int],
) -> tuple[Verdict, History]:
    """The verdict and the memory for the next one. `generations`: of the newest order made for each PoP, sent or not."""
    pops = {}
    for pop in plan.pops:
        received = reports.get(pop)
        trusted = is_fresh(received, now)
        reason = Reason.RUNNING if trusted else Reason.NO_REPORT if received is None else Reason.REPORT_STALE
        pops[pop] = PopVerdict(pop=pop, trusted=trusted, reason=reason)
    return Verdict(pops=pops), history
