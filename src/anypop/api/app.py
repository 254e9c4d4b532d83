"""The application: all routers, the errors' shape, one header. Made by `serve`, or by a test with a platform of its own."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anypop.api import (
    agents,
    announcements,
    changes,
    communities,
    errors,
    events,
    hosts,
    identity,
    network,
    pops,
    prices,
    probes,
    quotas,
    rollouts,
    stacks,
    watch,
    workloads,
)
from anypop.api.context import Platform

# In the order of the documentation: the Workload API first, then Anypop's own.
ROUTERS = tuple(
    part.router
    for part in (
        identity, stacks, workloads, prices, pops, hosts, events, quotas, network, communities, announcements, changes, rollouts, watch, probes, agents
    )
)  # fmt: skip


def make_app(platform: Platform) -> FastAPI:
    """The HTTP API over `platform`, whose core has been started."""
    app = FastAPI(
        title="Anypop",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        openapi_url="/anypop/v1/openapi.json",
        redirect_slashes=False,  # a path with an empty id is no other path: `.../workloads/` must not become the list
    )
    app.state.platform = platform
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(GrpcHeader)
    return app


_GATEWAY = (errors.GATEWAY[0].encode(), errors.GATEWAY[1].encode())


class GrpcHeader:
    """Adds the gateway's header to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], _GATEWAY]
            await send(message)

        await self._app(scope, receive, with_header if scope["type"] == "http" else send)
