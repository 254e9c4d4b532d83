"""Which routers a request is shown: those that have an operation with its path.

In: a router as an application includes it, and its operations. Out: a route that takes the same requests, and lets the
framework look at the router only where the path fits one of its operations. The framework tries every operation of
every router in turn, which takes longer than many an answer; here one expression for each router is tried first. It
decides nothing: method, parameters and what is refused are the router's.
"""

import re
from collections.abc import Sequence

from fastapi.routing import APIRoute
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

_NAMED = re.compile(r"\(\?P<\w+>")  # a name may stand once in an expression, and here several are one


class Sieve(BaseRoute):
    """`route`: what is behind it. `operations`: all that `route` leads to."""

    def __init__(self, route: BaseRoute, operations: Sequence[APIRoute]) -> None:
        self._route = route
        self._fits = re.compile("|".join(_NAMED.sub("(?:", one.path_regex.pattern) for one in operations)).match

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not self._fits(get_route_path(scope)):
            return Match.NONE, {}
        return self._route.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._route.handle(scope, receive, send)
