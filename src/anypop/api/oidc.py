"""/anypop/v1/sign-in/oidc: people sign in by a provider (OpenID Connect), in a browser or by the command line.

In: a browser that is sent to the provider and back. Out: a session, answered to the browser; or to a command line that
waits on the same machine (RFC 8252), or to the portal, by a code that it alone can use. Where a browser is sent is
never taken from a request: the provider's own address, the portal, or the browser's own 127.0.0.1. What is wrong with a
sign-in is in the log, in full; whoever asks is told little.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from anypop.api.context import Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.door import source_of
from anypop.api.errors import Code
from anypop.api.models.accounts import CollectRequest, SignedIn
from anypop.api.parameters import whole
from anypop.api.signing_in import OpenBody, place_of, signed_in
from anypop.api.threads import in_own_thread
from anypop.control import acts, oidc_users
from anypop.control.acts import Act
from anypop.control.oidc_identity import WrongIdentityError
from anypop.control.oidc_waiting import LIFE_S, Started
from anypop.control.rates import TooMany
from anypop.control.refusals import NotFound, Refused, Unauthenticated
from anypop.control.users import Member
from anypop.model.errors import Invalid, WorldError
from anypop.model.limits import LONGEST_NAME

if TYPE_CHECKING:
    from anypop.control.oidc_provider import Provider

router = APIRouter(prefix="/anypop/v1/sign-in/oidc", tags=["identity"])
log = logging.getLogger("anypop.api")
T = TypeVar("T")

# `__Host-`: a browser sends it to this host alone, and takes it from no other (RFC 6265bis, section 4.1.3)
COOKIE = "__Host-anypop-sign-in"
BEGINNINGS_PER_S = 5  # from one address
REFUSED = "the provider did not show who you are: begin again"
PORTAL = "/portal/sign-in/back"
# the portal has its own words: a text that comes with an address could be anybody's
REFUSED_AT_PORTAL = "/portal/sign-in?refused=provider"
UNREACHED = "the provider cannot be asked now: try again"

Port = Annotated[
    int,
    whole(5),
    Query(description="where a command line waits for the answer, at 127.0.0.1; 0: a page asks", le=65535),
]
Challenge = Annotated[
    str,
    Query(description="with `port` or `portal`: the code challenge (RFC 7636, S256) of a verifier that is shown later"),
]
Portal = Annotated[bool, Query(description="the portal waits for the answer")]
Invited = Annotated[
    str, Query(description="the token of an invitation, for somebody new in an account", max_length=128)
]
Wanted = Annotated[
    str, Query(description="account, by id or name; default: as for a password", max_length=LONGEST_NAME)
]


@router.get("", response_model=None, status_code=302)
@answers(None, Code.NOT_FOUND, leads="to the provider, where the browser signs in")
async def begin_oidc_sign_in(
    request: Request,
    platform: PlatformDep,
    *,
    port: Port = 0,
    challenge: Challenge = "",
    portal: Portal = False,
    account: Wanted = "",
    invitation: Invited = "",
) -> Response:
    """Sign in by the provider: leads the browser there."""
    provider = _provider(platform)
    if (bool(port) + portal) != bool(challenge) or (challenge and len(challenge) != 43):
        raise Invalid.one("challenge", "goes with port or portal: 43 characters, base64url of a SHA-256")
    source = source_of(request.client.host if request.client is not None else "")
    if wait := platform.tokens.take(f"{source} oidc", BEGINNINGS_PER_S):
        raise TooMany(f"{BEGINNINGS_PER_S} sign-ins in a second may begin at one address", wait)
    begun, browser = platform.waiting.begin(port=port, challenge=challenge, account=account, invitation=invitation)
    where = await _asked(lambda: provider.address(begun))
    led = _led(where)
    led.set_cookie(COOKIE, browser, max_age=int(LIFE_S), path="/", secure=True, httponly=True, samesite="lax")
    return led


@router.get("/callback", response_model=None)
@answers(
    SignedIn, Code.NOT_FOUND, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED,
    Code.FAILED_PRECONDITION, Code.ALREADY_EXISTS,
    leads="to the command line that began the sign-in, at 127.0.0.1, or to the portal",
)  # fmt: skip
async def finish_oidc_sign_in(
    request: Request,
    platform: PlatformDep,
    *,
    state: Annotated[str, Query(description="as it went to the provider")] = "",
    code: Annotated[str, Query(description="the provider's, for the ID token")] = "",
    iss: Annotated[str, Query(description="which provider answers (RFC 9207)")] = "",
    error: Annotated[str, Query(description="why there is no code")] = "",
) -> dict[str, Any] | Response:
    """Come back from the provider.

    Answers a session to a browser; where a command line or the portal began, leads to it with a code that it can
    collect one with, or with the reason why there is none.
    """
    acts.begin(replace(acts.current() or Act(), operation="finish_oidc_sign_in"))
    provider = _provider(platform)
    started = platform.waiting.back(state, request.cookies.get(COOKIE, ""))
    try:
        place = await _shown(platform, provider, started, code=code, iss=iss, error=error)
    except (Refused, WorldError) as refused:
        if not platform.tokens.take("refused", 10):
            with contextlib.suppress(WorldError):  # a store that cannot be written makes no other answer of it
                words = str(refused)
                await asyncio.to_thread(platform.accounts.tokens.note_refusal, "(oidc)", words, client=False)
        if started.port:
            return _led(f"http://127.0.0.1:{started.port}/?{urlencode({'error': str(refused)})}")
        if started.challenge:
            return _led(REFUSED_AT_PORTAL)
        raise
    if started.challenge:
        handed = urlencode({"code": platform.waiting.hand_over(place.user.id, place.account_id, started.challenge)})
        return _led(f"http://127.0.0.1:{started.port}/?{handed}" if started.port else f"{PORTAL}?{handed}")
    answer = await _session(platform, place)
    return JSONResponse(answer, headers={"cache-control": "no-store"})


@router.post("/token")
@answers(SignedIn, Code.NOT_FOUND, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
async def collect_oidc_sign_in(
    request: Request, platform: PlatformDep, body: Annotated[CollectRequest, Depends(OpenBody(CollectRequest))]
) -> dict[str, Any]:
    """Collect the session of a sign-in that a command line or the portal began."""
    acts.begin(replace(acts.current() or Act(), operation="collect_oidc_sign_in"))
    _provider(platform)
    shown = platform.waiting.collect(body.code, body.verifier)
    return await _session(platform, platform.accounts.users.member(shown.user_id, shown.account_id))


async def _shown(
    platform: Platform, provider: "Provider", started: Started, *, code: str, iss: str, error: str
) -> Member:
    """The user that the provider says is there, in the account that is meant. Raises `Refused` and `WorldError`."""
    if error or not code:
        log.warning("a sign-in ended at the provider: %s", error or "without a code")
        raise Unauthenticated(REFUSED)
    try:
        identity = await _asked(lambda: provider.identity(started.begun, code, issuer=iss or None))
    except WrongIdentityError as wrong:
        log.warning("a sign-in by the provider is refused: %s", wrong)
        raise Unauthenticated(REFUSED) from wrong
    accounts, store, token = platform.accounts, platform.core.store, started.invitation
    if token:
        await asyncio.to_thread(platform.invitations.look, token)
    invited = partial(platform.invitations.let_in, token) if token else None
    user, place = await asyncio.to_thread(oidc_users.user_of, accounts, store, provider.settings, identity, invited)
    return place_of(accounts, user, started.account or place)


async def _session(platform: Platform, place: Member) -> dict[str, Any]:
    name = platform.accounts.name_of(place.account_id)
    actor = f"{name} {place.user.name}"
    acts.begin(replace(acts.current() or Act(), account_id=place.account_id, actor=actor))
    token = await asyncio.to_thread(
        platform.accounts.tokens.begin_session, place.user.id, place.account_id, via="oidc", subject=place.user.name
    )
    return signed_in(platform, place, token)


async def _asked(question: Callable[[], T]) -> T:
    """What the provider says. Raises `WorldError` with words for whoever asks; the log has all of them."""
    try:
        return await in_own_thread(question)
    except WorldError as error:
        log.warning("%s", error)
        raise WorldError("sign in", UNREACHED) from error


def _provider(platform: Platform) -> "Provider":
    if platform.provider is None:
        raise NotFound("people sign in with a password here: this platform knows no provider of sign-ins")
    if platform.standby is not None:
        raise WorldError("sign in", "this control stands by: go to the active one")
    return platform.provider


def _led(where: str) -> Response:
    """Nobody keeps it, and no page that it leads to is told the address that it came from."""
    headers = {"location": where, "cache-control": "no-store", "referrer-policy": "no-referrer"}
    return Response(status_code=302, headers=headers)
