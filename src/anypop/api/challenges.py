"""What an authority asks at port 80 to see that a name is ours (HTTP-01 of RFC 8555), and nothing else.

In: answers, while an order is under way. Out: a plain HTTP server beside control's own, with the same bounds:
connections from one address, deadlines, sizes. It knows no token, account or workload.
"""

import asyncio
import contextlib
import errno
import socket
from functools import partial

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from anypop.api import listen
from anypop.api.connection import Connection
from anypop.model.errors import WorldError

PORT = 80  # RFC 8555, section 8.3: no other is asked


class Challenges:
    """`places`: where it listens; without any, at every address of the machine."""

    def __init__(self, places: tuple[listen.ListenAddress, ...] = ()) -> None:
        self._places = places
        self._answers: dict[str, str] = {}
        self._sockets: list[socket.socket] = []

    def open(self, opened: contextlib.ExitStack) -> None:
        """Before anything else, so that a port that is taken is known at the start. Raises `WorldError`."""
        for place in self._places or (listen.ListenAddress(host="0.0.0.0", port=PORT),):
            self._sockets.append(opened.enter_context(contextlib.closing(listen.open_socket(place))))
        if not self._places and socket.has_ipv6:
            try:
                made = listen.open_socket(listen.ListenAddress(host="::", port=PORT))
            except WorldError as error:
                if getattr(error.__cause__, "errno", None) not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                return  # a machine without IPv6 is reached by the other family alone
            self._sockets.append(opened.enter_context(contextlib.closing(made)))

    async def serve(self) -> None:
        """From now on, until the sockets are closed."""
        config = uvicorn.Config(
            self._answer, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, date_header=False,
        )  # fmt: skip
        config.load()
        made = partial(Connection, config=config, server_state=ServerState(), app_state={})
        loop = asyncio.get_running_loop()
        for place in self._sockets:
            await loop.create_server(made, sock=place, backlog=listen.BACKLOG)

    def put(self, path: str, content: str) -> None:
        self._answers[path] = content

    def drop(self, path: str) -> None:
        self._answers.pop(path, None)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._answers.get(scope["path"]) if scope.get("method") in ("GET", "HEAD") else None
        # the content is the authority's token and the digest of our account's key: no secret
        headers = {"connection": "close", "x-content-type-options": "nosniff"}
        status, content = (404, "nothing is here; control speaks HTTPS\n") if found is None else (200, found)
        await PlainTextResponse(content, status_code=status, headers=headers)(scope, receive, send)
