"""What every endpoint needs: the platform behind it, and the account, the stack and the token of its caller.

In: a request. Out: the platform, an account, a stack; or the exception whose answer `errors` knows. Bodies are read by
`bodies`.
"""

import asyncio
import pathlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Path, Request
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import HTTPBearer, OAuth2
from starlette.requests import HTTPConnection

from anypop.api import entitlements
from anypop.api.graphs import Graphs
from anypop.api.host_states import HostStates
from anypop.api.vantages import LookingGlass, Vantages
from anypop.api.workers import Workers
from anypop.control import acts, declare
from anypop.control.accounts import Account, Accounts, Caller, Stack
from anypop.control.acts import Act
from anypop.control.catchments import Catchments
from anypop.control.core import Alter, Core
from anypop.control.held_open import HeldOpen
from anypop.control.image_capture import Captures
from anypop.control.invitations import Invitations
from anypop.control.joins import CERTIFICATE_LIFE_S, Joins, Shown
from anypop.control.kept_sums import KeptSums
from anypop.control.links import Links
from anypop.control.log_search import LogSearch
from anypop.control.log_sinks import LogSinks
from anypop.control.machine_images import MachineImages, Owner
from anypop.control.metrics.hosts import MeasuredHosts
from anypop.control.metrics.slo import Objective
from anypop.control.oidc_waiting import Waiting
from anypop.control.passwords import Passwords
from anypop.control.quotas import Quotas
from anypop.control.rates import CREDENTIALS_AT_ONCE, REQUESTS_PER_S, Buckets, SignIns, TooMany
from anypop.control.refusals import Forbidden, NotFound, Unauthenticated
from anypop.control.sharing import alone
from anypop.control.standby import Standby
from anypop.control.state import Declaration
from anypop.control.streams import Streams
from anypop.control.traces import Traces
from anypop.control.usage import Metering
from anypop.model import limits
from anypop.model.confinement import InstanceRules
from anypop.model.errors import Invalid, Problem
from anypop.model.machine import MachineImage
from anypop.model.names import CityCode, HostName, StackId, WorkloadId
from anypop.model.workload import Container, Workload
from anypop.plan.parse import Parsed
from anypop.plan.price import PriceBook

if TYPE_CHECKING:
    from anypop.control.metrics.filling import Filling
    from anypop.control.metrics.store import MetricsStore
    from anypop.control.oidc_provider import Provider


