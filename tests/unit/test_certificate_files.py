"""The operator's certificate files under a control that runs: when they are read anew, and what is told of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from anypop.api import certificate_files
from anypop.api.certificate_files import Endings, FileKeeper
from anypop.api.tls import Shown
from anypop.control import public_certificate
from anypop.control.public_certificate import Files
from anypop.model.events import Event, EventKind
from tests.authorities import NOW, Authority, new_key, pem_of

NAME = "control.example"
ROOT = Authority()


class Place:
    """Two files, and who keeps what is shown at what they hold."""

    def __init__(self, folder: Path) -> None:
        self.files = Files(certificate=folder / "chain.pem", key=folder / "key.pem")
        self.key = new_key()
        self.give(ROOT.issue([NAME], self.key), pem_of(self.key))
        self.shown = Shown((NAME,))
        self.keeper = FileKeeper(self.files, self.shown, time.time)
        self.keeper.begin()
        self.told: list[Event] = []

    def give(self, chain: bytes, key: bytes | None = None) -> None:
        self.files.certificate.write_bytes(chain)
        if key is not None:
            self.files.key.write_bytes(key)
            self.files.key.chmod(0o600)

    async def tell(self, event: Event) -> None:
        self.told.append(event)

    def look(self, *, certain: bool = False) -> list[EventKind]:
        asyncio.run(self.keeper.look(self.tell, certain=certain))
        return [event.kind for event in self.told]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_files_that_change_are_served_at_the_next_look_without_any_signal(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_files, "LOOK_S", 0.01)

    async def until_told(change: Callable[[], None]) -> None:
        came = asyncio.Event()

        async def tell(event: Event) -> None:
            place.told.append(event)
            came.set()

        keeping: Awaitable[None] = asyncio.create_task(place.keeper.keep(tell, lambda: True))
        change()
        async with asyncio.timeout(20):
            await came.wait()
        assert isinstance(keeping, asyncio.Task)
        keeping.cancel()

    before = place.shown.certificate
    asyncio.run(until_told(lambda: place.give(ROOT.issue([NAME, "second.example"], place.key))))
    assert [event.kind for event in place.told] == [EventKind.CERTIFICATE_RENEWED]
    assert place.shown.certificate != before and place.shown.certificate is not None
    assert place.shown.certificate.names == (NAME, "second.example")


def test_files_that_are_half_written_are_told_of_by_nobody(place: Place) -> None:
    """A new chain whose key comes a moment later: what stands is shown until both are there."""
    before, key = place.shown.certificate, new_key()
    place.give(ROOT.issue([NAME], key))
    assert place.look() == [] and place.shown.certificate is before and not place.shown.trouble
    place.give(ROOT.issue([NAME], key), pem_of(key))
    assert place.look() == [EventKind.CERTIFICATE_RENEWED] and place.shown.certificate is not before


def test_files_that_stay_wrong_are_told_once_and_when_they_are_mended(place: Place) -> None:
    before = place.shown.certificate
    good = place.files.certificate.read_bytes()
    place.give(ROOT.issue([NAME], new_key()))
    for looks, told in ((1, 0), (1, 1), (5, 1)):
        for _ in range(looks):
            place.look()
        assert len(place.told) == told
    assert place.shown.certificate is before and "does not fit" in place.shown.trouble
    place.give(good)
    assert place.look() == [EventKind.CERTIFICATE_NOT_RENEWED] and not place.shown.trouble
    place.give(ROOT.issue([NAME], new_key()))
    assert place.look(certain=True)[-1] == EventKind.CERTIFICATE_NOT_RENEWED and len(place.told) == 2
    place.files.certificate.unlink()
    assert "No such file" in (place.look(certain=True) and place.shown.trouble)


def test_the_end_is_told_before_it_comes_and_when_it_has_each_once(place: Place) -> None:
    """Fourteen days before, or a sixth of a short life."""
    for days, told_before in ((90, timedelta(14)), (6, timedelta(1))):
        place.told.clear()
        endings, end = Endings(place.tell), NOW + timedelta(days)
        chain = ROOT.issue([NAME], place.key, begins=NOW, ends=end)
        found = public_certificate.check(chain, pem_of(place.key), (NAME,), now=NOW)
        for before_end in (
            told_before + timedelta(hours=1),
            told_before,
            timedelta(hours=1),
            timedelta(),
            -timedelta(1),
        ):
            asyncio.run(endings.look(found, end - before_end))
        assert [event.kind for event in place.told] == [EventKind.CERTIFICATE_ENDS] * 2
        assert "ends at" in place.told[0].message and "has ended" in place.told[1].message
