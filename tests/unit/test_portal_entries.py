"""What the portal tells of events, of the audit log and of limits: pure pieces, without any page."""

import pytest

from anypop.api.entitlements import OPERATIONS
from anypop.model.events import EventKind
from anypop.plan.quota import Quota
from anypop.portal import activity, concerning
from anypop.portal.access import limits


def test_every_kind_of_event_can_be_looked_for() -> None:
    named = [kind for kinds in activity.KINDS.values() for kind in kinds]
    assert sorted(named) == sorted(EventKind) and len(set(named)) == len(named)
    assert {*activity.LOUD, *concerning._OF_WORKLOADS} - {"refused"} <= set(EventKind)


def test_every_act_that_leads_somewhere_is_one_of_the_api() -> None:
    assert {*concerning._PAGES, *concerning._WORKLOAD_ACTS} <= OPERATIONS.keys()


def an_event(kind: str, subject: str, stack: str | None = "1", **fields: object) -> dict[str, object]:
    return {"kind": kind, "subject": subject, "stack_id": stack, "fields": fields}


def test_an_event_leads_to_its_workload() -> None:
    stacks = {"1": "shop"}
    leads = [
        concerning.page_of_event(event, stacks)
        for event in (
            an_event("workload-created", "web"), an_event("instance", "web-eu-ams-0", workload="web"),
            an_event("workload-created", "a/../b"), an_event("workload-gone", "web"),
            an_event("instance", "web-eu-ams-0", stack="2", workload="web"), an_event("session", "AMS", stack=None),
            an_event("instance", "web-eu-ams-0"),
        )
    ]  # fmt: skip
    web = "/portal/stacks/shop/workloads/web"
    assert leads == [web, web, "/portal/stacks/shop/workloads/a%2F..%2Fb", "", "", "", ""]


def test_only_what_differs_is_told() -> None:
    assert concerning.differences({"a": 1, "b": {"c": [1], "d": 2}}, {"a": 1, "b": {"c": [2], "e": None}}) == [
        ("b.c", "[1]", "[2]"), ("b.d", "2", ""), ("b.e", "", "null"),
    ]  # fmt: skip
    assert concerning.differences(None, {"name": "x"}) == [("name", "", "x")]
    assert concerning.differences("old", None) == [("", "old", "")]
    assert concerning.differences(None, None) == []
    long = concerning.differences({}, {str(n): "x" * 1000 for n in range(100)})
    assert len(long) == concerning.MOST_DIFFERENCES and all(len(now) <= 201 for _, _, now in long)


def test_every_limit_of_the_api_is_shown() -> None:
    assert sorted(name for name, *_ in limits.ROWS) == sorted(Quota.__dataclass_fields__)


@pytest.mark.parametrize(
    "quota",
    [
        {"cpu_millis": 1, "memory_bytes": 1}, {"cpu_millis": 123_456_789, "memory_bytes": (1 << 40) + 12345},
        {"instances": 0, "volume_bytes": 1 << 30}, {},
    ],
)  # fmt: skip
def test_a_limit_that_is_sent_back_is_the_same_one(quota: dict[str, int]) -> None:
    """To the byte: a form that is sent as it was shown changes nothing."""
    form = {row.name: row.field for row in limits.rows(quota, {})}
    assert limits.read(form) == (quota, [])


def test_use_is_told_beside_its_limit() -> None:
    rows = {r.name: r for r in limits.rows({"instances": 10, "stacks": 0}, {"instances": 9, "stacks": 2, "anycast": 1})}
    assert (rows["instances"].used, rows["instances"].share, rows["instances"].full) == ("9", 90, True)
    assert (rows["stacks"].share, rows["anycast"].share, rows["anycast"].most) == (100, None, "")
    assert "stacks" not in {r.name for r in limits.rows({}, {}, stack=True)}
    assert limits.read({"instances": "x", "cpu_millis": "nan", "stacks": "1e999"})[1]
