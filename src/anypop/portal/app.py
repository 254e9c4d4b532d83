"""The portal's own application: which page answers at which address.

In: requests that the door lets through. Out: pages. It decides nothing: each page asks the API for what it shows, and
the API says who may. A fault of ours is one page without details; the log has them.
"""

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anypop.portal import (
    activity,
    changing,
    coming_in,
    costs,
    creating,
    files,
    global_test,
    landing_map,
    live,
    log_sinks,
    logs,
    measured,
    revisions,
    routing,
    signing_in,
    target_removal,
    terminal,
    timeline,
    workload,
    workload_acts,
    workloads,
)
from anypop.portal.access import account, credentials, invitations, users
from anypop.portal.calls import Api, Refused
from anypop.portal.visit import Page, Visit, asker, signed_in

log = logging.getLogger("anypop.portal")

STACK = "/portal/stacks/{stack}"
PACKED = 3  # of 9: a page is a tenth larger than by the usual 9, and packed in a tenth of the time

# for those who have a session
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/portal/", workloads.first),
    ("GET", f"{STACK}/workloads", workloads.listed),
    ("GET", f"{STACK}/create", creating.empty),
    ("POST", f"{STACK}/create/look", creating.look),
    ("POST", f"{STACK}/create/plan", creating.plan),
    ("POST", f"{STACK}/create/plan/landings", creating.plan_landings),
    ("POST", f"{STACK}/create", creating.create),
    *workload.PAGES,
    *workload_acts.PAGES,
    *revisions.PAGES,
    *changing.PAGES,
    *target_removal.PAGES,
    *measured.PAGES,
    *terminal.PAGES,
    ("POST", "/portal/sign-out", signing_in.sign_out),
    ("GET", "/portal/session", signing_in.stands),
    ("GET", "/portal/stream", live.stream),
    *logs.PAGES,
    *log_sinks.PAGES,
    *timeline.PAGES,
    *costs.PAGES,
    *landing_map.PAGES,
    *global_test.PAGES,
    *routing.PAGES,
    *activity.PAGES,
    *users.PAGES,
    *credentials.PAGES,
    *invitations.PAGES,
    *account.PAGES,
)
# for anybody
OPEN: tuple[tuple[str, str, Page], ...] = (*signing_in.PAGES, *coming_in.PAGES)


def make_pages(api: ASGIApp) -> Starlette:
    """The pages over an API."""
    routes = [Route(path, signed_in(api, page), methods=[method]) for method, path, page in PAGES]
    opened = [Route(path, signing_in.opened(api, page), methods=[method]) for method, path, page in OPEN]
    made = Starlette(
        routes=[
            *opened,
            Route("/portal/files/{name}", _file, methods=["GET"]),
            WebSocketRoute(terminal.PATH, terminal.Terminal(api)),
            *routes,
        ],
        exception_handlers={HTTPException: _nothing_here(api)},
        middleware=[Middleware(GZipMiddleware, minimum_size=1000, compresslevel=PACKED), Middleware(Faults)],
    )
    made.router.redirect_slashes = False
    return made


async def _file(request: Request) -> Response:
    try:
        return await files.serve(request)
    except Refused as refused:
        raise HTTPException(refused.status, refused.message) from refused


def _nothing_here(api: ASGIApp) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def page(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        return _bare(api, request).page(
            "refused.html", status=status, refused=Refused(status, "There is no such page here.")
        )

    return page


def _bare(api: ASGIApp, request: Request) -> Visit:
    return Visit(request=request, api=Api(app=api, asker=asker(request)), secret="-")


class Faults:
    """The outermost: what nobody expected is logged, and told without details."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            log.exception("a page failed by a fault of ours")
            if begun:
                raise
            said = Refused(500, "This page has a fault of ours. The log of control has the details.")
            request = Request(scope)
            template = "refused_part.html" if "hx-request" in request.headers else "refused.html"
            page = _bare(self._app, request).page(template, status=500, refused=said)
            await page(scope, receive, send)
