"""Network policies of stacks: declared, changed, deleted; and what they mean for each host after a step.

In: what a request brings, or two states. Out: the `alter` step for `Core.change`, which checks against what is there
inside the step; or the table of what hosts hold. Only stacks of which something was touched are worked out anew. Pure.
"""

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from anypop.control.ground import StateGround
from anypop.control.refusals import Exists, NotFound, Precondition
from anypop.control.state import DeclaredPolicy, RuledKey, State
from anypop.control.versions import check_version, version_in
from anypop.model.errors import Invalid
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.policy import SHARED_PRIORITY, HostRules, NetworkPolicy
from anypop.model.table import differing, grouped, with_entries, without_keys
from anypop.plan.planned import Planned
from anypop.plan.policies import Member, Networks, members_of, rules_of_stack
from anypop.plan.policy_read import read

Alter = Callable[[State, float], State]

MOST_POLICIES = 64  # of a stack
# What its hosts have to write down for all of a stack's policies: each block, port, protocol and rule is one piece. A
# host's firewall is loaded as a whole, also for others who live there.
MOST_PIECES = 2_000


def create(body: Mapping[str, Any], stack_id: StackId, identity: str) -> Alter:
    """Add a policy. The step raises `Invalid`; `Exists` where its slug is taken in its stack; `Precondition` where the
    stack has too many.
    """

    def alter(state: State, now: float) -> State:
        policy, document = read(body, policy_id=identity, stack_id=stack_id, created_at=now)
        others = [d.policy for d in state.policies_of(stack_id).values()]
        if any(p.slug == policy.slug for p in others):
            raise Exists(f"network policy with slug {policy.slug} already exists on stack")
        _check(policy, others)
        made = DeclaredPolicy(policy=policy, document=document)
        return replace(state, policies=with_entries(state.policies, {identity: made}))

    return alter


def replace_with(body: Mapping[str, Any], stack_id: StackId, identity: str) -> Alter:
    """Put another document in a policy's place. What says the same changes nothing. The step raises `NotFound`,
    `Invalid`, `VersionConflict`, and `Precondition` as `create` does.
    """

    def alter(state: State, now: float) -> State:
        current = of(state, stack_id, identity)
        check_version(version_in(body), current.version, f"network policy {current.policy.slug}")
        wanted = body if body.get("slug") else {**body, "slug": current.policy.slug}
        made_at = current.policy.created_at
        policy, document = read(wanted, policy_id=current.policy.id, stack_id=stack_id, created_at=made_at)
        if policy.slug != current.policy.slug:
            raise Invalid.one("slug", f"cannot be changed (it is {current.policy.slug})")
        if document == current.document:
            return state
        _check(policy, [d.policy for d in state.policies_of(stack_id).values() if d.policy.id != policy.id])
        made = DeclaredPolicy(policy=policy, document=document, version=current.version + 1, updated_at=now)
        return replace(state, policies=with_entries(state.policies, {policy.id: made}))

    return alter


def delete(stack_id: StackId, ref: str) -> Alter:
    """Take a policy away. The step raises `NotFound`."""

    def alter(state: State, now: float) -> State:
        return replace(state, policies=without_keys(state.policies, [of(state, stack_id, ref).policy.id]))

    return alter


def new_id() -> str:
    return str(uuid.uuid4())


def in_stack(state: State, stack_id: StackId) -> list[DeclaredPolicy]:
    """A stack's policies in the order in which they are asked."""
    return sorted(
        state.policies_of(stack_id).values(), key=lambda d: (d.policy.priority, d.policy.created_at, d.policy.id)
    )


def of(state: State, stack_id: StackId, ref: str) -> DeclaredPolicy:
    """A policy of the stack by id or slug. Raises `NotFound`."""
    mine = state.policies_of(stack_id)
    found = mine.get(ref) or next((d for d in mine.values() if d.policy.slug == ref), None)
    if found is None:
        raise NotFound(f"no network policy {ref} on stack")
    return found


def ruled_between(
    before: State, draft: State, planned: Planned, changed: Collection[WorkloadId]
) -> Mapping[RuledKey, HostRules]:
    """What each host holds of each stack, after `planned`. `changed`: workloads that were planned otherwise."""
    touched = differing(before.policies, draft.policies)
    stacks = {d.policy.stack_id for s in (before, draft) for key in touched if (d := s.policies.get(key)) is not None}
    stacks |= {
        n.stack_id
        for s in (before, draft)
        for key in differing(before.networks, draft.networks)
        if (n := s.networks.get(key)) is not None and draft.policies_of(n.stack_id)
    }
    if before.plan is None or before.plan.sites is not planned.sites:
        stacks |= {d.policy.stack_id for d in draft.policies.values()}
    elif draft.policies:
        for state in (before, draft):
            declared = (state.workloads.get(workload) for workload in changed)
            stacks |= {d.stack_id for d in declared if d is not None and state.policies_of(d.stack_id)}
    if not stacks:
        return draft.ruled
    ground = StateGround(draft, planned.sites)
    found = draft.ruled
    for stack in stacks:
        now = rules_of_stack((d.policy for d in draft.policies_of(stack).values()), _members(draft, ground, stack))
        was: dict[HostName, HostRules] = {host: rules for (_, host), rules in grouped(found, "stack", stack).items()}
        news = {(stack, host): rules for host, rules in now.items() if was.get(host) != rules}
        found = with_entries(without_keys(found, [(stack, host) for host in was if host not in now]), news)
    return found


def _members(draft: State, ground: StateGround, stack: StackId) -> list[Member]:
    if not draft.policies_of(stack):
        return []
    networks = Networks(draft.networks_of(stack).values())
    return [
        member
        for declared in draft.in_stack(stack)
        for member in members_of(
            ground,
            ground.sites.hosts,
            declared.id,
            networks=networks,
            kept=ground.incarnations_of(declared.id),
            removals=ground.removals_of(declared.id),
        )
    ]


def _check(policy: NetworkPolicy, others: Collection[NetworkPolicy]) -> None:
    """Whether it fits beside the others of its stack."""
    if policy.priority != SHARED_PRIORITY and any(p.priority == policy.priority for p in others):
        raise Invalid.one("spec.priority", f"network policy with priority {policy.priority} already exists on stack")
    if len(others) >= MOST_POLICIES:
        raise Precondition(f"a stack may have {MOST_POLICIES} network policies")
    if (pieces := sum(map(_pieces, (policy, *others)))) > MOST_PIECES:
        raise Precondition(
            f"the network policies of a stack may have {MOST_PIECES} rules, blocks, ports and protocols together; "
            f"with this they have {pieces}"
        )


def _pieces(policy: NetworkPolicy) -> int:
    return sum(
        1 + len(rule.peers.ranges) + sum(1 + len(t.destination) + len(t.source) for t in rule.traffic)
        for rule in policy.rules
    )
