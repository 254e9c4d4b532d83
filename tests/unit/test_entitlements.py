"""The table of who may do what: complete, and weakened by nobody who does not change this file as well."""

from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from anypop.api import context
from anypop.api.app import ROUTERS
from anypop.api.entitlements import OPERATIONS, Reach, refuse_unknown
from anypop.api.entitlements_page import page
from anypop.api.openapi import dependencies
from anypop.control.roles import Role, Scope, effective

ROUTES = {r.name: r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)}
SOCKETS = {"run_command", "forward_port", "open_console"}  # no part of the description: connections, not requests
ASK = {
    "quote_workload", "plan_workload", "plan_workloads", "preview_change", "probe", "predict_landings",
    "propose_repairs", "plan_repair", "run_test", "explain_routes", "predict_plan",
}  # fmt: skip
OF_ONESELF = {"sign_out", "change_password", "join_account", "make_sign_in_link"}
OF_OWNERS = {
    "replace_prices", "replace_account_quota", "replace_stack_quota", "give_join_token", "revoke_host",
    "prune_audit", "replace_network", "create_account", "rename_account", "set_role", "remove_user", "reset_password",
    "delete_account", "suspend_account", "resume_account",
    "list_invitations", "invite_user", "withdraw_invitation", "invite_to_new_account", "approve_request",
    "refuse_request",
}  # fmt: skip
BY_A_PROVIDER = {"begin_oidc_sign_in", "finish_oidc_sign_in", "collect_oidc_sign_in"}
OPEN = BY_A_PROVIDER | {
    "issue_token",
    "sign_in",
    "use_sign_in_link",
    "accept_invitation",
    "request_account",
    "get_health",
}
OF_IMAGES = {"get_image_file", "list_image_holders", "check_image_taker"}
WITHOUT_ROLE = OPEN | OF_IMAGES | {"sign_certificate", "get_order", "take_report", "take_sources"}


def named(**wanted: object) -> set[str]:
    return {name for name, rule in OPERATIONS.items() if all(getattr(rule, k) == v for k, v in wanted.items())}


def test_every_operation_has_a_row_and_every_row_an_operation() -> None:
    """A new one without is not served at all."""
    assert OPERATIONS.keys() == ROUTES.keys() | SOCKETS
    with pytest.raises(LookupError, match="get_order"):
        known = dict(OPERATIONS)
        del known["get_order"]
        refuse_unknown(ROUTERS, known)


def test_a_viewer_changes_nothing_and_reads_all() -> None:
    """But for its own sign-in; what only asks is a POST where the question is long."""
    changing = {name for name, route in ROUTES.items() if route.methods != {"GET"}} | SOCKETS
    assert named(role=Role.VIEWER) & changing == ASK | OF_ONESELF
    assert ROUTES.keys() - changing - named(role=Role.VIEWER) == OF_IMAGES | {
        "get_health", "get_order", "get_initial_password", "list_invitations", "begin_oidc_sign_in",
        "finish_oidc_sign_in",
    }  # fmt: skip


def test_what_is_for_owners_and_for_nobody() -> None:
    assert named(role=Role.OWNER) == OF_OWNERS
    assert named(role=None) == WITHOUT_ROLE
    for name in ROUTES.keys() - WITHOUT_ROLE:
        assert context.caller_of in dependencies(ROUTES[name].endpoint), f"{name} does not ask who it is"
    for name in WITHOUT_ROLE:
        assert context.caller_of not in dependencies(ROUTES[name].endpoint)


def test_what_stands_in_a_stack_says_so() -> None:
    """A credential for one stack is held to the stack of the path; where there is none it is narrowed or refused."""
    in_stacks = {name for name, route in ROUTES.items() if "{stack_id}" in route.path} | SOCKETS
    assert named(reach=Reach.STACK) == in_stacks
    assert named(reach=Reach.NARROWED) == {
        "list_stacks", "list_events", "watch_events", "get_usage", "get_costs", "get_address_owner",
        "probe", "explain_landing", "predict_landings", "propose_repairs", "query_metrics", "get_objectives",
        "list_drains", "get_drain", "watch_drain", "begin_drain", "undrain", "list_dials", "watch_dials", "set_dial",
        "explain_routes",
    }  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
def test_no_scope_gives_more_than_the_role(role: Role) -> None:
    for scope in Scope:
        for one_stack in (True, False):
            found = effective(role, scope, one_stack=one_stack)
            assert role.holds(found)
            assert found is Role.VIEWER or scope is Scope.WRITE
            assert found is not Role.OWNER or not one_stack
    assert effective(role, Scope.WRITE, one_stack=False) is role


def test_the_page_is_the_one_that_the_table_writes_today() -> None:
    """After a change: `python -m anypop.api.entitlements_page > docs/entitlements.md`."""
    assert (Path(__file__).parents[2] / "docs" / "entitlements.md").read_text(encoding="utf-8") == page()
