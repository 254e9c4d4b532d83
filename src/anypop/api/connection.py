"""One HTTP connection with deadlines: for the headers of a request, and for its body.

In: bytes of a client. Out: requests to the application, as uvicorn makes them; a request that is not all there in time
is answered 408 and its connection closed, and the application hears that the client is gone. Of more requests than
`MOST_UNFINISHED` that are still on their way the oldest goes first. uvicorn itself waits for ever, and whoever sends
half a request would hold memory here for ever. It knows nothing of what is asked.
"""

import asyncio
import json
import logging
from typing import Any, ClassVar, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from anypop.api.errors import GATEWAY, REQUEST_ID, Code
from anypop.api.seldom import Seldom
from anypop.control import acts
from anypop.control.agent_certificates import named_by
from anypop.control.joins import Shown

log = logging.getLogger("anypop.api")
_late_lines = Seldom(log)

# A request's head is one packet or two; a body of 4 MiB comes in 30 s over 1.1 Mbit/s.
HEADERS_S = 10.0
BODY_S = 30.0

LINGER_S = 1.0  # so long a request that was refused may go on coming, unread

# Each costs some 60 kB. An honest one is here within milliseconds, so the oldest of so many is none; but a large body
# over a slow line is left in peace where there is no crowd.
MOST_UNFINISHED = 96
CROWDED_AFTER_S = 1.0

Waiting = Literal["headers", "body", ""]


class Connection(H11Protocol):
    """uvicorn's, with deadlines."""

    headers_s = HEADERS_S
    body_s = BODY_S
    most_unfinished = MOST_UNFINISHED
    # of this process, the oldest first, with the moment (of the loop) since when it is waited for
    unfinished: ClassVar[dict["Connection", float]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: Waiting = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # what every request over it says of its sender: an agent's certificate, where TLS has verified one
        secure = transport.get_extra_info("ssl_object")
        peer = secure.getpeercert() if secure is not None else None
        named = named_by(peer) if peer else None
        self.app_state = {**self.app_state, "break_off": self._break_off}
        if named is not None:
            self.app_state["certificate"] = Shown(host=named[0], issued_at=named[1])
        self._wait_for("headers")

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        self._look()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or has too long a head, is answered in the usual shape, and its connection ends."""
        request_id = acts.new_request_id()
        details = [{"@type": "stackpath.rpc.RequestInfo", "requestId": request_id, "servingData": ""}]
        message = "the request is no HTTP, or its address and headers are too long"
        body = json.dumps({"code": int(Code.INVALID_ARGUMENT), "message": message, "details": details}).encode()
        headers = [
            ("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close"),
            GATEWAY, (REQUEST_ID, request_id),
        ]  # fmt: skip
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        # Closed at once, what is still on its way here would reset the connection, and the answer with it.
        self._refused = True
        self.loop.call_later(LINGER_S, self.transport.close)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_for("")
        super().connection_lost(exc)

    def _break_off(self) -> None:
        """The answer on its way is not whole, and shall not look so: what was written of it goes out, and then the
        connection ends without the end of the body (RFC 9112, section 8).
        """
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # nothing more is taken for it
            self.transport.close()

    def _look(self) -> None:
        """What is the client's to send next? Between two requests it is nothing; uvicorn closes what is idle. A
        WebSocket is no request any more: it may be silent for as long as it likes.
        """
        if self.transport.get_protocol() is not self:
            self._wait_for("")
            return
        match self.conn.their_state:
            case h11.IDLE:
                first = self.cycle is None
                self._wait_for("headers" if first or self.conn.trailing_data[0] else "")
            case h11.SEND_BODY:
                self._wait_for("body")
            case _:
                self._wait_for("")

    def _wait_for(self, part: Waiting) -> None:
        if part == self._waiting:
            return
        self._waiting = part
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.unfinished.pop(self, None)
        if part:
            self._make_room()
            self.unfinished[self] = self.loop.time()
            seconds = self.headers_s if part == "headers" else self.body_s
            self._deadline = self.loop.call_later(seconds, self._late, part, seconds)

    def _make_room(self) -> None:
        while len(self.unfinished) >= self.most_unfinished:
            oldest, since = next(iter(self.unfinished.items()))
            if self.loop.time() - since < CROWDED_AFTER_S:
                return
            del self.unfinished[oldest]
            # Two turns of the loop later: what the kernel already has of it is read in between, so that where we are
            # the slow ones nobody is sent away for it.
            self.loop.call_soon(self.loop.call_soon, oldest._crowded_out, oldest._deadline)

    def _crowded_out(self, deadline: asyncio.TimerHandle | None) -> None:
        if self._waiting and deadline is self._deadline and deadline is not None:
            deadline.cancel()
            self._late(self._waiting, CROWDED_AFTER_S)

    def _late(self, part: Waiting, seconds: float) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        who = self.client[0] if self.client else "somebody"
        _late_lines.warn(f"the {part} of a request from {who} had not come after {seconds:g} s: closed")
        cycle = self.cycle if part == "body" else None
        if cycle is None or not cycle.response_started:
            self.transport.write(_too_late(part, seconds))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.abort()  # what was written is with the kernel; whoever is this slow need not say goodbye


def _too_late(part: str, seconds: float) -> bytes:
    """A whole answer in the usual shape; google.rpc's DEADLINE_EXCEEDED."""
    message = f"the {part} of the request had not come after {seconds:g} s"
    body = json.dumps({"code": 4, "message": message, "details": []}).encode()
    head = (
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
