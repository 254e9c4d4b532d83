"""Who may do what: each operation of the API, with the role that it needs and what it has to do with a single stack.

In: the name of an operation, and who asks. Out: nothing, or a refusal. This is the one place where it is said: an
operation without a row is not served (`app` refuses to start), and a test calls every one of them with every role. What
is the operator's alone is said by the dependency `operator_of`; in the operator's own account the roles of this table
count.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from fastapi import APIRouter
from fastapi.routing import APIRoute

from anypop.control.accounts import Caller
from anypop.control.refusals import Forbidden, NotFound
from anypop.control.roles import Role, Scope


class Reach(Enum):
    """What a credential that is for one stack alone has of an operation."""

    STACK = "the path names a stack: that one, and others are not there"
    NARROWED = "what it answers and does is narrowed to the stack and what is in it"
    ALL = "it tells or does nothing of any account"
    NONE = "it is about the account: refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`role`: None where nobody has to sign in, or an agent asks with a key of its own."""

    role: Role | None
    reach: Reach = Reach.NONE


_OPEN = Rule(role=None)
_SEE, _SEE_STACK = Rule(role=Role.VIEWER), Rule(role=Role.VIEWER, reach=Reach.STACK)
_SEE_ALL, _SEE_NARROWED = Rule(role=Role.VIEWER, reach=Reach.ALL), Rule(role=Role.VIEWER, reach=Reach.NARROWED)
_EDIT, _EDIT_STACK = Rule(role=Role.EDITOR), Rule(role=Role.EDITOR, reach=Reach.STACK)
_EDIT_NARROWED = Rule(role=Role.EDITOR, reach=Reach.NARROWED)
_OWN = Rule(role=Role.OWNER)

