"""A catchment measured with pings, as control asks for it: this host sends, or listens for what comes back.

In: a request of control's, the order of now. Out: frames of the answer. A host sends from addresses of prefixes that it
is told to announce and from no others, so that the answers are ours wherever they go; one measurement at a time.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

from anypop.agent.act.network import pings
from anypop.agent.observe.echoes import Echoes
from anypop.model.codec import to_json
from anypop.model.errors import WorldError
from anypop.model.order import Order
from anypop.model.streams import (
    HEARD_IN_FRAME,
    LONGEST_LISTEN_S,
    MOST_PINGED,
    EchoesRequest,
    Heard,
    Pinged,
    PingsRequest,
)


class CatchmentStreams:
    def __init__(self, order: Callable[[], Order | None]) -> None:
        self._order = order
        self._sending = False

    def listen(self, wanted: EchoesRequest) -> Echoes:
        """Listens from now on, until it is closed. Raises `WorldError`."""
        order = self._order()
        if order is None:
            raise WorldError("listen for answers", "this host has no order yet")
        return Echoes(_key(wanted.key), wanted.source, (u.interface for u in order.upstreams))

    def send(self, wanted: PingsRequest) -> AsyncGenerator[bytes, None]:
        """Sends as it is read. Raises `WorldError` for what this host does not send."""
        order = self._order()
        ours = [a.prefix for a in order.announcements] if order is not None else []
        if not any(p.version == wanted.source.version and wanted.source in p for p in ours):
            raise WorldError("send pings", f"{wanted.source} is in no prefix that this host announces")
        if len(wanted.targets) > MOST_PINGED or any(t.version != wanted.source.version for t in wanted.targets):
            raise WorldError("send pings", f"at most {MOST_PINGED} addresses of the same family are asked at once")
        if self._sending:
            raise WorldError("send pings", "this host is sending others")
        return self._sent(wanted)

    async def _sent(self, wanted: PingsRequest) -> AsyncGenerator[bytes, None]:
        self._sending = True
        try:
            sent, unsent = await pings.send(_key(wanted.key), wanted.source, wanted.targets, wanted.per_s)
        finally:
            self._sending = False
        yield to_json(Pinged(sent=sent, unsent=unsent))


async def heard(echoes: Echoes, listen_s: float) -> AsyncGenerator[bytes, None]:
    """All that answers until then."""
    await asyncio.sleep(min(max(listen_s, 0.0), LONGEST_LISTEN_S))
    for first in range(0, len(echoes.heard), HEARD_IN_FRAME):
        yield to_json(Heard(addresses=echoes.heard[first : first + HEARD_IN_FRAME]))


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise WorldError("measure a catchment", "its key is none") from error