@dataclass(slots=True, kw_only=True)
class Hashing:
    """Where passwords are hashed, two at once, and how many are there or wait."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    waiting: int = 0


@dataclass(slots=True, kw_only=True)
class Platform:
    """Control as the faces see it. `vantages` and `glass`: None where no lab is attached. `standby`: None in the
    active control. `authority`: the folder of the one that signs agents' certificates.
    """

    core: Core
    accounts: Accounts
    clock: Callable[[], float]
    prices: PriceBook
    on_network: Callable[[list[HostName]], None]
    authority: pathlib.Path
    vantages: Vantages | None = None
    glass: LookingGlass | None = None
    standby: Standby | None = None
    # The lab shares a handful of hosts: two probes at once from one vantage would measure each other.
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    # one measurement of a catchment at a time: together they would be more than the rate that the operator allows
    pinging: asyncio.Lock = field(default_factory=asyncio.Lock)
    pricing: asyncio.Lock = field(default_factory=asyncio.Lock)
    # accounts of which a test is under way
    testing: set[str] = field(default_factory=set)
    graphs: Graphs = field(default_factory=Graphs)
    workers: Workers = field(default_factory=Workers)
    buckets: Buckets = field(default_factory=Buckets)
    sign_ins: SignIns = field(default_factory=SignIns)
    passwords: Passwords = field(default_factory=Passwords)
    hashing: Hashing = field(default_factory=Hashing)
    password_tries: SignIns = field(default_factory=lambda: SignIns(guessed=True))
    # apart from `buckets`: anybody can name clients that are none
    tokens: Buckets = field(default_factory=Buckets)
    # people sign in by it; None: this platform knows no provider
    provider: "Provider | None" = None
    # where samples are kept; None: hosts alone keep some, for a month
    metrics_store: "MetricsStore | None" = None
    filling: "Filling | None" = None
    objective: Objective = field(default_factory=Objective)
    certificate_life_s: float = CERTIFICATE_LIFE_S
    streams: Streams = field(default_factory=Streams)
    host_states: HostStates = field(default_factory=HostStates)
    quotas: Quotas = field(init=False)
    invitations: Invitations = field(init=False)
    joins: Joins = field(init=False)
    metering: Metering = field(init=False)
    month_costs: KeptSums = field(init=False)
    usage_sums: KeptSums = field(init=False)
    waiting: Waiting = field(init=False)
    held_open: HeldOpen = field(init=False)
    links: Links = field(init=False)
    log_search: LogSearch = field(init=False)
    log_sinks: LogSinks = field(init=False)
    traces: Traces = field(init=False)
    measured: MeasuredHosts = field(init=False)
    captures: Captures = field(init=False)
    catchments: Catchments = field(init=False)
    machine_images: MachineImages = field(init=False)

    def __post_init__(self) -> None:
        self.quotas = Quotas(self.core.store)
        self.core.limits = self.quotas.limits
        self.invitations = Invitations(self.core.store, self.clock, self.accounts)
        self.metering = Metering(self.core.store)
        self.month_costs = KeptSums(self.metering, self.clock)
        self.usage_sums = KeptSums(self.metering, self.clock, by_pop=False)
        self.waiting = Waiting(self.clock)
        self.held_open = HeldOpen(self.accounts, self.core.store, self.clock, entitlements.check)
        self.links = Links(self.clock)
        self.log_search = LogSearch(self.streams)
        self.log_sinks = LogSinks(self.core.store, self.streams, lambda: self.core.state)
        self.traces = Traces(self.core, self.log_sinks, self.clock)
        self.core.on_publish.append(self.traces.published)
        self.measured = MeasuredHosts(core=self.core, streams=self.streams)
        self.core.on_publish.append(self.measured.lives.published)
        self.captures = Captures(self.streams)
        self.catchments = Catchments(self.core.store)
        self.machine_images = MachineImages(
            self.core.store, self.authority, self.clock, state=lambda: self.core.state,
            owner_of=self.image_owner, within_quota=self._images_within_quota, captures=self.captures,
        )  # fmt: skip
        self.joins = Joins(self.core.store, self.clock, self.authority, self.certificate_life_s)

    def stacks_of(self, caller: Caller) -> list[Stack]:
        """The account's, oldest first; of a credential for one stack that one."""
        found = self.accounts.stacks(caller.account.id)
        return [stack for stack in found if caller.stack_id in (None, stack.id)]

    def stack_of(self, caller: Caller, ref: str) -> Stack:
        """One of the caller's by id or slug; of a credential for one stack that one. Raises `NotFound`."""
        found = self.accounts.stack(caller.account.id, ref)
        entitlements.check_stack(caller, ref, found.id)
        return found

    def cities(self) -> list[CityCode]:
        return [pop.city for pop in self.core.state.network.pops]

    def rules(self) -> InstanceRules:
        """The operator's for instances."""
        return self.core.state.network.instances

    def with_images(self, made: Parsed, caller: Caller, before: Workload | None = None) -> Parsed:
        """`made` with the images of its virtual machines. Raises `Invalid` where one is not there, or is not the
        caller's to use. Blocking.
        """
        made, asked = declare.unresolved(made, before)
        return declare.with_images(made, {one.image: self._image_of(one, caller) for one in asked})

    def _image_of(self, one: Container, caller: Caller) -> MachineImage:
        return self.image_named(one.image, caller, f"spec.virtualMachines.{one.name}.image")

    def image_named(self, reference: str, caller: Caller, path: str) -> MachineImage:
        """Of a stack that the caller may read. Raises `Invalid` with the path. Blocking."""
        stacks = [(stack.id, stack.slug) for stack in self.stacks_of(caller)]
        return self.machine_images.resolve(reference, stacks, path)

    def hosts(self) -> list[HostName]:
        return [host.name for _, host in self.core.state.network.hosts()]

    def within_quota(self, alter: Alter, stack: Stack) -> Alter:
        """`alter`, refused where it would exceed a limit of the stack or of its account."""
        account = stack.account_id
        return self.quotas.within(
            alter, account=account, stack=stack.id, stacks=lambda: [s.id for s in self.accounts.stacks(account)]
        )

    def image_owner(self, stack: StackId) -> Owner | None:
        """Whose the images of a stack are; None where it is gone."""
        try:
            found = self.accounts.any_stack(stack)
        except NotFound:
            return None
        own = [one.id for one in self.accounts.stacks(found.account_id)]
        return Owner(account=found.account_id, stack=found.id, slug=found.slug, stacks=own)

    def _images_within_quota(self, owner: Owner, account: tuple[int, int], stack: tuple[int, int]) -> None:
        self.quotas.check_images(owner.account, owner.stack, account, stack)

    def scoping(self, alter: Alter, account: Account, workload: WorkloadId) -> Alter:
        """`alter`, a change of how the workload's prefixes are announced, refused to a tenant where somebody else would
        feel it.
        """
        return alter if account.operator else alone(alter, workload)

    def workload(self, stack: Stack, ref: str) -> Declaration:
        """A workload of the stack by id or slug. Raises `NotFound`."""
        found = self.core.state.find(stack.id, ref)
        if found is None:
            raise NotFound(f"no workload {ref} on stack {stack.slug}")
        return found


