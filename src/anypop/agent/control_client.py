"""Between the agent and control: orders come by a long poll, reports go by a post. HTTPS with a private CA and the
agent's own token.

In: control's addresses, CA and token files. Out: each new order to `on_order`; the newest report to control, on every
change and as a heartbeat. Of several controls one is active; the others say that they stand by, and the next is asked.
Control may be away for any time: this keeps trying, with back-off, and nothing else of the agent waits for it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from websockets.asyncio.client import connect

from anypop.agent import identity
from anypop.agent.decide.back_off import BackOff
from anypop.agent.encoded_report import EncodedReport
from anypop.agent.kept_connection import KeptConnection
from anypop.agent.whole_file import sign_of
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import HostName
from anypop.model.order import Order
from anypop.model.order_delta import BASE_HEADER, Digests, OrderDelta, apply
from anypop.model.report import Report
from anypop.model.sources import Sources

WAIT_S = 25.0
HEARTBEAT_S = 5.0
SILENCE_S = 10.0
KEPT_S = 60.0  # a connection lives from heartbeat to heartbeat, or each would be a handshake; control keeps it longer
COALESCE_S = 0.02  # changes come in bursts: one report tells of them together
UNHURRIED_S = 0.1  # nothing follows from these at control: they go with what does, or after this time
DOWNLOAD_SILENCE_S = 30.0
_PIECE = 1 << 18  # what is lost of a download that is cut; less costs more turns of the loop
_REST = BackOff(first_s=0.1, longest_s=5)
_RENEWAL = BackOff(first_s=1, longest_s=600)
LOOKED_AT_EVERY_S = 3600.0  # the wall's clock may be set meanwhile


class ControlClient:
    """Three loops: `fetch`, `deliver` and `keep_certificate`. `state`: where the certificate of an agent that has
    joined is kept; before it has, the token says who it is. `joins`: with that token it gets its certificate by itself.
    `error` says what is wrong between us and control, in words; empty when nothing is.
    """

    def __init__(
        self, *, host: HostName, control: str, others: Sequence[str] = (), ca: Path | None, token_file: Path | None,
        token: str = "", state: Path | None = None, joins: bool = False,
    ) -> None:  # fmt: skip
        self._host = host
        self._joins = joins
        self._token = token
        self._token_file = token_file
        self._ca = ca
        self._state = state
        self._controls = tuple(address.rstrip("/") for address in (control, *others))
        self._at = 0
        self._polling: asyncio.Future[httpx.Response] | None = None
        context = self._context()
        self._http = _opened(context)
        self._former: httpx.AsyncClient | None = None
        self._reports = KeptConnection(context, silence_s=SILENCE_S, kept_s=KEPT_S)
        self._encoded = EncodedReport()
        self._token_read: tuple[object, str] = (None, "")
        self._due, self._hurry = asyncio.Event(), asyncio.Event()
        self._digests = Digests()
        self._wants_whole = False
        self._known = asyncio.Event()  # nothing is asked with a token that a certificate replaces meanwhile
        if not joins or state is None or identity.has_joined(state):
            self._known.set()
        self.error = ""

    def _context(self) -> ssl.SSLContext:
        """For connections that trust the authority, and show this agent's certificate where it has joined."""
        context = ssl.create_default_context(cafile=str(self._ca) if self._ca else None)
        if self._state is not None and identity.has_joined(self._state):
            identity.show(context, self._state)
        return context

    def connect(self, what: str) -> connect:
        """A stream to the control that is asked now, to be entered. Raises `OSError` and `WebSocketException` then."""
        address = self._path(what).replace("http", "ws", 1)
        return connect(
            address, ssl=self._context() if address.startswith("wss:") else None,
            additional_headers=self._credentials(), compression=None, max_size=16 << 20, open_timeout=10, proxy=None,
        )  # fmt: skip

    def image_file(self, sha256: str, offset: int) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]:
        """A file of an image of virtual machines that the host's order names; see `download`."""
        return self.download(f"machine-images/{sha256}", offset)

    async def image_holders(self, sha256: str) -> list[HostName]:
        """Hosts that have such a file. Raises `WorldError`."""
        try:
            answer = await self._asked(f"machine-images/{sha256}/holders")
            _raise_for(answer)
            return [HostName(str(name)) for name in answer.json()["hosts"]]
        except (httpx.HTTPError, OSError, ValueError, LookupError, TypeError) as error:
            raise WorldError("ask control who has an image", str(error) or type(error).__name__) from error

    async def may_take(self, sha256: str, taker: HostName) -> bool:
        """Whether control says that this host may have such a file from us; without control nobody may."""
        try:
            answer = await self._asked(f"machine-images/{sha256}/takers/{quote(taker, safe='')}")
        except (httpx.HTTPError, OSError):
            return False
        return answer.status_code == httpx.codes.NO_CONTENT

    async def _asked(self, what: str) -> httpx.Response:
        """Over a connection of its own, so that orders and reports never wait for it."""
        async with httpx.AsyncClient(verify=self._context(), timeout=10, trust_env=False) as http:
            return await http.get(self._path(what), headers=self._credentials())

    @asynccontextmanager
    async def download(self, what: str, offset: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """The bytes of a file of control's, and where they begin: at `offset`, or at 0 where control knows no ranges.
        Over a connection of its own, so that orders and reports never wait for it. Raises `WorldError`.
        """
        headers = self._credentials() | ({"Range": f"bytes={offset}-"} if offset else {})
        patience = httpx.Timeout(10, read=DOWNLOAD_SILENCE_S)
        try:
            async with (
                httpx.AsyncClient(verify=self._context(), timeout=patience, trust_env=False) as http,
                http.stream("GET", self._path(what), headers=headers) as answer,
            ):
                if not answer.is_success:
                    await answer.aread()
                _raise_for(answer)
                begins = offset if answer.status_code == httpx.codes.PARTIAL_CONTENT else 0
                yield begins, answer.aiter_raw(_PIECE)
        except (httpx.HTTPError, OSError) as error:
            raise WorldError(f"get {what} from control", str(error) or type(error).__name__) from error

    async def join(self) -> None:
        """Get a certificate: with the token, or with the certificate that is there. Raises `WorldError` and httpx's
        errors.
        """
        assert self._state is not None
        asked = identity.ask(self._host)
        answer = await self._http.post(
            self._path("certificate"), json={"csr": asked.request}, headers=self._credentials()
        )
        _raise_for(answer)
        identity.keep(self._state, asked, str(answer.json()["certificate"]))
        if self._former is not None:
            await self._former.aclose()
        context = self._context()
        self._former, self._http = self._http, _opened(context)  # sources may be on their way over the former
        self._reports.renew(context)
        if self._polling is not None:
            self._polling.cancel()  # it goes on over a connection that shows the new one

    async def keep_certificate(self, wall: Callable[[], float]) -> None:
        """Renew it in time, for ever; an agent that has not joined gets its first one where it is to, and else has
        nothing to do.
        """
        failures = 0
        while self._state is not None and (self._joins or identity.has_joined(self._state)):
            wait_s = identity.seconds_to_renewal(self._state, wall())
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, LOOKED_AT_EVERY_S))
                continue
            try:
                await self.join()
                failures = 0
                self._known.set()
            except (httpx.HTTPError, OSError, WorldError, LookupError, ValueError) as error:
                what = "cannot be renewed" if identity.has_joined(self._state) else "is not there"
                self.error = f"the certificate {what}: {error}"
                self._turn(self._at)
                self._known.set()
                await asyncio.sleep(_RENEWAL.wait_s(failures))
                failures += 1

    async def tell_sources(self, told: Sources) -> None:
        """Whose connections came in. Raises `WorldError` where control does not take it."""
        await self._known.wait()
        headers = {**self._credentials(), "Content-Type": "application/json"}
        try:
            _raise_for(await self._http.post(self._path("sources"), content=to_json(told), headers=headers))
        except (httpx.HTTPError, OSError) as error:
            raise WorldError("tell control whose connections came in", str(error) or type(error).__name__) from error

    async def close(self) -> None:
        for http in filter(None, (self._former, self._http)):
            await http.aclose()
        self._reports.close()

    async def fetch(
        self,
        after: Callable[[], int],
        on_order: Callable[[Order], None],
        standing: Callable[[], Order | None] = lambda: None,
    ) -> None:
        """Poll for ever. `after`: the generation that is known already. `on_order` raises `WorldError` for an order
        that cannot be kept now (a full disk), and is given it again later. `standing`: the order that is obeyed; of
        the next one control may then tell what differs.
        """
        failures = 0
        await self._known.wait()
        while True:
            at = self._at
            try:
                order, known = standing(), after()
                params = {"after": str(known), "wait": f"{WAIT_S:g}"}
                if order is not None and order.generation == known and not self._wants_whole:
                    params |= {"accept": "delta", "digest": self._digests.of(order)}
                self._polling = asyncio.ensure_future(self._http.get(
                    self._path("order"), params=params,
                    headers=self._credentials(), timeout=httpx.Timeout(10, read=WAIT_S + 10),
                ))  # fmt: skip
                try:
                    answer = await self._polling
                except asyncio.CancelledError:
                    current = asyncio.current_task()
                    if current is None or current.cancelling():
                        raise
                    continue  # reports go to another control now, or over connections with another certificate
                _raise_for(answer)
                if answer.status_code == httpx.codes.OK and (news := self._read(answer, order)) is not None:
                    on_order(news)
                failures, self.error = 0, ""
                continue
            except (httpx.HTTPError, OSError) as error:
                self.error = f"no orders from control: {str(error) or type(error).__name__}"
                self._turn(at)
            except Invalid as error:
                self.error = f"control sent an order that cannot be read: {error}"
            except WorldError as error:
                self.error = f"control sent an order that cannot be kept: {error}"
            await asyncio.sleep(_REST.wait_s(failures))
            failures += 1

    def _read(self, answer: httpx.Response, standing: Order | None) -> Order | None:
        """The new order: as it came, or made from the standing one by what differs. None where that came to another
        order than control's; then the whole one is asked for. Raises `Invalid`.
        """
        if BASE_HEADER not in answer.headers:
            self._wants_whole = False
            return from_json(Order, answer.content)
        change = from_json(OrderDelta, answer.content)
        try:
            order = apply(standing, change) if standing is not None else None
        except ValueError:
            order = None
        self._wants_whole = order is None or self._digests.of(order) != change.digest
        return None if self._wants_whole else order

    def changed(self, *, hurry: bool = True) -> None:
        """There is something new to tell. `hurry`: something follows from it at control, or somebody waits for it."""
        self._due.set()
        if hurry:
            self._hurry.set()

    async def deliver(
        self, report: Callable[[], Report], delivered: Callable[[Report], None] = lambda _: None,
        beat: Callable[[], float] = lambda: HEARTBEAT_S,
    ) -> None:  # fmt: skip
        """Post for ever: soon after each change, sooner after one in a hurry, and at least each heartbeat.
        `delivered`: control has taken this one; `beat`: how long the next one may wait, so that it goes with other
        work of that moment.
        """
        failures, clock = 0, asyncio.get_running_loop().time
        sent = clock() - COALESCE_S
        await self._known.wait()
        while True:
            try:
                async with asyncio.timeout(beat()):
                    await self._due.wait()
                async with asyncio.timeout(UNHURRIED_S):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            if (rest_s := sent + COALESCE_S - clock()) > 0:
                await asyncio.sleep(rest_s)
            self._due.clear()
            self._hurry.clear()
            sent, at = clock(), self._at
            try:
                told = report()
                headers = {**self._credentials(), "Content-Type": "application/json"}
                url = self._path("report")
                status, words = await self._reports.ask("POST", url, headers, self._encoded.of(told))
                if not httpx.codes.is_success(status):
                    _raise_for(httpx.Response(status, content=words, request=httpx.Request("POST", url)))
                failures = 0
                delivered(told)
            except (httpx.HTTPError, OSError) as error:
                self.error = f"control takes no reports: {str(error) or type(error).__name__}"
                self._turn(at)
                self.changed()
                await asyncio.sleep(_REST.wait_s(failures))
                failures += 1

    def _path(self, what: str) -> str:
        return f"{self._controls[self._at]}/anypop/v1/agents/{self._host}/{what}"

    def _turn(self, failed: int) -> None:
        """Ask the next control, unless the other loop has done so already; a poll that waits at the failed one ends."""
        if len(self._controls) == 1 or failed != self._at:
            return
        self._at = (self._at + 1) % len(self._controls)
        if self._polling is not None:
            self._polling.cancel()

    def _credentials(self) -> dict[str, str]:
        """Read anew when it is another file: the operator may replace a token under us."""
        if self._state is not None and identity.has_joined(self._state):
            return {}
        if self._token:
            return {"Authorization": f"Bearer {self._token}"}
        if self._token_file is None:
            return {}
        sign = sign_of(self._token_file)
        if sign is None or sign != self._token_read[0]:
            self._token_read = sign, self._token_file.read_text().strip()
        return {"Authorization": f"Bearer {self._token_read[1]}"}


def _opened(context: ssl.SSLContext) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=4, keepalive_expiry=KEPT_S)
    return httpx.AsyncClient(verify=context, limits=limits, timeout=SILENCE_S, trust_env=False)


def _raise_for(answer: httpx.Response) -> None:
    """Raises `httpx.HTTPStatusError` for a refusal, with control's own words where it gave some."""
    if answer.is_success:
        return
    try:
        words = f": {answer.json()['message']}"[:500]
    except (ValueError, LookupError, TypeError):
        words = ""
    raise httpx.HTTPStatusError(f"{answer.status_code}{words}", request=answer.request, response=answer)
