"""/anypop/v1/addresses: who has an address, and why.

In: an address. Out: its instance or workload, its allocation and claim, and the host that it follows from. An account
is told of its own alone; the operator of all.
"""

from dataclasses import asdict
from ipaddress import ip_address
from typing import Annotated, Any

from fastapi import APIRouter, Path

from anypop.api.context import AskingCaller, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.addresses import AddressOwner
from anypop.api.shapes import filled
from anypop.control.addresses import owner_of
from anypop.control.refusals import NotFound
from anypop.model.errors import Invalid

router = APIRouter(prefix="/anypop/v1", tags=["addresses"])


@router.get("/addresses/{address}")
@answers(AddressOwner, Code.NOT_FOUND)
async def get_address_owner(
    address: Annotated[str, Path(description="IPv4 or IPv6")], caller: AskingCaller, platform: PlatformDep
) -> dict[str, Any]:
    """Get who has an address, and why."""
    try:
        asked = ip_address(address)
    except ValueError as error:
        raise Invalid.one("address", "must be an IPv4 or IPv6 address, as 203.0.113.7 or 2001:db8::7") from error
    found = owner_of(platform.core.state, asked)
    mine = {stack.id: stack.slug for stack in platform.stacks_of(caller)}
    if not caller.account.operator and found.stack_id not in mine:
        raise NotFound(f"no address {asked} of {'this stack' if caller.stack_id else 'this account'}")
    stack = ""
    if found.stack_id is not None:
        stack = mine.get(found.stack_id) or platform.accounts.any_stack(found.stack_id).slug
    data = asdict(found)
    del data["stack_id"]
    return filled({"address": str(asked), "stack": stack, **data})
