"""Asking from a vantage: HTTP requests one after the other, an echo, and a stream that goes on while something is being
broken.

Comes in: a vantage of the plan and an address. Goes out: answers as data; a failed request is an answer too. Every
socket is made in the vantage's namespace by a thread that enters it, so nothing is started and nothing is written to
disk.
"""

import http.client
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import TypeVar

from anypop.host import netns
from anypop.lab.address import VantageHost
from anypop.model.announce import Address
from anypop.model.errors import WorldError

T = TypeVar("T")

_LONGEST_BODY = 64 * 1024
# of a vantage's own router, one link away, whose kernel answers at once: enough for a busy machine
_ROUTER_TRIES, _ROUTER_S = 3, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request. `at`: when it began, seconds since the epoch; `seconds`: until the whole answer or the failure;
    `ok`: 200 to 399. `asked` False: the vantage could not send it, whoever is asked: it has no socket, or its own
    router does not answer it.
    """

    ok: bool
    at: float
    seconds: float
    status: int = 0
    body: str = ""
    error: str = ""
    asked: bool = True


def probe(
    vantage: VantageHost, address: Address | str, *, port: int = 80, requests: int = 15, timeout_s: float = 5
) -> tuple[Answer, ...]:
    """So many GET / one after the other, each over a connection of its own, as `curl` in a loop."""
    return _from(vantage, lambda: tuple(_asked(vantage, str(address), port, timeout_s) for _ in range(requests)))


def ping(vantage: VantageHost, address: Address | str, *, timeout_s: float = 3) -> float | None:
    """Milliseconds until the echo of one ICMP request; None when there is none in time."""
    where = IPv6Address(str(address)) if ":" in str(address) else IPv4Address(str(address))
    return _from(vantage, lambda: _echo(where, timeout_s))


class Stream:
    """Requests every `interval_s` from a vantage, from `with` until its end or `most` of them. Each has its own
    thread's time: one that hangs does not delay the next, so a gap of any length counts as many failures as it had
    requests.
    """

    def __init__(
        self,
        vantage: VantageHost,
        address: Address | str,
        *,
        port: int = 80,
        interval_s: float = 0.05,
        timeout_s: float = 1,
        most: int = 2000,
    ) -> None:
        self.address = str(address)
        self._vantage, self._port = vantage, port
        self._interval_s, self._timeout_s, self._most = interval_s, timeout_s, most
        self._stop = threading.Event()
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=self._run, name=f"stream from {vantage.name}", daemon=True)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> tuple[Answer, ...]:
        """End it, wait for the requests on their way, and give all answers in the order in which they were asked."""
        self._stop.set()
        self._thread.join()
        return self.answers

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Those so far."""
        return tuple(sorted(self._answers, key=lambda answer: answer.at))

    def since(self, at: float) -> tuple[Answer, ...]:
        """Those begun since a moment (seconds since the epoch), in the order in which they were asked. What ended
        before is not looked at again, so a stream of hours can be asked often.
        """
        found = list[Answer]()
        for answer in reversed(self._answers):  # in the order of their ends
            if answer.at + answer.seconds < at - self._timeout_s:
                break
            found.append(answer)
        return tuple(sorted((a for a in found if a.at >= at), key=lambda answer: answer.at))

    def _run(self) -> None:
        threads = int(self._timeout_s / self._interval_s) + 2  # more cannot be on their way at once
        with ThreadPoolExecutor(threads) as pool:
            start = time.monotonic()
            for i in range(self._most):
                if self._stop.wait(max(0.0, start + i * self._interval_s - time.monotonic())):
                    return
                pool.submit(self._ask)

    def _ask(self) -> None:
        at = time.time()
        try:
            with netns.inside(self._vantage.netns):
                answer = _request(self.address, self._port, self._timeout_s)
        except (OSError, WorldError) as error:  # the vantage itself is gone
            answer = Answer(ok=False, at=at, seconds=0.0, error=str(error))
        self._answers.append(answer)


def _from(vantage: VantageHost, work: Callable[[], T]) -> T:
    """`work` done inside the vantage's namespace, by a thread of its own: the caller's may be one that runs an event
    loop.
    """

    def inside() -> T:
        with netns.inside(vantage.netns):
            return work()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(inside).result()


def _request(address: str, port: int, timeout_s: float) -> Answer:
    at, start = time.time(), time.monotonic()
    link = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        link.request("GET", "/", headers={"Connection": "close", "User-Agent": "anypop-vantage"})
        response = link.getresponse()
        body = response.read(_LONGEST_BODY).decode(errors="replace")
        ok = 200 <= response.status < 400
        return Answer(ok=ok, at=at, seconds=time.monotonic() - start, status=response.status, body=body)
    except (OSError, http.client.HTTPException) as error:
        return Answer(ok=False, at=at, seconds=time.monotonic() - start, error=str(error) or type(error).__name__)
    finally:
        link.close()


def _asked(vantage: VantageHost, address: str, port: int, timeout_s: float) -> Answer:
    """One request; where nothing came back, with whether the vantage could ask at all: then its router answers it."""
    answer = _request(address, port, timeout_s)
    if answer.status:
        return answer
    gateway = vantage.gateway6 if ":" in address else vantage.gateway4
    try:
        if any(_echo(gateway, _ROUTER_S) is not None for _ in range(_ROUTER_TRIES)):
            return answer
        why = f"its router {gateway} does not answer"
    except OSError as error:
        why = str(error)
    return replace(answer, asked=False, error=f"could not ask: {why} ({answer.error})")


def _echo(address: IPv4Address | IPv6Address, timeout_s: float) -> float | None:
    """RFC 792 and RFC 4443: type 8 and its answer 0, or 128 and 129. The kernel adds the ICMPv6 checksum."""
    four = address.version == 4
    ask, answer = (8, 0) if four else (128, 129)
    family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if four else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    token = os.urandom(8)
    packet = struct.pack("!BBHHH", ask, 0, 0, 0, 1) + token
    if four:
        packet = struct.pack("!BBHHH", ask, 0, _checksum(packet), 0, 1) + token
    with socket.socket(family, socket.SOCK_RAW, protocol) as link:
        link.setblocking(False)
        start = time.monotonic()
        try:
            link.sendto(packet, (str(address), 0))
        except OSError:  # no route
            return None
        while (left := start + timeout_s - time.monotonic()) > 0:
            if select.select([link], [], [], left)[0]:
                seen = link.recv(2048)
                body = seen[(seen[0] & 15) * 4 :] if four else seen
                if body[0] == answer and body[8:16] == token:
                    return (time.monotonic() - start) * 1000
    return None


def _checksum(data: bytes) -> int:
    """RFC 1071, of an even number of octets."""
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