async def platform_of(request: Request) -> Platform:
    found = request.app.state.platform
    assert isinstance(found, Platform)
    return found


PlatformDep = Annotated[Platform, Depends(platform_of)]


# How a request says who asks, for the description of the API; what is in the header is read by `bearer`.
CLIENT = OAuth2(
    scheme_name="client",
    description="Client credentials give a bearer token for an hour.",
    flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl="/identity/v1/oauth2/token", scopes={})),
    auto_error=False,
)
AGENT = HTTPBearer(
    scheme_name="agent",
    description="The lasting token of one host's agent, from the file of that host in control's state folder, until "
    "it has joined. Then its client certificate takes this token's place.",
    auto_error=False,
)


def bearer(request: HTTPConnection) -> str:
    """The token of the request. Raises `Unauthenticated` where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("a bearer token is required")
    return token.strip()


async def caller_of(request: Request, platform: PlatformDep, _: Annotated[str | None, Depends(CLIENT)]) -> Caller:
    return known(request, platform, request.scope["route"].name)


def known(request: HTTPConnection, platform: Platform, operation: str) -> Caller:
    """Who asks, whose act `operation` is from here on, and who may do it. Raises `Refused`."""
    caller = platform.accounts.caller(bearer(request))
    account = caller.account
    request.state.caller = account.id
    acts.begin(
        replace(
            acts.current() or Act(),
            account_id=account.id,
            actor=caller.name,
            operator=account.operator,
            operation=operation,
            subject=" ".join(request.path_params.values()),
        )
    )
    # The operator's own road is never narrowed by it, and an agent's is another one.
    if not account.operator:
        rate = platform.quotas.of(account.id).requests_per_second or REQUESTS_PER_S
        if wait := platform.buckets.take(caller.key, rate):
            raise TooMany(f"this credential may make {rate} requests in a second", wait)
        together = rate * CREDENTIALS_AT_ONCE
        if wait := platform.buckets.take(account.id, together):
            raise TooMany(f"all credentials of this account may make {together} requests in a second", wait)
    entitlements.check(caller, operation)
    if caller.stack_id is not None and (ref := request.path_params.get("stack_id")) is not None:
        entitlements.check_stack(caller, ref, platform.accounts.stack(account.id, ref).id)
    return caller


AskingCaller = Annotated[Caller, Depends(caller_of)]


async def account_of(caller: AskingCaller) -> Account:
    return caller.account


CallerAccount = Annotated[Account, Depends(account_of)]


async def operator_of(account: CallerAccount) -> Account:
    """Raises `Forbidden` for everyone but the operator."""
    if not account.operator:
        raise Forbidden("this is for the operator of the platform")
    return account


OperatorAccount = Annotated[Account, Depends(operator_of)]


async def named_account_of(
    account_id: Annotated[str, Path(description="an account's id, or `mine`")],
    account: CallerAccount,
    platform: PlatformDep,
) -> Account:
    """The account of the path: the caller's own, or for the operator anybody's. Raises `NotFound`."""
    if account_id in (account.id, "mine"):
        return account
    if not account.operator:
        raise NotFound(f"no account {account_id}")
    return platform.accounts.account(account_id)


NamedAccount = Annotated[Account, Depends(named_account_of)]


async def stack_of(
    stack_id: Annotated[str, Path(description="id or slug")], account: CallerAccount, platform: PlatformDep
) -> Stack:
    """The stack of the path, by id or slug."""
    return platform.accounts.stack(account.id, stack_id)


CallerStack = Annotated[Stack, Depends(stack_of)]


async def any_stack_of(
    stack_id: Annotated[str, Path(description="id or slug")], account: CallerAccount, platform: PlatformDep
) -> Stack:
    """The stack of the path, whoever's it is, for the operator alone; to others a stack of somebody else is not
    there.
    """
    if account.operator:
        return platform.accounts.any_stack(stack_id)
    platform.accounts.stack(account.id, stack_id)
    raise Forbidden("this is for the operator of the platform")


AnyStack = Annotated[Stack, Depends(any_stack_of)]


async def announced_stack_of(
    stack_id: Annotated[str, Path(description="id or slug; the operator may name anybody's")],
    account: CallerAccount,
    platform: PlatformDep,
) -> Stack:
    """The stack of the path: the caller's own, or for the operator anybody's, since how a shared prefix is announced is
    the operator's to change.
    """
    if account.operator:
        return platform.accounts.any_stack(stack_id)
    return platform.accounts.stack(account.id, stack_id)


AnnouncedStack = Annotated[Stack, Depends(announced_stack_of)]


async def host_of(
    request: Request,
    host: Annotated[str, Path(description="the agent's own host")],
    platform: PlatformDep,
    _: Annotated[object, Depends(AGENT)],
) -> HostName:
    """The host of the path, which must be the one of the agent that asks. Raises `Forbidden`."""
    return await agents_own(request, host, platform)


async def agents_own(request: HTTPConnection, host: str, platform: Platform) -> HostName:
    """The host of the agent that asks, which must be `host`. Raises `Refused`."""
    shown = shown_by(request)
    if shown is None:
        own = platform.accounts.agents.host_of(bearer(request))
    else:
        own = platform.joins.check(shown)
        # its first use shows that the certificate has arrived: only now the token is not needed any more
        if platform.joins.has_joined(own) and platform.accounts.agents.has_agent(own):
            await asyncio.to_thread(platform.accounts.agents.drop_agent, own)
    request.state.caller = own
    if host.upper() != own.upper():
        raise Forbidden(f"{'this token' if shown is None else 'this certificate'} is for {own}, not for {host}")
    return own


def shown_by(request: HTTPConnection) -> Shown | None:
    """The client certificate of the connection, verified by TLS; None where there is none of an agent's."""
    found = request.scope.get("state", {}).get("certificate")
    return found if isinstance(found, Shown) else None


