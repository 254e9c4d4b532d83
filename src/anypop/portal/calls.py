"""The public API, called inside this process: the only way by which a page learns or changes anything.

In: a path of the API, and the token of whoever looks at the page. Out: its answer, or `Refused` with its words, or
`SignedOut`; or a stream's events one by one. Each call goes through the whole application as a request from outside
does: token, role, rates, bounds, audit. It knows no store and no control.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Scope

log = logging.getLogger("anypop.portal")

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with one field, by its path in the API's document."""

    field: str
    says: str


class Refused(Exception):  # noqa: N818 - a refusal is no error of ours
    """The API said no. `problems`: each field that is wrong; `wait_s`: when to come again, 0 where it does not say."""

    def __init__(self, status: int, message: str, problems: tuple[Problem, ...] = (), *, wait_s: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problems = problems
        self.wait_s = wait_s


class SignedOut(Exception):  # noqa: N818 - it is no error of ours either
    """The session is over. No `Refused`, since no page has an answer to it: it passes all of them, up to the one place
    that leads to the sign-in. `refused`: the API's words.
    """

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, as the API must see it: the other end of the connection, and the token."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One of a stream."""

    name: str
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The API for one asker. Whoever asks with the token of a session that is over gets `SignedOut`."""

    app: ASGIApp
    asker: Asker

    async def get(self, *path: str, **query: object) -> Any:
        """The data of an answer. Raises `Refused`."""
        return await self._ask("GET", path, query=query)

    async def text(self, *path: str, **query: object) -> bytes:
        """The same, unread. Raises `Refused`."""
        return await self._answer("GET", path, query=query)

    async def send(
        self, method: str, *path: str, body: object = None, query: Mapping[str, object] | None = None
    ) -> Any:
        """The same for what has a body: data, which is sent as JSON. Raises `Refused`."""
        return await self._ask(method, path, query=query, body=body)

    async def led(self, *path: str, query: Mapping[str, object], cookie: str = "") -> tuple[str, list[str]]:
        """Where an answer leads that is nothing but a way elsewhere, and the cookies that go with it. Raises
        `Refused`.
        """
        status, headers, body = await self._whole(self._scope("GET", path, query, cookie=cookie), b"")
        if status >= 400:
            raise self._no(status, headers, body)
        cookies = [value for name, value in headers if name == "set-cookie"]
        return next((value for name, value in headers if name == "location"), ""), cookies

    async def _ask(
        self, method: str, path: tuple[str, ...], *, query: Mapping[str, object] | None = None, body: object = None
    ) -> Any:
        answer = await self._answer(method, path, query=query, body=body)
        return from_json(answer) if answer else None  # in two thirds of the time that json takes

    async def _answer(
        self, method: str, path: tuple[str, ...], *, query: Mapping[str, object] | None = None, body: object = None
    ) -> bytes:
        content = json.dumps(body).encode() if body is not None else b""
        status, headers, answer = await self._whole(self._scope(method, path, query or {}), content)
        if status >= 400:
            raise self._no(status, headers, answer)
        return answer

    async def _whole(self, scope: Scope, content: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        status, headers, parts = 500, [], []
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()  # a request is never taken back: its page goes on to the end
            sent = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in message.get("headers", [])]
            else:
                parts.append(message.get("body", b""))

        # in a task of its own: who acts there is nobody else's business
        await asyncio.create_task(_run(self.app, scope, receive, send))
        return status, headers, b"".join(parts)

    def socket(self, *path: str, query: Mapping[str, object], extensions: Mapping[str, Any]) -> Scope:
        """The question for a WebSocket, which is the caller's to ask. Raises `Refused`."""
        asked = self._scope("GET", path, query)
        del asked["method"]
        return {**asked, "type": "websocket", "scheme": "wss", "subprotocols": [], "extensions": extensions}

    async def events(self, *path: str, **query: object) -> AsyncIterator[Event]:
        """A stream of server-sent events, to its end. Raises `Refused`. Whoever is slow to take them gets fewer and
        newer ones, as from the API itself.
        """
        async with contextlib.aclosing(events_in(self.pieces(*path, **query))) as events:
            async for event in events:
                yield event

    async def pieces(self, *path: str, **query: object) -> AsyncGenerator[bytes, None]:
        """An answer's body as it comes, no faster than it is taken. Raises `Refused`. The first piece is empty: it is
        not refused.
        """
        arrived: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=1)

        async def receive() -> Message:
            await asyncio.Event().wait()  # whoever listens no more cancels the task
            return {"type": "http.disconnect"}

        async def stream() -> None:
            try:
                await _run(self.app, self._scope("GET", path, query), receive, arrived.put)
            except Exception:
                log.exception("a stream of the API failed by a fault of ours")
            await arrived.put(None)  # not where it was cancelled: nobody takes it any more

        task = asyncio.create_task(stream())
        status, headers, text = 500, list[tuple[str, str]](), b""
        try:
            while (message := await arrived.get()) is not None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in message.get("headers", [])]
                    if status < 400:
                        yield b""
                    continue
                if status < 400:
                    yield message.get("body", b"")
                    continue
                text += message.get("body", b"")
                if not message.get("more_body", False):
                    raise self._no(status, headers, text)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    def _no(self, status: int, headers: list[tuple[str, str]], body: bytes) -> Refused | SignedOut:
        refused = _refused(status, headers, body)
        return SignedOut(refused) if status == 401 and self.asker.token else refused

    def _scope(self, method: str, path: tuple[str, ...], query: Mapping[str, object], *, cookie: str = "") -> Scope:
        raw = "/" + "/".join(quote(part, safe="") for part in _parts(path))
        headers = [(b"host", b"portal"), (b"content-type", JSON.encode())]
        if self.asker.token:
            headers.append((b"authorization", f"Bearer {self.asker.token}".encode("latin-1", "replace")))
        if cookie:
            headers.append((b"cookie", cookie.encode("latin-1", "replace")))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": "/" + "/".join(_parts(path)),
            "raw_path": raw.encode(),
            "query_string": urlencode(_texts(query), doseq=True).encode(),
            "root_path": "",
            "headers": headers,
            "client": self.asker.client,
            "server": self.asker.server,
            "state": {},  # nothing of the connection: an agent's certificate opens no page
        }


