"""One look at the portal: who looks, through which API, and how a page for them is made.

In: a request. Out: pages with the headers that shut them in. Whoever has no session is led to the sign-in, and back to
where they were afterwards; whoever sends a form that is not ours is refused before anything is asked of the API.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from anypop.portal import cookies, files, shields, words
from anypop.portal.calls import Api, Asker, Refused, SignedOut

LARGEST_FORM = 1 << 18
MOST_FIELDS = 5000  # a thousand cities
SIGN_IN = "/portal/sign-in"

Form = ImmutableMultiDict[str, str]


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("anypop.portal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["file"] = files.address
    made.filters.update(words.FILTERS)
    return made


def rendered(template: str, **told: Any) -> str:
    return _templates().get_template(template).render(**told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """`who`: the answer of who-am-i; empty for somebody who has not signed in. `secret`: what signs of forms are made
    from. `stacks`: those that there are for whoever looks.
    """

    request: Request
    api: Api
    secret: str = field(repr=False)
    who: Mapping[str, Any] = field(default_factory=dict)
    stacks: tuple[Mapping[str, Any], ...] = ()
    form: Form = field(default_factory=ImmutableMultiDict)
    nonce: str = field(default_factory=shields.nonce)

    @property
    def may_edit(self) -> bool:
        """What the buttons go by; whether it is so, the API says."""
        return self.who.get("role") in ("editor", "owner")

    def page(self, template: str, *, status: int = 200, own_styles: bool = False, **told: Any) -> Response:
        """A page, or a part of one. `own_styles`: a script of it makes styles, with the page's nonce."""
        text = rendered(
            template,
            visit=self,
            who=self.who,
            stacks=self.stacks,
            nonce=self.nonce,
            sign=cookies.sign_for(self.secret),
            path=self.request.url.path,
            **told,
        )
        return HTMLResponse(text, status_code=status, headers=shields.of_page(self.nonce, own_styles=own_styles))

    def to(self, path: str, **query: str) -> Response:
        """Another page, after a form."""
        where = f"{path}?{urlencode(query)}" if query else path
        return RedirectResponse(where, status_code=303, headers=shields.of_page(self.nonce))


Page = Callable[[Visit], Awaitable[Response]]


def back_to(path: str) -> str:
    """A path of the portal to go back to; the first page for anything else."""
    parts = urlsplit(path)
    ours = path.startswith("/portal/") and not (parts.netloc or parts.scheme or "\\" in path or "//" in parts.path)
    return path if ours and not parts.path.startswith(SIGN_IN) else "/portal/"


def asker(request: HTTPConnection, token: str = "") -> Asker:
    client = request.client
    server = request.scope.get("server")
    return Asker(client=(client.host, client.port) if client else None, server=server, token=token)


def signed_in(api: ASGIApp, endpoint: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page for those who have a session."""

    async def page(request: Request) -> Response:
        token = request.cookies.get(cookies.SESSION, "")
        own = Api(app=api, asker=asker(request, token))
        try:
            if not token:
                raise SignedOut(Refused(401, "sign in first"))
            form = await form_of(request, token)
            who = await own.get("anypop/v1/who-am-i")
            stacks = await own.get("stack/v1/stacks", **{"page_request.first": 1000})
            visit = Visit(request=request, api=own, secret=token, who=who, stacks=tuple(stacks["results"]), form=form)
            stack = request.path_params.get("stack")
            if stack is not None and not any(stack in (one["slug"], one["id"]) for one in visit.stacks):
                await own.get("stack/v1/stacks", stack)  # more than are listed, or nobody's: the API says
            return await _or_refused(visit, endpoint)
        except SignedOut:
            return led_to_sign_in(request)
        except Refused as refused:
            bare = Visit(request=request, api=own, secret=token)
            return bare.page("refused.html", status=refused.status, refused=refused)

    return page


def asked_again(endpoint: Page) -> Page:
    """A part that an open page asks for by itself whenever something happens, also while its workload goes. The stream
    tells that it is gone, so that is no error of the page; for everybody else there is no such page.
    """

    async def part(visit: Visit) -> Response:
        try:
            return await endpoint(visit)
        except Refused as refused:
            if refused.status != 404 or "hx-request" not in visit.request.headers:
                raise
            return Response(status_code=204)

    return part


async def _or_refused(visit: Visit, endpoint: Page) -> Response:
    try:
        return await endpoint(visit)
    except Refused as refused:
        part = "hx-request" in visit.request.headers
        template = "refused_part.html" if part else "refused.html"
        return visit.page(template, status=refused.status, refused=refused)


def led_to_sign_in(request: Request) -> Response:
    """With the way back; a part of a page takes the whole page along, a stream only hears that it is over."""
    once = shields.of_page(shields.nonce())
    part = "hx-request" in request.headers
    if part or request.method == "GET":
        shown = urlsplit(request.headers.get("hx-current-url", "")) if part else urlsplit(str(request.url))
        back = back_to(shown.path + (f"?{shown.query}" if shown.query else ""))
    else:
        back = back_to(urlsplit(request.headers.get("referer", "")).path)
    ended = {"ended": "yes"} if cookies.SESSION in request.cookies else {}
    where = f"{SIGN_IN}?{urlencode({'return': back, **ended})}"
    if part:
        response: Response = Response(status_code=401, headers={**once, "hx-redirect": where})
    else:
        response = RedirectResponse(where, status_code=303, headers=once)
    if part or request.headers.get("sec-fetch-dest") != "empty":  # a script that asks is followed by its page
        cookies.forget(response, cookies.SESSION)
    return response


async def form_of(request: Request, secret: str) -> Form:
    """The form that was sent; empty for a request that changes nothing. Raises `Refused` where it is not from a page
    of ours, or larger than any.
    """
    if request.method in ("GET", "HEAD"):
        return ImmutableMultiDict()
    if not cookies.from_here(request):
        raise Refused(403, "this was sent by a page of another site, and is refused")
    size = 0
    parts = []
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_FORM:
            raise Refused(400, f"a form has at most {LARGEST_FORM} bytes")
        parts.append(part)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Refused(400, "a form is sent as application/x-www-form-urlencoded")
    try:
        text = b"".join(parts).decode()
        form: Form = ImmutableMultiDict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise Refused(400, "this form cannot be read") from error
    if not cookies.fits(secret, form.get("sign", "")):
        raise Refused(403, "this page is too old to send anything: load it again, and do it once more")
    return form
