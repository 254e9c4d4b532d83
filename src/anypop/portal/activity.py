"""What happened and who did what: the events and the audit log, page by page.

In: filters, and the entry at which a page begins. Out: pages of the API's entries, the newest first, each with a link
to what it is about. A filter is the API's own and always told; nothing is looked for among entries that were left out.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from anypop.portal import concerning
from anypop.portal.visit import Page, Visit

PAGE = 50
BASE = "/portal/activity"

# every kind of event, by what it is about
KINDS: Mapping[str, tuple[str, ...]] = {
    "Workloads": (
        "workload-created", "workload-changed", "workload-deletion-asked", "workload-gone", "instance",
        "instance-gone", "not-planned", "scaled", "scaling-held",
    ),
    "Rollouts": (
        "rollout-begun", "rollout-wave", "rollout-running", "rollout-paused", "rollout-done", "rollout-reverted",
        "rollout-aborted", "rollout-superseded", "rollout-restored", "rollout-not-restored",
    ),
    "Traffic": (
        "announced", "withdrawn", "session", "scope-changed", "dialled", "sheds", "drain-begun", "drain-stage",
        "drain-held", "drained", "drain-stuck", "drain-returns", "drain-over", "withdrawal-granted",
        "withdrawal-refused", "prefix-leaves", "prefix-shared", "dark", "dark-no-more", "tunnels",
    ),
    "Platform": (
        "pop-trusted", "pop-unknown", "host-lost", "host-evicted", "host-back", "agent-restarted", "control-started",
        "order-issued", "order-refused", "certificate-renewed", "certificate-not-renewed", "certificate-ends", "alarm",
        "drift", "error",
    ),
}  # fmt: skip
LOUD = frozenset(
    {
        "alarm", "error", "drift", "order-refused", "rollout-reverted", "host-lost", "pop-unknown", "not-planned",
        "rollout-not-restored", "certificate-not-renewed", "certificate-ends", "drain-stuck", "dark", "refused",
    }
)  # fmt: skip


async def events(visit: Visit) -> Response:
    query = visit.request.query_params
    asked = {name: query.get(name, "").strip() for name in ("kind", "stack", "text")}
    if asked["stack"] not in {one["slug"] for one in visit.stacks}:
        asked["stack"] = ""
    if asked["kind"] not in {kind for kinds in KINDS.values() for kind in kinds}:
        asked["kind"] = ""
    found = await _page(visit, "anypop/v1/events", asked)
    slugs = _slugs(visit)
    rows = [one | {"page": concerning.page_of_event(one, slugs)} for one in found.pop("entries")]
    return visit.page("activity.html", rows=rows, kinds=KINDS, loud=LOUD, asked=asked, at=BASE, **found)


async def audit(visit: Visit) -> Response:
    query = visit.request.query_params
    asked = {name: query.get(name, "").strip() for name in ("outcome", "actor", "operation", "text")}
    if asked["outcome"] not in ("done", "refused"):
        asked["outcome"] = ""
    found = await _page(visit, "anypop/v1/audit", asked)
    slugs = _slugs(visit)
    rows = [
        one
        | {
            "page": concerning.page_of_act(one, slugs),
            "differences": concerning.differences(one["before"], one["after"]),
        }
        for one in found.pop("entries")
    ]
    return visit.page("audit.html", rows=rows, loud=LOUD, asked=asked, at=f"{BASE}/audit", **found)


def _slugs(visit: Visit) -> dict[str, str]:
    return {str(one["id"]): str(one["slug"]) for one in visit.stacks}


async def _page(visit: Visit, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """The entries of a page, the newest first; and where those before and after it are."""
    filters: dict[str, object] = {name: value[:255] for name, value in asked.items() if value}
    query = visit.request.query_params
    below, above = _number(query.get("before", "")), _number(query.get("after", ""))
    limit = PAGE + 1  # one more than is shown tells whether there is another page
    if above and not below:
        found = (await visit.api.get(path, **filters, after=above, limit=limit, first="true"))["results"]
        if len(found) > PAGE:
            return _told(found[:PAGE], filters, earlier=True, later=True)
        below = 0  # the newest page is a full one
    found = (await visit.api.get(path, **filters, before=below, limit=limit))["results"]
    return _told(found[-PAGE:], filters, earlier=len(found) > PAGE, later=bool(below))


def _told(found: list[Any], filters: Mapping[str, object], *, earlier: bool, later: bool) -> dict[str, Any]:
    def at(**place: object) -> str:
        return "?" + urlencode({**filters, **place})

    return {
        "entries": found[::-1],
        "filters": filters,
        "earlier": at(before=found[0]["id"]) if earlier and found else "",
        "later": at(after=found[-1]["id"]) if later and found else "",
        "newest": at() if later else "",
    }


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else 0


PAGES: tuple[tuple[str, str, Page], ...] = (("GET", BASE, events), ("GET", f"{BASE}/audit", audit))
