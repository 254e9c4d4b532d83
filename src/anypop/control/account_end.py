"""The end of an account: what stands in its way, and what goes with it.

In: an account and its stacks. Out: first a step of the state, which is refused in words while anything runs, keeps data
or keeps an address, and takes away what only describes; then the rows of the account, its stacks and all who could sign
in to it, in one transaction. What was metered and what was audited stays, by the account's id. Names are free
afterwards: the account's, its stacks', and those of users who were in no other account.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from anypop.control import schema
from anypop.control.accounts import DELETED, Account, Accounts, Stack
from anypop.control.audit import Noted
from anypop.control.core import Alter
from anypop.control.ends import End
from anypop.control.refusals import Precondition
from anypop.control.schema_accounts import accounts as table
from anypop.control.schema_accounts import credentials, invitations, memberships, sessions, tokens, users
from anypop.control.state import State
from anypop.control.store import Store
from anypop.model.errors import WorldError
from anypop.model.names import StackId
from anypop.model.table import without_keys

MOST_NAMED = 5


def emptied(stacks: Collection[Stack]) -> Alter:
    """Networks, network policies and what was told of operations are gone from the stacks. The step raises
    `Precondition` while anything else stands there.
    """
    own = {stack.id for stack in stacks}

    def alter(state: State, now: float) -> State:
        if standing := list(_standing(state, own)):
            raise Precondition(f"this account still has {'; '.join(standing)}: delete that first")
        return replace(
            state,
            policies=without_keys(state.policies, [k for k, p in state.policies.items() if p.policy.stack_id in own]),
            networks=without_keys(state.networks, [k for k, n in state.networks.items() if n.stack_id in own]),
            operations=without_keys(state.operations, [k for k, o in state.operations.items() if o.stack_id in own]),
        )

    return alter


def _standing(state: State, own: Collection[StackId]) -> Iterator[str]:
    workloads = [d for d in state.workloads.values() if d.stack_id in own]
    there = sorted(d.workload.slug for d in workloads if d.delete_requested_at is None)
    going = sorted(d.workload.slug for d in workloads if d.delete_requested_at is not None)
    for what, found in (
        ("workloads", there),
        ("workloads that are being deleted", going),
        ("volumes", sorted(f"{v.instance}:{v.claim}" for v in state.volumes.values() if v.stack_id in own)),
        ("allocations", sorted(a.slug for a in state.allocations.values() if a.stack_id in own)),
        ("allocation claims", sorted(c.slug for c in state.claims.values() if c.stack_id in own)),
    ):
        if found:
            more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            yield f"{what} ({', '.join(found[:MOST_NAMED])}{more})"


def delete_account(accounts: Accounts, store: Store, account: Account) -> None:
    """Blocking; the state has been emptied. Raises `Precondition` where something was declared meanwhile."""
    own = {stack.id: stack.slug for stack in accounts.stacks(account.id)}
    people = {m.user.id: m.user.name for m in accounts.users.members(account.id)}
    alone = [user for user in people if len(accounts.users.places(user)) == 1]
    was = {
        "name": account.name, "created_at": account.created_at, "stacks": own,
        "users": {user: f"{name}{'' if user in alone else ' (also elsewhere)'}" for user, name in people.items()},
    }  # fmt: skip
    try:
        with store.writing(noted=Noted(subject=account.id, account_id=account.id, was=was)) as link:
            for one in (tokens, sessions, invitations, credentials, memberships):
                link.execute(delete(one).where(one.c.account_id == account.id))
            # asked anew: somebody may have come into another account meanwhile
            elsewhere = select(memberships.c.user_id)
            link.execute(delete(users).where(users.c.id.in_(alone), users.c.id.not_in(elsewhere)))
            link.execute(delete(schema.stacks).where(schema.stacks.c.account_id == account.id))
            link.execute(delete(table).where(table.c.id == account.id))
    except WorldError as error:
        if isinstance(error.__cause__, IntegrityError):
            raise Precondition("something was made in this account meanwhile: look again") from error
        raise
    accounts.read()
    accounts.ends.tell(End(why=DELETED, account_id=account.id))