async def events_in(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[Event, None]:
    """The server-sent events of an answer."""
    text = b""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            *whole, text = (text + piece).split(b"\n\n")
            for one in whole:
                if (event := _event(one.decode())) is not None:
                    yield event


def _texts(query: Mapping[str, object]) -> dict[str, list[str]]:
    """Of each parameter its values: several, where it has a tuple of them."""
    return {
        key: [str(one) for one in (value if isinstance(value, tuple) else (value,))] for key, value in query.items()
    }


def _parts(path: tuple[str, ...]) -> tuple[str, ...]:
    """The first part is ours and has slashes; what follows are names and words, none of which may lead elsewhere.
    Raises `Refused`.
    """
    head, *rest = path
    if any(part in ("", ".", "..") or "/" in part for part in rest):
        raise Refused(404, "there is nothing of that name")
    return (*head.split("/"), *rest)


async def _run(app: ASGIApp, scope: Scope, receive: Any, send: Any) -> None:
    await app(scope, receive, send)


def _refused(status: int, headers: list[tuple[str, str]], body: bytes) -> Refused:
    try:
        told = json.loads(body)
    except ValueError:
        told = {}
    details = [d for d in told.get("details", ()) if isinstance(d, dict)]
    wrong = [v for d in details for v in (*d.get("fieldViolations", ()), *d.get("violations", ()))]
    problems = tuple(
        Problem(field=str(v.get("field") or v.get("subject") or ""), says=str(v.get("description", ""))) for v in wrong
    )
    wait = next((value for name, value in headers if name.lower() == "retry-after"), "0")
    message = str(told.get("message") or "control has no answer to this")
    return Refused(status, message, problems, wait_s=float(wait) if wait.isdigit() else 0)


def _event(text: str) -> Event | None:
    """None for a sign of life."""
    name, data = "message", []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "event":
            name = value.strip()
        elif key == "data":
            data.append(value.removeprefix(" "))
    return Event(name=name, data=json.loads("\n".join(data))) if data else None
