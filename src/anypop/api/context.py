"""What every endpoint needs: the platform behind it, and the account, the stack and the token of its caller.

In: a request. Out: the platform, an account, a stack; or the exception whose answer `errors` knows. Bodies are read by `bodies`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from anypop.api.vantages import LookingGlass, Vantages
from anypop.control.accounts import Account, Accounts, Stack
from anypop.control.core import Alter, Core
from anypop.control.quotas import Quotas
from anypop.control.refusals import Forbidden, NotFound, Unauthenticated
from anypop.control.state import Declaration
from anypop.model.names import CityCode, HostName
from anypop.plan.price import PriceBook


@dataclass(slots=True, kw_only=True)
class Platform:
    """Control as the faces see it. `vantages` and `glass`: None where no lab is attached."""

    core: Core
    accounts: Accounts
    clock: Callable[[], float]
    prices: PriceBook
    on_network: Callable[[list[HostName]], None]
    vantages: Vantages | None = None
    glass: LookingGlass | None = None
    # The lab shares a handful of hosts: two probes at once from one vantage would measure each other.
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    quotas: Quotas = field(init=False)

    def __post_init__(self) -> None:
        self.quotas = Quotas(self.core.store)

    def cities(self) -> list[CityCode]:
        return [pop.city for pop in self.core.state.network.pops]

    def hosts(self) -> list[HostName]:
        return [host.name for _, host in self.core.state.network.hosts()]

    def within_quota(self, alter: Alter, stack: Stack) -> Alter:
        """`alter`, refused where it would exceed a limit of the stack or of its account."""
        account = stack.account_id
        return self.quotas.within(alter, account=account, stack=stack.id, stacks=lambda: [s.id for s in self.accounts.stacks(account)])

    def workload(self, stack: Stack, ref: str) -> Declaration:
        """A workload of the stack by id or slug. Raises `NotFound`."""
        found = self.core.state.find(stack.id, ref)
        if found is None:
            raise NotFound(f"no workload {ref} on stack {stack.slug}")
        return found


def platform_of(request: Request) -> Platform:
    found = request.app.state.platform
    assert isinstance(found, Platform)
    return found


PlatformDep = Annotated[Platform, Depends(platform_of)]


def bearer(request: Request) -> str:
    """The token of the request. Raises `Unauthenticated` where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("a bearer token is required")
    return token.strip()


async def account_of(request: Request, platform: PlatformDep) -> Account:
    return platform.accounts.account_of(bearer(request))


CallerAccount = Annotated[Account, Depends(account_of)]


async def operator_of(account: CallerAccount) -> Account:
    """Raises `Forbidden` for everyone but the operator."""
    if not account.operator:
        raise Forbidden("this is for the operator of the platform")
    return account


OperatorAccount = Annotated[Account, Depends(operator_of)]


async def stack_of(stack_id: str, account: CallerAccount, platform: PlatformDep) -> Stack:
    """The stack of the path, by id or slug."""
    return platform.accounts.stack(account.id, stack_id)


CallerStack = Annotated[Stack, Depends(stack_of)]