OPERATIONS: Mapping[str, Rule] = {
    # signing in
    "issue_token": _OPEN,
    "sign_in": _OPEN,
    "begin_oidc_sign_in": _OPEN,
    "finish_oidc_sign_in": _OPEN,
    "collect_oidc_sign_in": _OPEN,
    "use_sign_in_link": _OPEN,
    "make_sign_in_link": _SEE_ALL,
    "sign_out": _SEE_ALL,
    "who_am_i": _SEE_ALL,
    "change_password": _SEE_ALL,
    "list_credentials": _SEE,
    "get_credential": _SEE,
    "create_credential": _EDIT,
    "rotate_credential": _EDIT,
    "delete_credential": _EDIT,
    # accounts, their users, invitations
    "list_accounts": _SEE,
    "create_account": _OWN,
    "get_account": _SEE,
    "rename_account": _OWN,
    "delete_account": _OWN,
    "suspend_account": _OWN,
    "resume_account": _OWN,
    "list_users": _SEE,
    "get_user": _SEE,
    "set_role": _OWN,
    "remove_user": _OWN,
    "reset_password": _OWN,
    "list_invitations": _OWN,
    "invite_user": _OWN,
    "withdraw_invitation": _OWN,
    "list_open_invitations": _SEE,
    "invite_to_new_account": _OWN,
    "approve_request": _OWN,
    "refuse_request": _OWN,
    "accept_invitation": _OPEN,
    "join_account": _SEE,
    "request_account": _OPEN,
    # stacks and what is in them
    "list_stacks": _SEE_NARROWED,
    "create_stack": _EDIT,
    "get_stack": _SEE_STACK,
    "rename_stack": _EDIT_STACK,
    "list_locations": _SEE_ALL,
    "list_workloads": _SEE_STACK,
    "create_workload": _EDIT_STACK,
    "get_workload": _SEE_STACK,
    "replace_workload": _EDIT_STACK,
    "merge_workload": _EDIT_STACK,
    "delete_workload": _EDIT_STACK,
    "list_instances": _SEE_STACK,
    "get_instance": _SEE_STACK,
    "restart_instance": _EDIT_STACK,
    "get_initial_password": _EDIT_STACK,
    "power_off": _EDIT_STACK,
    "power_on": _EDIT_STACK,
    "rescue_instance": _EDIT_STACK,
    "read_logs": _SEE_STACK,
    "search_logs": _SEE_STACK,
    "watch_logs": _SEE_STACK,
    "download_logs": _SEE_STACK,
    "get_platform_log_sinks": _SEE,
    "replace_platform_log_sinks": _EDIT,
    "get_log_sinks": _SEE_STACK,
    "replace_log_sinks": _EDIT_STACK,
    "run_command": _EDIT_STACK,
    "forward_port": _EDIT_STACK,
    "open_console": _EDIT_STACK,
    "get_metrics": _SEE_STACK,
    "list_images": _SEE_STACK,
    "list_image_family": _SEE_STACK,
    "delete_image_family": _EDIT_STACK,
    "create_image": _EDIT_STACK,
    "get_image": _SEE_STACK,
    "change_image": _EDIT_STACK,
    "delete_image": _EDIT_STACK,
    "deprecate_image": _EDIT_STACK,
    "write_image_part": _EDIT_STACK,
    "capture_image": _EDIT_STACK,
    "list_network_policies": _SEE_STACK,
    "create_network_policy": _EDIT_STACK,
    "get_network_policy": _SEE_STACK,
    "replace_network_policy": _EDIT_STACK,
    "delete_network_policy": _EDIT_STACK,
    "list_stack_networks": _SEE_STACK,
    "create_stack_network": _EDIT_STACK,
    "get_stack_network": _SEE_STACK,
    "change_stack_network": _EDIT_STACK,
    "delete_stack_network": _EDIT_STACK,
    "list_network_subnets": _SEE_STACK,
    "create_network_subnet": _EDIT_STACK,
    "get_network_subnet": _SEE_STACK,
    "replace_network_subnet": _EDIT_STACK,
    "delete_network_subnet": _EDIT_STACK,
    "list_network_routes": _SEE_STACK,
    "create_network_route": _EDIT_STACK,
    "get_network_route": _SEE_STACK,
    "replace_network_route": _EDIT_STACK,
    "delete_network_route": _EDIT_STACK,
    "list_allocations": _SEE_STACK,
    "get_allocation": _SEE_STACK,
    "list_allocation_claims": _SEE_STACK,
    "get_allocation_claim": _SEE_STACK,
    "get_operation": _SEE_STACK,
    "wait_for_operation": _SEE_STACK,
    "create_allocation": _EDIT_STACK,
    "change_allocation": _EDIT_STACK,
    "delete_allocation": _EDIT_STACK,
    "create_allocation_claim": _EDIT_STACK,
    "change_allocation_claim": _EDIT_STACK,
    "delete_allocation_claim": _EDIT_STACK,
    "delete_operation": _EDIT_STACK,
    "list_volumes": _SEE_STACK,
    "watch_volumes": _SEE_STACK,
    "take_snapshot": _EDIT_STACK,
    "delete_snapshot": _EDIT_STACK,
    "restore_volume": _EDIT_STACK,
    "release_volume": _EDIT_STACK,
    "watch_instances": _SEE_STACK,
    "list_summaries": _SEE_STACK,
    "watch_summaries": _SEE_STACK,
    "get_timeline": _SEE_STACK,
    "get_scaling": _SEE_STACK,
    # changes of workloads and announcements
    "plan_workload": _SEE_STACK,
    "predict_plan": _SEE_STACK,
    "plan_workloads": _SEE_STACK,
    "apply_workloads": _EDIT_STACK,
    "preview_change": _SEE_STACK,
    "list_revisions": _SEE_STACK,
    "compare_revisions": _SEE_STACK,
    "list_rollouts": _SEE_STACK,
    "get_rollout": _SEE_STACK,
    "change_scopes": _EDIT_STACK,
    "make_repair": _EDIT_STACK,
    "pause_rollout": _EDIT_STACK,
    "resume_rollout": _EDIT_STACK,
    "abort_rollout": _EDIT_STACK,
    "roll_back": _EDIT_STACK,
    "restart_workload": _EDIT_STACK,
    "get_strategy": _SEE_STACK,
    "replace_strategy": _EDIT_STACK,
    "list_announcements": _SEE_STACK,
    "watch_announcements": _SEE_STACK,
    "replace_rules": _EDIT_STACK,
    "merge_rules": _EDIT_STACK,
    "reset_rules": _EDIT_STACK,
    # prices, use, quotas
    "quote_workload": _SEE_ALL,
    "get_prices": _SEE_ALL,
    "replace_prices": _OWN,
    "get_usage": _SEE_NARROWED,
    "get_costs": _SEE_NARROWED,
    "get_account_usage": _SEE,
    "get_stack_usage": _SEE_STACK,
    "get_quota": _SEE,
    "get_account_quota": _SEE,
    "replace_account_quota": _OWN,
    "get_stack_quota": _SEE_STACK,
    "replace_stack_quota": Rule(role=Role.OWNER, reach=Reach.STACK),
    # questions
    "list_dictionaries": _SEE_ALL,
    "get_dictionary": _SEE_ALL,
    "list_vantages": _SEE_ALL,
    "get_address_owner": _SEE_NARROWED,
    "probe": _SEE_NARROWED,
    "explain_landing": _SEE_NARROWED,
    "predict_landings": _SEE_NARROWED,
    "propose_repairs": _SEE_NARROWED,
    "plan_repair": _SEE_STACK,
    "explain_routes": _SEE_NARROWED,
    "run_test": _SEE_STACK,
    "list_tests": _SEE_STACK,
    "get_test": _SEE_STACK,
    # the platform
    "get_health": _OPEN,
    "list_pops": _SEE_ALL,
    "list_hosts": _SEE,
    "look_at_routes": _SEE,
    "measure_catchment": _EDIT,
    "list_catchments": _SEE,
    "get_catchment": _SEE,
    "evict_host": _EDIT,
    "readmit_host": _EDIT,
    "reset_host": _EDIT,
    "give_join_token": _OWN,
    "revoke_host": _OWN,
    "show_backbone": _SEE,
    "list_drains": _SEE_NARROWED,
    "get_drain": _SEE_NARROWED,
    "watch_drain": _SEE_NARROWED,
    "begin_drain": _EDIT_NARROWED,
    "undrain": _EDIT_NARROWED,
    "list_dials": _SEE_NARROWED,
    "watch_dials": _SEE_NARROWED,
    "set_dial": _EDIT_NARROWED,
    "list_events": _SEE_NARROWED,
    "watch_events": _SEE_NARROWED,
    "list_audit": _SEE,
    "prune_audit": _OWN,
    "get_control_metrics": _SEE,
    "get_host_metrics": _SEE,
    "list_metrics_targets": _SEE,
    "query_metrics": _SEE_NARROWED,
    "get_objectives": _SEE_NARROWED,
    "get_network": _SEE,
    "replace_network": _OWN,
    # agents show a certificate or a token of their own
    "sign_certificate": _OPEN,
    "get_image_file": _OPEN,
    "list_image_holders": _OPEN,
    "check_image_taker": _OPEN,
    "get_order": _OPEN,
    "take_report": _OPEN,
    "take_sources": _OPEN,
}

