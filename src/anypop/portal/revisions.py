"""The revisions of a workload: what each changed, what going back to it would change, and the way back.

In: a workload, a revision. Out: parts of its page. What differs the API says; of a secret only that it does.
"""

from typing import Any

from starlette.responses import Response

from anypop.portal.calls import Refused
from anypop.portal.visit import Page, Visit, asked_again

MOST_SHOWN = 40  # fields that differ; the command line has all


async def listed(visit: Visit) -> Response:
    """The newest first."""
    stack, ref = visit.request.path_params["stack"], visit.request.path_params["workload"]
    found = await visit.api.get("anypop/v1/stacks", stack, "workloads", ref, "revisions")
    kept = list(reversed(found["results"]))
    return visit.page("revisions.html", stack=stack, slug=ref, revisions=kept)


async def changes(visit: Visit) -> Response:
    """What a revision changed, and what would change by going back to it."""
    at = visit.request.path_params
    newest = visit.request.query_params.get("newest", "")
    here = ("anypop/v1/stacks", at["stack"], "workloads", at["workload"], "revisions", at["revision"], "changes")
    made = await _or_none(visit, *here)
    back = await _or_none(visit, *here, since=newest) if newest.isdecimal() and newest != at["revision"] else None
    if back is not None:  # how many run where, and what it is called, stays as it is now
        back["changes"] = [one for one in back["changes"] if not one["path"].startswith(("targets.", "name"))]
    return visit.page("revision_changes.html", made=made, back=back, most=MOST_SHOWN)


async def _or_none(visit: Visit, *path: str, **query: str) -> Any:
    """None where there is nothing to compare it with any more."""
    try:
        return await visit.api.get(*path, **query)
    except Refused as refused:
        if refused.status != 404:
            raise
        await visit.api.get("workload/v1/stacks", *path[1:4])  # where the workload itself is gone, that is said
        return None


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/portal/stacks/{stack}/workloads/{workload}/revisions", asked_again(listed)),
    ("GET", "/portal/stacks/{stack}/workloads/{workload}/revisions/{revision}/changes", changes),
)
