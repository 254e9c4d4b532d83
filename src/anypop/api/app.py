"""The application: all routers, the errors' shape, the headers of every answer.

In: a platform, from `serve` or from a test. Out: the application over it. It decides nothing.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anypop.api import (
    accounts,
    addresses,
    agents,
    allocations,
    announcements,
    audit,
    backbone,
    catchments,
    changes,
    communities,
    costs,
    counted,
    dials,
    drains,
    entitlements,
    errors,
    events,
    exposition,
    gateway_routes,
    glass,
    healthz,
    hosts,
    identity,
    image_captures,
    images,
    initial_passwords,
    invitations,
    landing_tests,
    links,
    log_search,
    log_sinks,
    logs,
    metrics,
    metrics_query,
    network,
    network_policies,
    networks,
    objectives,
    oidc,
    openapi,
    plans,
    pops,
    power,
    predictions,
    prices,
    probes,
    quotas,
    repairs,
    rollouts,
    scaling,
    sets,
    signing_in,
    stacks,
    streams,
    subnets,
    summaries,
    timelines,
    usage,
    users,
    volumes,
    watch,
    workloads,
)
from anypop.api.context import Platform, check_query
from anypop.api.sieve import Sieve
from anypop.control import acts
from anypop.control.acts import Act
from anypop.portal.door import PortalDoor

# In the order of the documentation: the Workload API first, then Anypop's own.
ROUTERS = tuple(
    part.router
    for part in (
        identity, signing_in, links, oidc, accounts, users, invitations,
        stacks, workloads, power, initial_passwords, logs, log_search, log_sinks, metrics, images, image_captures,
        network_policies,
        networks, subnets,
        gateway_routes,
        allocations, addresses, prices, usage, costs, plans, sets, changes, rollouts, scaling, volumes, watch,
        summaries, timelines, announcements, communities, probes, predictions,
        healthz, pops, hosts, exposition,
        metrics_query, objectives, backbone, drains, dials, events, audit, quotas, network, agents,
        landing_tests, repairs, glass, catchments,
    )
)  # fmt: skip


class Application(FastAPI):
    """FastAPI with our own description of what it serves."""

    def __init__(self) -> None:
        super().__init__(
            title=openapi.TITLE,
            docs_url=None,  # its page would load scripts from elsewhere
            redoc_url=None,
            openapi_url="/anypop/v1/openapi.json",
            redirect_slashes=False,  # `.../workloads/` has an empty id and must not become the list
            dependencies=[Depends(check_query)],
        )

    def openapi(self) -> dict[str, Any]:
        """The description of the API, made when somebody asks for it first."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.description(ROUTERS)
        return self.openapi_schema


def make_app(platform: Platform) -> FastAPI:
    """The HTTP API over `platform`, whose core has been started."""
    app = Application()
    app.state.platform = platform
    errors.install(app)
    app.router.routes.extend((*_routes(), *streams.routes(platform)))
    app.add_middleware(counted.Counted, counts=platform.core.counts)
    app.add_middleware(ReadsAlone, platform=platform)
    app.add_middleware(Labels, clock=platform.clock)
    app.add_middleware(PortalDoor)
    return app


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """The routers as an application includes them, once for all applications of this process: what the framework works
    out of the operations with the first request takes a fifth of a second, and knows nothing of any platform.
    """
    entitlements.refuse_unknown(ROUTERS)
    app = Application()
    own = len(app.router.routes)
    for router in ROUTERS:
        app.include_router(router)
    included = app.router.routes[own:]
    return tuple(Sieve(one, operations_of(router)) for one, router in zip(included, ROUTERS, strict=True))


def operations_of(router: APIRouter) -> tuple[APIRoute, ...]:
    """All that it has: none of ours includes another router, or anything but operations."""
    assert all(isinstance(route, APIRoute) for route in router.routes)
    return tuple(route for route in router.routes if isinstance(route, APIRoute))


_GATEWAY = (errors.GATEWAY[0].encode(), errors.GATEWAY[1].encode())


READING = frozenset({"GET", "HEAD", "OPTIONS"})
# An agent's order is the active control's to give; a reader of it would obey what may be overtaken.
OF_AGENTS = "/anypop/v1/agents/"
AGAIN_AFTER_S = 2.0


class ReadsAlone:
    """In a standby: whatever would change something is answered with where the active control is."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        self._platform = platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        standby = self._platform.standby
        if standby is None or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope.get("method") in READING and not scope["path"].startswith(OF_AGENTS):
            await self._app(scope, receive, send)
            return
        where = f"the active one is {standby.active_at}" if standby.active_at else "the active one is not known"
        message = f"this control stands by and answers reads alone; {where}"
        await errors.answer(errors.Code.UNAVAILABLE, message, retry_s=AGAIN_AFTER_S)(scope, receive, send)


class Labels:
    """Gives every request its id, and every answer that id and the gateway's header."""

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        act = Act(address=client[0] if client else "", at=self._clock())
        acts.begin(act)
        labels = [_GATEWAY, (errors.REQUEST_ID.encode(), act.request_id.encode())]

        async def labelled(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message["headers"] = [*message["headers"], *labels]
            await send(message)

        await self._app(scope, receive, labelled)
