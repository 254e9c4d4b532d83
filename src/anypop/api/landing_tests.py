"""/anypop/v1/.../tests: a workload's anycast address asked from every vantage at once, kept and compared.

In: a workload of the caller's. Out: for each vantage the PoP where it landed, hits for each instance and seconds; and
the same beside an earlier test. Whoever may see the workload may test it: one test of an account at a time, and a
tenant one in some seconds, since all share the vantages. The asking is `probes`', the keeping `control.kept_tests`'.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.landing_tests import LandingTestAnswer, LandingTestRequest, LandingTests
from anypop.api.models.probes import ProbeRequest
from anypop.api.probes import probed
from anypop.control.kept_tests import KeptTests
from anypop.control.rates import TooMany
from anypop.control.refusals import Busy
from anypop.model.cities import beyond_nearest_km

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}/tests", tags=["probes"])

WorkloadRef = Annotated[str, Path(description="id or slug")]
TestRef = Annotated[str, Path(description="a test's id, or the beginning of it")]

TESTS_PER_S = 0.2  # of a tenant's account
FAR_KM = 1500.0  # as of the doctor: nearer than this it has nothing to mend

_SUMMARY = ("id", "at", "by", "address", "requests", "vantages", "asked", "answered", "astray", "instances", "seconds")


@router.post("")
@answers(LandingTestAnswer, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
async def run_test(
    workload_id: WorkloadRef,
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[LandingTestRequest, Depends(JsonBody(LandingTestRequest))],
) -> dict[str, Any]:
    """Test a workload's anycast address from every vantage, and keep what they saw."""
    declared = platform.workload(stack, workload_id)
    account = caller.account
    if account.id in platform.testing:
        raise Busy("a test of this account is under way: see it first")
    if not account.operator and (wait := platform.buckets.take(f"test {account.id}", TESTS_PER_S)):
        raise TooMany(f"an account may begin a test every {1 / TESTS_PER_S:g} s", wait)
    platform.testing.add(account.id)
    try:
        asked = ProbeRequest(workload=declared.id, stack=stack.id, requests=body.requests, family=body.family)
        began = platform.clock()
        seen = await probed(platform, caller, asked)
        test = {"id": str(uuid.uuid4()), "at": began, "by": caller.name, **_told(seen, body.requests)}
        await asyncio.to_thread(KeptTests(platform.core.store).keep, declared, test)
    finally:
        platform.testing.discard(account.id)
    return {"test": test}


@router.get("")
@answers(LandingTests)
async def list_tests(workload_id: WorkloadRef, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the tests of a workload that are kept, the newest first."""
    declared = platform.workload(stack, workload_id)
    found = await asyncio.to_thread(KeptTests(platform.core.store).listed, declared.id)
    return {"results": [_summary(test) for test in found]}


@router.get("/{test_id}")
@answers(LandingTestAnswer)
async def get_test(
    workload_id: WorkloadRef,
    test_id: TestRef,
    stack: CallerStack,
    platform: PlatformDep,
    against: Annotated[str, Query(description="an earlier test to compare it with")] = "",
) -> dict[str, Any]:
    """Get one test, beside another one where that is asked for."""
    declared = platform.workload(stack, workload_id)
    return {"test": await asyncio.to_thread(_beside, platform, declared.id, test_id, against)}


def _beside(platform: Platform, workload: Any, ref: str, against: str) -> dict[str, Any]:
    kept = KeptTests(platform.core.store)
    test = kept.one(workload, ref)
    if not against:
        return test
    other = kept.one(workload, against)
    return test | {"against": _summary(other), "compared": compared(other, test)}


def _summary(test: Mapping[str, Any]) -> dict[str, Any]:
    return {key: test[key] for key in _SUMMARY}


def _told(seen: Mapping[str, Any], requests: int) -> dict[str, Any]:
    """A probe's answer without its single requests, and its figures."""
    rows = [_row(row) for row in seen["results"]]
    hits: Counter[str] = Counter()
    for row in rows:
        hits.update(row["hits"])
    return {
        "address": seen["address"],
        "requests": requests,
        "vantages": len(rows),
        "asked": sum(row["asked"] for row in rows),
        "answered": sum(row["answered"] for row in rows),
        "astray": sum((row["extra_km"] or 0) > FAR_KM for row in rows),
        "instances": len(hits),
        "seconds": max((row["seconds"] for row in rows), default=0.0),
        "results": rows,
        "hits": dict(sorted(hits.items())),
    }


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    took = [one["seconds"] for one in row["answers"] if not one["error"]]
    kept = ("vantage", "city", "asn", "nearest", "pop", "asked", "answered", "seconds", "hits", "served", "carried")
    return {key: row[key] for key in kept if key in row} | {
        "extra_km": beyond_nearest_km(row["city"], row["pop"], row["nearest"]),
        "median_ms": round(median(took) * 1000, 3) if took else None,
        "errors": dict(sorted(Counter(row["errors"]).items())),
    }


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Vantage by vantage, those of either. One that was not asked, or got no answer, is not told as moved."""
    was, now = ({row["vantage"]: row for row in test["results"]} for test in (before, after))
    nothing: dict[str, Any] = {}
    rows = []
    for vantage in sorted({*was, *now}):
        old, new = was.get(vantage, nothing), now.get(vantage, nothing)
        row: dict[str, Any] = {"vantage": vantage, "before": old.get("pop"), "after": new.get("pop")}
        row["moved"] = None not in (row["before"], row["after"]) and row["before"] != row["after"]
        for key in ("extra_km", "median_ms", "answered"):
            row |= {f"{key}_before": old.get(key), f"{key}_after": new.get(key)}
        rows.append(row)
    return rows