# All that a credential of the scope `metrics` may do; each of these is the operator's.
FOR_SCRAPING = frozenset({"get_control_metrics", "get_host_metrics", "list_metrics_targets"})


def refuse_unknown(routers: Iterable[APIRouter], known: Collection[str] = OPERATIONS.keys()) -> None:
    """Raises `LookupError` for an operation without a row: nobody has said who may do it."""
    served = {route.name for router in routers for route in router.routes if isinstance(route, APIRoute)}
    if unknown := sorted(served.difference(known)):
        raise LookupError(f"api/entitlements.py says of no role that it may {', '.join(unknown)}")


def check(caller: Caller, operation: str) -> None:
    """Raises `Forbidden` where this is not for the caller's role, or not for a credential of one stack."""
    rule = OPERATIONS[operation]
    assert rule.role is not None, f"{operation} asks nobody to sign in"
    if caller.stack_id is not None and rule.reach is Reach.NONE:
        raise Forbidden("this credential is for one stack alone, and this is about the account")
    if caller.scope is Scope.METRICS and operation not in FOR_SCRAPING:
        raise Forbidden("this credential is for scraping metrics alone")
    if not caller.role.holds(rule.role):
        why = ": this credential is for reading" if caller.scope is Scope.READ else ""
        raise Forbidden(f"this needs the role {rule.role}, and here you have {caller.role}{why}")


def check_stack(caller: Caller, ref: str, found: str | None) -> None:
    """Raises `NotFound` where the caller is for one stack, and the one of the path (`found`: its id) is another."""
    if caller.stack_id is not None and found != caller.stack_id:
        raise NotFound(f"no stack {ref}")
