"""The pages for those who have no session yet: name and password, a provider, a link that counts once; and the way out.

In: forms. Out: a session as a cookie, by the API's own operations. Whoever is refused reads the API's words, which tell
nothing of who is there.
"""

import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from anypop.portal import cookies, shields
from anypop.portal.calls import Api, Refused
from anypop.portal.visit import SIGN_IN, Page, Visit, asker, back_to, form_of

UNDER_WAY_S = 600


def opened(api: ASGIApp, endpoint: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page for anybody. Its forms count in the browser that asked for them alone."""

    async def page(request: Request) -> Response:
        secret = request.cookies.get(cookies.VISITOR, "")
        fresh = "" if secret else secrets.token_urlsafe(24)
        bare = Visit(request=request, api=Api(app=api, asker=asker(request)), secret=secret or fresh)
        try:
            form = await form_of(request, secret)
            answer = await endpoint(Visit(request=request, api=bare.api, secret=bare.secret, form=form))
        except Refused as refused:
            answer = bare.page("refused.html", status=refused.status, refused=refused)
        if fresh:
            cookies.keep(answer, cookies.VISITOR, fresh)
        return answer

    return page


async def form(visit: Visit) -> Response:
    """The sign-in."""
    query = visit.request.query_params
    said = ""
    if query.get("refused") == "provider":
        said = (
            "The provider did not let you in here. If you are new, ask for an invitation; the audit log has the reason."
        )
    elif "changed" in query:
        said = "Your password is changed, and all your sessions have ended. Sign in with the new one."
    elif "deleted" in query:
        said = "The account is deleted."
    elif "ended" in query:
        said = "Your session is over. Sign in again, and you are back where you were."
    return await _form(visit, back=back_to(query.get("return", "")), said=said)


async def _form(visit: Visit, *, back: str, said: str = "", name: str = "", status: int = 200) -> Response:
    provider = await has_provider(visit)
    return visit.page("sign_in.html", status=status, back=back, said=said, name=name, provider=provider)


async def has_provider(visit: Visit) -> bool:
    """Whether people may sign in by one, which the API tells where a sign-in begins: without one it is 404. A challenge
    that is none keeps it from beginning.
    """
    try:
        await visit.api.led("anypop/v1/sign-in/oidc", query={"challenge": "none"})
    except Refused as refused:
        return refused.status == 400
    return True


async def by_password(visit: Visit) -> Response:
    back, name = back_to(visit.form.get("return", "")), visit.form.get("name", "")
    wanted = {"name": name, "password": visit.form.get("password", "")}
    if account := visit.form.get("account", "").strip():
        wanted["account"] = account
    try:
        made = await visit.api.send("POST", "anypop/v1/sign-in", body=wanted)
    except Refused as refused:
        return await _form(visit, back=back, said=_sentence(refused.message), name=name, status=refused.status)
    return enter(visit, made, back)


async def link(visit: Visit) -> Response:
    """A link signs nobody in by being looked at: what looks at links in messages would use them up."""
    return visit.page("link.html", code=visit.request.query_params.get("code", ""), said="")


async def by_link(visit: Visit) -> Response:
    try:
        made = await visit.api.send("POST", "anypop/v1/sign-in/links/use", body={"code": visit.form.get("code", "")})
    except Refused as refused:
        return visit.page("link.html", status=refused.status, code="", said=_sentence(refused.message))
    return enter(visit, made, "/portal/")


async def by_provider(visit: Visit) -> Response:
    """Off to the provider. What collects the session afterwards stays in this browser."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {"portal": "true", "challenge": challenge}
    if invitation := visit.request.query_params.get("invitation", ""):
        query["invitation"] = invitation
    where, theirs = await visit.api.led("anypop/v1/sign-in/oidc", query=query)
    answer = RedirectResponse(where, status_code=303, headers=shields.of_page(visit.nonce))
    for cookie in theirs:
        answer.headers.append("set-cookie", cookie)
    back = quote(back_to(visit.request.query_params.get("return", "")), safe="")
    cookies.keep(answer, cookies.UNDER_WAY, f"{verifier}.{back}", seconds=UNDER_WAY_S)
    return answer


async def back(visit: Visit) -> Response:
    """Back from the provider, by way of the API."""
    verifier, _, kept = visit.request.cookies.get(cookies.UNDER_WAY, "").partition(".")
    body = {"code": visit.request.query_params.get("code", ""), "verifier": verifier}
    try:
        made = await visit.api.send("POST", "anypop/v1/sign-in/oidc/token", body=body)
    except Refused as refused:
        return await _form(visit, back=back_to(unquote(kept)), said=_sentence(refused.message), status=refused.status)
    answer = enter(visit, made, back_to(unquote(kept)))
    cookies.forget(answer, cookies.UNDER_WAY)
    return answer


async def stands(visit: Visit) -> Response:
    """Nothing, for a session that counts; others are led to the sign-in."""
    return Response(status_code=204, headers=shields.of_page(visit.nonce))


async def sign_out(visit: Visit) -> Response:
    await visit.api.send("POST", "anypop/v1/sign-out")
    answer = visit.to(SIGN_IN)
    cookies.forget(answer, cookies.SESSION)
    return answer


def enter(visit: Visit, made: dict[str, object], back: str) -> Response:
    """With the session that the API has given."""
    answer = visit.to(back)
    life = made["expires_in"]
    assert isinstance(life, int)
    cookies.keep(answer, cookies.SESSION, str(made["access_token"]), seconds=life)
    return answer


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


# for anybody
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", SIGN_IN, form),
    ("POST", SIGN_IN, by_password),
    ("GET", f"{SIGN_IN}/link", link),
    ("POST", f"{SIGN_IN}/link", by_link),
    ("GET", f"{SIGN_IN}/oidc", by_provider),
    ("GET", f"{SIGN_IN}/back", back),
)
