"""HTTP to control: a token, a request, an answer as plain data, or one clear `Failure`.

In: `Settings`. Out: parsed JSON. A token is fetched at the first request and again once when control answers 401 (it
restarted, or the hour is over). Knows the grpc-shaped errors; knows no command and prints nothing.
"""

import json
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx

from anypop.cli.failure import CutOff, Exit, Failure, refused
from anypop.cli.settings import Settings

if TYPE_CHECKING:
    from anypop.cli.websocket import WebSocket

CONNECT_S = 5.0  # connecting is quick or hopeless
PATIENCE_S = 60.0  # an answer may take long where control asks many daemons for it
LONGEST_WAIT_S = 30.0  # what control asks to wait for is waited for, up to this; then a person decides
PAGE = 100  # items asked for at a time: most lists fit in one page, none makes a large answer


class Client:
    """One control process, one identity. `transport` replaces the network in tests."""

    def __init__(self, settings: Settings, *, transport: httpx.BaseTransport | None = None) -> None:
        self.settings = settings
        self._token = ""
        if transport is None:
            transport = httpx.HTTPTransport(verify=_verify(settings), trust_env=False, socket_options=_ALIVE)
        self._http = httpx.Client(
            base_url=settings.url,
            timeout=httpx.Timeout(PATIENCE_S, connect=CONNECT_S),
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, *, what: str, **query: str | int) -> Any:
        return self.call("GET", path, what=what, query=query)

    def call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        body: object = None,
        query: dict[str, str | int] | None = None,
        patience_s: float = PATIENCE_S,
        shape: type[dict[str, Any]] | type[list[Any]] = dict,
    ) -> Any:
        """The parsed answer; None where it has no body. `what` opens the message of a Failure ("create workload
        web"). `shape`: an answer of control is an object, but for what others say the form of.
        """
        response = self._send(method, path, what=what, body=body, query=query, patience_s=patience_s)
        if response.status_code >= 400:
            raise refused(response.status_code, _parsed(response), what=what)
        if not response.content:
            return None
        found = _parsed(response)
        if not isinstance(found, shape):
            raise Failure(
                f"{what}: this answer is not one of control's", advice="Is ANYPOP_URL the address of a control process?"
            )
        return found

    def give(self, path: str, content: bytes, *, what: str, query: dict[str, str | int]) -> Any:
        """The parsed answer to bytes, which are put there as they are."""
        response = self._send("PUT", path, what=what, content=content, query=query, patience_s=PATIENCE_S)
        if response.status_code >= 400:
            raise refused(response.status_code, _parsed(response), what=what)
        return _parsed(response)

    def post_open(self, path: str, body: object, *, what: str) -> Any:
        """The parsed answer to somebody who has not said yet who it is."""
        response = self._patiently(self._http.build_request("POST", path, json=body))
        if response.status_code >= 400:
            raise refused(response.status_code, _parsed(response), what=what)
        return _parsed(response)

    def every(self, path: str, *, what: str, **query: str | int) -> list[Any]:
        """All `results` of a list, page after page."""
        found: list[Any] = []
        after = "-1"  # before the first item
        while True:
            page = self.get(path, what=what, **{**query, "page_request.first": PAGE, "page_request.after": after})
            found += page.get("results") or []
            info = page.get("pageInfo") or {}
            if not info.get("hasNextPage") or info.get("endCursor") in ("", after, None):
                return found
            after = str(info["endCursor"])

    def events(
        self, path: str, *, what: str, silence_s: float = 30, longest_s: float = inf
    ) -> Iterator[tuple[str, Any]]:
        """(event name, parsed data) of a stream of server-sent events, until control ends it.

        `silence_s`: longest pause between two chunks; a stream that is silent for longer ends like one that broke,
        with no error: the caller holds the last state and asks again. So does one that lasts longer than `longest_s`,
        at its next sign of life. `Failure` where control says that whoever asks may watch no longer.
        """
        over_at = time.monotonic() + longest_s
        patience = httpx.Timeout(silence_s, connect=CONNECT_S)
        try:
            with self._open(path, what=what, patience=patience, accept="text/event-stream") as response:
                for event, data in _server_sent(takewhile(lambda _: time.monotonic() < over_at, response.iter_lines())):
                    if event == "ended":
                        raise _ended(what, str(data.get("message", "")))
                    yield event, data
        except httpx.ConnectError as error:
            raise self._unreachable(error) from error
        except httpx.TransportError:
            return

    @contextmanager
    def stream(self, path: str, *, what: str, **query: str | int) -> Iterator[Iterator[bytes]]:
        """The body of an answer, piece by piece, however long it takes. `CutOff` where it breaks before its end."""
        patience = httpx.Timeout(None, connect=CONNECT_S)
        try:
            with self._open(path, what=what, patience=patience, query=query) as response:
                yield self._pieces(response, what)
        except httpx.ConnectError as error:
            raise self._unreachable(error) from error

    @staticmethod
    def _pieces(response: httpx.Response, what: str) -> Iterator[bytes]:
        try:
            yield from response.iter_raw()
        except httpx.TransportError as error:
            raise CutOff(f"{what}: cut off before the end", advice=_CUT_OFF) from error

    @contextmanager
    def _open(
        self,
        path: str,
        *,
        what: str,
        patience: httpx.Timeout,
        query: dict[str, str | int] | None = None,
        accept: str = "*/*",
    ) -> Iterator[httpx.Response]:
        """An answer whose body comes bit by bit, asked for with a token that counts."""
        for attempt in (1, 2):
            headers = {"Authorization": f"Bearer {self._bearer(what)}", "Accept": accept}
            with self._http.stream("GET", path, params=query, headers=headers, timeout=patience) as response:
                if response.status_code < 400:
                    yield response
                    return
                response.read()
            if response.status_code != 401 or attempt == 2 or self.settings.token:
                raise refused(response.status_code, _parsed(response), what=what)
            self._token = ""  # it is older than the hour that it counts

    @contextmanager
    def socket(self, path: str, query: Sequence[tuple[str, str]], *, what: str) -> "Iterator[WebSocket]":
        """A WebSocket. `Failure` at its end, where control says that whoever asked may go on no longer."""
        from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: PLC0415 - one command needs it

        from anypop.cli.websocket import WebSocket  # noqa: PLC0415

        address = f"{self.settings.url.replace('http', 'ws', 1)}{path}?{urlencode(query)}"
        verify = _verify(self.settings)
        context = verify if isinstance(verify, ssl.SSLContext) else ssl.create_default_context()
        with ExitStack() as left:
            for attempt in (1, 2):
                headers = {"Authorization": f"Bearer {self._bearer(what)}"}
                try:
                    trust = context if address.startswith("wss:") else None
                    there = left.enter_context(WebSocket(address, trust, headers, patience_s=PATIENCE_S))
                    break
                except InvalidStatus as error:
                    answer = httpx.Response(error.response.status_code, content=bytes(error.response.body or b""))
                    if answer.status_code == 401 and attempt == 1:  # it is older than the hour that it counts
                        self._token = ""
                        continue
                    raise refused(answer.status_code, _parsed(answer), what=what) from error
                except OSError as error:
                    raise self._unreachable(error) from error
            try:
                yield there
            except ConnectionClosed as error:
                if there.why_ended is None:
                    raise CutOff(f"{what}: the connection was cut off", advice=_CUT_OFF) from error
            if (why := there.why_ended) is not None:
                raise _ended(what, why)

    def _send(
        self, method: str, path: str, *, what: str, body: object = None, content: bytes | None = None,
        query: dict[str, str | int] | None, patience_s: float,
    ) -> httpx.Response:  # fmt: skip
        patience = httpx.Timeout(patience_s, connect=CONNECT_S)
        for attempt in (1, 2):
            headers = {"Authorization": f"Bearer {self._bearer(what)}"}
            if content is not None:
                headers["Content-Type"] = "application/octet-stream"
            request = self._http.build_request(
                method, path, json=body, content=content, params=query, headers=headers, timeout=patience
            )
            response = self._patiently(request)
            if response.status_code != 401 or attempt == 2:
                break
            if self.settings.token:
                if path == _PASSWORD:  # the old one is wrong, and the session is not over
                    break
                raise Failure("your session is over", code=Exit.DENIED, advice=f"'anypop login {self.settings.url}'")
            self._token = ""
        return response

    def _patiently(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request; where control says "too many, come again in so many seconds", and that is not long,
        the answer to the one after that. What was refused so has changed nothing.
        """
        waited = 0.0
        while True:
            try:
                response = self._http.send(request)
            except httpx.TransportError as error:
                raise self._unreachable(error) from error
            wait = _told_to_wait(response)
            if not wait or waited + wait > LONGEST_WAIT_S:
                return response
            time.sleep(wait)
            waited += wait

    def _bearer(self, what: str) -> str:
        if self._token or self.settings.token:
            return self._token or self.settings.token
        who = {
            "grant_type": "client_credentials",
            "client_id": self.settings.client_id,
            "client_secret": self.settings.client_secret,
        }
        response = self._patiently(self._http.build_request("POST", "/identity/v1/oauth2/token", json=who))
        match response.status_code:
            case 401:
                raise Failure("control refuses the client secret", code=Exit.DENIED, advice=_CREDENTIALS)
            case 404:
                raise Failure(
                    f"control does not know client {self.settings.client_id}", code=Exit.DENIED, advice=_CREDENTIALS
                )
            case status if status >= 400:
                raise refused(status, _parsed(response), what=f"sign in to {what}")
            case _:
                token = (_parsed(response) or {}).get("access_token")
        if not token:
            raise Failure(
                f"{self.settings.url} is not a control process: it gives no token",
                code=Exit.UNREACHABLE,
                advice="Is ANYPOP_URL (or the context) the address of one?",
            )
        self._token = str(token)
        return self._token

    def _unreachable(self, error: Exception) -> Failure:
        url = self.settings.url
        match error:
            case httpx.ReadTimeout() | httpx.WriteTimeout() | httpx.PoolTimeout():
                return Failure(
                    f"control at {url} gives no answer",
                    code=Exit.UNREACHABLE,
                    advice="See its log, log/control.log in the state folder.",
                )
            case httpx.ConnectError() if "CERTIFICATE" in str(error).upper():
                return Failure(
                    f"the certificate of {url} is not one that we trust",
                    code=Exit.UNREACHABLE,
                    advice="Set ANYPOP_CA to control's ca.pem; leave it out for a name that has a public certificate.",
                )
            case _:
                return Failure(
                    f"control at {url} is not reachable: {error}",
                    code=Exit.UNREACHABLE,
                    advice="Is it running? 'sudo anypop up' starts it.",
                )


# Whoever only listens would never hear that the other side is gone: the kernel asks after 15 s of silence (tcp(7)).
_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
_CUT_OFF = "Control or the host has ended it: 'anypop host list' shows the hosts."
_PASSWORD = "/anypop/v1/password"
_CREDENTIALS = "Check ANYPOP_CLIENT_ID and ANYPOP_CLIENT_SECRET, or the client.json of --state."


def _verify(settings: Settings) -> ssl.SSLContext | bool:
    if not settings.ca:
        return True
    try:
        if settings.ca.startswith("-----BEGIN"):
            return ssl.create_default_context(cadata=settings.ca)
        return ssl.create_default_context(cafile=str(Path(settings.ca)))
    except (OSError, ssl.SSLError) as error:
        raise Failure(
            f"the CA {settings.ca[:80]} cannot be used: {error}",
            code=Exit.USAGE,
            advice="Set ANYPOP_CA to control's ca.pem.",
        ) from error


def _ended(what: str, why: str) -> Failure:
    """What let it in has come to an end while it went on."""
    return Failure(f"{what}: {why}", code=Exit.DENIED)


def _told_to_wait(response: httpx.Response) -> float:
    """Seconds; 0 where the answer says nothing of the kind, or where coming again would not help."""
    if response.status_code != 429:
        return 0.0
    details = (_parsed(response) or {}).get("details") or []
    delays = [str(d.get("retryDelay", "")) for d in details if str(d.get("@type", "")).endswith("RetryInfo")]
    try:
        return max(0.05, float(delays[0].removesuffix("s"))) if delays else 0.0
    except ValueError:
        return 0.0


def _parsed(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _server_sent(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Events of the WHATWG event stream format: `event:` names it, `data:` lines add up, an empty line ends it, `:`
    is a comment.
    """
    name, data = "message", list[str]()
    for line in lines:
        if not line:
            if data:
                yield name, json.loads("\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
