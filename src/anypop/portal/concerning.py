"""What an event or an entry of the audit log is about: where a page of it stands, and what was changed. Pure.

In: entries as the API tells them, and the slugs of the stacks that whoever looks may see. Out: addresses of pages,
empty where there is none; and the members that differ between before and after, each with both values.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote

Data = Mapping[str, Any]

# the name of these events' subject is the workload's
_OF_WORKLOADS = (
    "workload-created", "workload-changed", "workload-deletion-asked", "scope-changed", "prefix-leaves", "dark",
    "dark-no-more", "rollout-begun", "rollout-wave", "rollout-running", "rollout-paused", "rollout-done",
    "rollout-reverted", "rollout-aborted", "rollout-superseded", "rollout-restored", "rollout-not-restored",
)  # fmt: skip
# and of these operations'
_WORKLOAD_ACTS = (
    "create_workload", "replace_workload", "merge_workload", "apply_workloads", "roll_back", "restart_workload",
    "replace_strategy", "run_test",
)  # fmt: skip
_ACCESS = {
    "users": ("set_role", "remove_user", "join_account", "accept_invitation", "reset_password"),
    "credentials": ("create_credential", "rotate_credential", "delete_credential"),
    "invitations": (
        "invite_user", "withdraw_invitation", "invite_to_new_account", "approve_request", "refuse_request",
        "request_account",
    ),
    "account": ("rename_account", "replace_stack_quota", "replace_account_quota"),
}  # fmt: skip
_PAGES = {
    **{act: f"/portal/access/{page}" for page, acts in _ACCESS.items() for act in acts},
    "replace_prices": "/portal/costs",
}
MOST_DIFFERENCES = 40
LONGEST_VALUE = 200


def page_of_event(event: Data, stacks: Mapping[str, str]) -> str:
    """`stacks`: slugs by id."""
    stack = stacks.get(str(event.get("stack_id")))
    workload = event["fields"].get("workload")
    if not workload and event["kind"] in _OF_WORKLOADS:
        workload = event["subject"]
    return _workload(stack, workload) if event["kind"] != "workload-gone" else ""


def page_of_act(entry: Data, stacks: Mapping[str, str]) -> str:
    """The same for an entry of the audit log."""
    if entry["operation"] in _WORKLOAD_ACTS:
        return _workload(stacks.get(str(entry.get("stack_id"))), entry["subject"])
    return _PAGES.get(entry["operation"], "")


def _workload(stack: str | None, slug: object) -> str:
    if not stack or not slug:
        return ""
    return f"/portal/stacks/{quote(stack, safe='')}/workloads/{quote(str(slug), safe='')}"


def differences(before: Any, after: Any) -> list[tuple[str, str, str]]:
    """(path, value before, value after) of what differs; empty texts for what was not there."""
    was, now = (_NONE if one is None else one for one in (before, after))
    return list(islice(_differing(was, now, ""), MOST_DIFFERENCES))


_NONE = object()


def _differing(before: Any, after: Any, path: str) -> Iterator[tuple[str, str, str]]:
    if before == after:
        return
    if isinstance(before, dict) or isinstance(after, dict):
        was = before if isinstance(before, dict) else {}
        now = after if isinstance(after, dict) else {}
        for key in sorted({*was, *now}, key=str):
            yield from _differing(was.get(key, _NONE), now.get(key, _NONE), f"{path}.{key}" if path else str(key))
        return
    yield path, _text(before), _text(after)


def _text(value: Any) -> str:
    if value is _NONE or isinstance(value, dict):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
