"""A guest that serves by its word alone is asked by ARP, once it has answered that."""

import asyncio
import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from anypop.agent.guests.word import Known, Word
from anypop.agent.log_names import LOG
from anypop.agent.observe import arp, by_word
from anypop.agent.observe.ask import SILENT
from anypop.agent.observe.by_word import BY_WORD, HANGS, ByWord
from anypop.model.errors import WorldError

KEY, ADDRESS = ("u1", "web"), IPv4Address("192.0.2.1")
NO_ECHO = f"{SILENT} 1 s"


class Guest:
    """It has told that it is ready; `near`: whether it answers ARP; `lost`: nobody can ask."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "console").touch()
        self.word, self.near, self.asked = Word(folder / "u1", folder / "console"), False, 0
        self.lost = False
        self.known = ByWord()
        self.word.keep(Known.READY)

        async def answers(*_: object) -> bool:
            self.asked += 1
            if self.lost:
                raise WorldError("ask", "its link is gone")
            return self.near

        monkeypatch.setattr(arp, "answers", answers)

    async def trouble(self, echo: str | None = NO_ECHO) -> str | None:
        return await self.known.trouble(KEY, self.word, echo, "link", ADDRESS)

    def speaks(self) -> None:
        log = self.word.folder / LOG
        log.touch()
        os.utime(log, ns=(0, log.stat().st_mtime_ns + 10**9))


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    return Guest(tmp_path, monkeypatch)


def test_one_that_has_never_answered_arp_is_left_alone(guest: Guest) -> None:
    """Its word stands, however long it is silent; what is known of nobody is the echo's trouble."""

    async def test() -> None:
        for _ in range(3):
            assert await guest.trouble() == BY_WORD
        assert await guest.known.trouble(KEY, None, NO_ECHO, "link", ADDRESS) == NO_ECHO
        assert await guest.trouble("no way to it") == "no way to it"

    asyncio.run(test())


def test_one_that_has_answered_arp_must_go_on_doing_so(guest: Guest) -> None:
    """In the eyes of the next agent too; a link that is gone says nothing about the guest."""

    async def test() -> None:
        guest.near = True
        assert await guest.trouble() == BY_WORD
        guest.near = False
        assert await guest.trouble() == HANGS
        guest.known = ByWord()
        assert await guest.trouble() == HANGS
        guest.lost = True
        assert "its link is gone" in (await guest.trouble() or "")
        guest.lost, guest.near = False, True
        assert await guest.trouble() == BY_WORD

    asyncio.run(test())


def test_one_that_answers_echoes_is_asked_for_nothing_else(guest: Guest) -> None:
    """From its first answer on its silence is its own trouble, and no ARP makes up for it."""

    async def test() -> None:
        assert await guest.trouble(None) is None
        guest.near = True
        assert await guest.trouble() == NO_ECHO
        assert not guest.asked

    asyncio.run(test())


def test_one_that_hangs_begins_anew_when_it_has_long_answered_and_said_nothing(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word on its console, an answer, or a link that was gone begins the time anew: it boots, or it lives."""

    async def test() -> None:
        now = [0.0]
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])

        async def hangs(after_s: float) -> bool:
            now[0] += after_s
            assert await guest.trouble() == HANGS
            return guest.known.is_to_begin_anew(KEY, guest.word)

        guest.near = True
        await guest.trouble()
        guest.near = False
        almost = by_word.SILENT_S - 1
        assert not await hangs(0) and not await hangs(almost)
        guest.speaks()
        assert not await hangs(5) and not await hangs(almost)
        guest.lost = True
        await guest.trouble()
        guest.lost = False
        assert not await hangs(5) and not await hangs(almost)
        guest.near = True
        await guest.trouble()
        guest.near = False
        assert not await hangs(5) and not await hangs(almost)
        assert await hangs(1)

    asyncio.run(test())
