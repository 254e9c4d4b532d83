"""Which requests are for the portal, and which for the API beneath it.

In: every request of control. Out: pages for what lies under /portal, and a way there from /; all else goes on to the
API untouched. Pages and their library are loaded with the first request for one: a control that nobody looks at pays
nothing for them.
"""

import asyncio

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

BASE = "/portal"


def _pages(api: ASGIApp) -> ASGIApp:
    from anypop.portal.app import make_pages  # noqa: PLC0415 - see above

    return make_pages(api)


class PortalDoor:
    """Middleware before the API; what pages ask, they ask the application behind it."""

    def __init__(self, app: ASGIApp) -> None:
        self._api = app
        self._pages: ASGIApp | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path in ("/", BASE):
            await RedirectResponse(f"{BASE}/", status_code=303)(scope, receive, send)
        elif scope["type"] in ("http", "websocket") and path.startswith(f"{BASE}/"):
            await (await self._loaded(scope["app"]))(scope, receive, send)
        else:
            await self._api(scope, receive, send)

    async def _loaded(self, application: ASGIApp) -> ASGIApp:
        async def api(scope: Scope, receive: Receive, send: Send) -> None:
            await self._api({**scope, "app": application}, receive, send)

        async with self._loading:
            if self._pages is None:
                self._pages = await asyncio.to_thread(_pages, api)
        return self._pages
