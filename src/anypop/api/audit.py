"""/anypop/v1/audit: who did what, when, from where, with what before and after.

In: filters. Out: rows of the audit log, oldest first; a tenant sees what its account did and what was done to its
stacks, the operator all. Rows are let go by the operator alone, up to a moment, and that stands in the log too.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from anypop.api.bodies import JsonBody
from anypop.api.context import CallerAccount, OperatorAccount, PlatformDep
from anypop.api.documentation import answers
from anypop.api.excerpts import ExcerptDep
from anypop.api.models.platform import AuditLog, Pruned, PruneRequest
from anypop.control import acts
from anypop.control.accounts import Account
from anypop.control.audit import FILTERS
from anypop.control.rows import Row
from anypop.model.errors import Invalid

router = APIRouter(prefix="/anypop/v1/audit", tags=["audit"])

_Same = Query(description="only this one, by its whole value")


async def filters_of(
    *,
    account_id: Annotated[str, _Same] = "",
    actor: Annotated[str, _Same] = "",
    operation: Annotated[str, _Same] = "",
    subject: Annotated[str, _Same] = "",
    stack_id: Annotated[str, _Same] = "",
    address: Annotated[str, _Same] = "",
    request_id: Annotated[str, _Same] = "",
    outcome: Annotated[str, _Same] = "",
) -> dict[str, str]:
    given = (account_id, actor, operation, subject, stack_id, address, request_id, outcome)
    return {name: value for name, value in zip(FILTERS, given, strict=True) if value}


@router.get("")
@answers(AuditLog)
async def list_audit(
    account: CallerAccount,
    platform: PlatformDep,
    filters: Annotated[dict[str, str], Depends(filters_of)],
    excerpt: ExcerptDep,
) -> dict[str, Any]:
    """List the newest entries of the audit log, oldest first; a tenant sees what it did and what was done to its
    stacks.
    """
    own = None if account.operator else (account.id, [stack.id for stack in platform.accounts.stacks(account.id)])
    found = await asyncio.to_thread(platform.core.store.audit_log, filters=filters, own=own, excerpt=excerpt)
    return {"results": [_as_seen_by(account, row) for row in found]}


@router.post("/prune")
@answers(Pruned)
async def prune_audit(
    _: OperatorAccount, platform: PlatformDep, body: Annotated[PruneRequest, Depends(JsonBody(PruneRequest))]
) -> dict[str, Any]:
    """Let go of what is older than a moment that has passed; the act itself stays in the log."""
    cut_at, now = body.before.timestamp(), platform.clock()
    if cut_at > now:
        raise Invalid.one("before", "must not lie in the future")
    act = acts.current()
    removed = await asyncio.to_thread(
        platform.core.store.prune_audit, cut_at, by=act.actor if act is not None else "", at=now
    )
    return {"removed": removed}


def _as_seen_by(account: Account, row: Row) -> Row:
    """To a tenant the operator is the operator, wherever it sits."""
    if account.operator or row["account_id"] == account.id:
        return row
    return row | {"actor": "operator", "address": "", "account_id": None}
