"""Posts to one receiver over HTTP: at an address that was checked, by the name that was given.

In: bodies. Out: answers, of which no more is read than a receiver has to say. Its name is looked up for each post; no
redirect is followed and no proxy is asked.
"""

import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import httpx

from anypop.outgoing.address import Refusal, looked_up

# Those ask for another try, or for somebody who mends what the operator set; anything else will never be taken.
_MOST_SAID = 1 << 16
_AGAIN = {401, 403, 404, 408, 425, 429}


def context_of(ca: str) -> ssl.SSLContext:
    """The machine's authorities, and those of `ca` (PEM)."""
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(cadata=ca)
    return context


class Poster:
    """`refused`: says of an address why nothing goes there, or nothing."""

    def __init__(self, url: str, port: int, refused: Refusal, *, ca: str = "", patience_s: float) -> None:
        self._parts, self._port, self._refused = urlsplit(url), port, refused
        self._client = httpx.AsyncClient(
            verify=context_of(ca), trust_env=False, follow_redirects=False, timeout=patience_s
        )

    async def post(self, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Raises `OSError` and `httpx.HTTPError`."""
        parts, name = self._parts, self._parts.hostname or ""
        address = await looked_up(name, self._port, socket.SOCK_STREAM, self._refused)
        place = f"[{address}]" if ":" in address else address
        url = urlunsplit((parts.scheme, f"{place}:{self._port}", parts.path or "/", parts.query, ""))
        own = {"content-type": "application/json", "host": parts.netloc, "user-agent": "anypop"}
        async with self._client.stream(
            "POST", url, content=content, headers={**own, **headers}, extensions={"sni_hostname": name}
        ) as answer:
            said = bytearray()
            async for part in answer.aiter_bytes():
                said += part
                if len(said) > _MOST_SAID:
                    break
        told = {k: v for k, v in answer.headers.items() if k in ("retry-after", "content-type")}
        return httpx.Response(answer.status_code, headers=told, content=bytes(said[:_MOST_SAID]))

    async def close(self) -> None:
        await self._client.aclose()


def again_after_s(answer: httpx.Response) -> float | None:
    """Whether it is to be sent again, and after how long it asks for that (0: it does not say); None: never, since it
    was taken or refused for good.
    """
    if answer.status_code < 300 or (400 <= answer.status_code < 500 and answer.status_code not in _AGAIN):
        return None
    wait = answer.headers.get("retry-after", "0")
    return float(wait) if wait.isdigit() and len(wait) < 5 else 0
