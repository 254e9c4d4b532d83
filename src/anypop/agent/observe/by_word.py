"""Guests without a probe and a port that let no echo through: what stands for the echo, and what does not any more.

In: what an echo has shown, what is known of the guest by word, its link. Out: why it is not to be served from, or None;
and whether it has been silent for so long that it is to begin anew. Such a guest serves by its word (`POST /ready`).
That it goes on is seen by ARP, which its kernel answers whatever it lets through: one that has answered must go on
doing so. One that has never answered is left alone. A process that hangs above a kernel that does not is not seen.
"""

import asyncio
from dataclasses import dataclass
from ipaddress import IPv4Address

from anypop.agent.decide.elements import Key
from anypop.agent.guests.word import Known, Word
from anypop.agent.observe import arp
from anypop.agent.observe.ask import SILENT
from anypop.model.announce import Address
from anypop.model.errors import WorldError

BY_WORD = "its guest answers no echo, and has told that all of it has started"
HANGS = "its guest answers no ARP on its link any more"
ANSWER_S = 1.0  # one that is translated is slow
# It begins anew with a new root disk then, so this is long: a guest that boots by itself, or checks its disks, answers
# nothing meanwhile, and says things on its console.
SILENT_S = 300.0


@dataclass(frozen=True, slots=True)
class _Silence:
    """`since`: by the loop's clock; `spoke`: when its console had said something last."""

    since: float
    spoke: float | None


class ByWord:
    """Those of one host."""

    def __init__(self) -> None:
        self._kept: set[tuple[Key, Known]] = set()
        self._silent: dict[Key, _Silence] = {}

    def forget(self, key: Key) -> None:
        """Its process is gone."""
        self._kept -= {(key, what) for what in Known}
        self._silent.pop(key, None)

    async def trouble(self, key: Key, word: Word | None, echo: str | None, link: str, address: Address) -> str | None:
        """Why it is not to be served from, all in all; None, or `BY_WORD` where its word stands. `echo`: the trouble of
        the echo; `word` None: nothing is known of it so.
        """
        found = await self._trouble(key, word, echo, link, address)
        if found != HANGS:
            self._silent.pop(key, None)
        return found

    async def _trouble(self, key: Key, word: Word | None, echo: str | None, link: str, address: Address) -> str | None:
        if word is None or (echo is not None and not echo.startswith(SILENT)):
            return echo
        if echo is None:
            self._keep(key, word, Known.ECHOES)
            return None
        if not word.stands():
            return echo
        try:
            near = False
            if link and isinstance(address, IPv4Address):
                near = await arp.answers(link, address, ANSWER_S)
        except WorldError as error:
            return str(error)
        if near:
            self._keep(key, word, Known.NEAR)
            return BY_WORD
        return HANGS if word.holds(Known.NEAR) else BY_WORD

    def is_to_begin_anew(self, key: Key, word: Word) -> bool:
        """Asked of one that hangs, after each question."""
        now, spoke, known = asyncio.get_running_loop().time(), word.spoke_at(), self._silent.get(key)
        if known is None or known.spoke != spoke:
            known = self._silent[key] = _Silence(now, spoke)
        return now - known.since >= SILENT_S

    def _keep(self, key: Key, word: Word, what: Known) -> None:
        if (key, what) not in self._kept:
            word.keep(what)
            self._kept.add((key, what))