CallerHost = Annotated[HostName, Depends(host_of)]


async def joining_host_of(
    request: Request,
    host: Annotated[str, Path(description="the agent's own host")],
    platform: PlatformDep,
    _: Annotated[object, Depends(AGENT)],
) -> tuple[HostName, str]:
    """As `host_of`, for a host that has no certificate yet too: then with its join token, which is used up by it. The
    lasting token of an earlier version will do as well.
    """
    own, token = await _joining(request, host, platform)
    acting = replace(
        acts.current() or Act(), actor=f"agent {own}", operation=request.scope["route"].name, subject=str(own)
    )
    acts.begin(acting)
    return own, token


async def _joining(request: Request, host: str, platform: Platform) -> tuple[HostName, str]:
    if shown_by(request) is not None:
        return await host_of(request, host, platform, None), ""
    token = bearer(request)
    try:
        return await host_of(request, host, platform, None), ""
    except Unauthenticated:
        own = platform.joins.host_of(token)
    if host.upper() != own.upper():
        raise Forbidden(f"this token is for {own}, not for {host}")
    return own, token


JoiningHost = Annotated[tuple[HostName, str], Depends(joining_host_of)]


_PAGE = "page_request."
_OF_PAGES = tuple(f"{_PAGE}{word}" for word in ("first", "after", "filter", "sort_by"))


async def check_query(request: Request) -> None:
    """Texts of the path and of the query have a limit of their own, else that of bodies; and what is asked of a list is
    known. Raises `Invalid`.
    """
    limits.check({**request.path_params, **request.query_params}, longest=limits.LONGEST_PARAMETER)
    if wrong := [name for name in request.query_params if name.startswith(_PAGE) and name not in _OF_PAGES]:
        raise Invalid(Problem(path=name, message=f"is not known; there are {', '.join(_OF_PAGES)}") for name in wrong)
