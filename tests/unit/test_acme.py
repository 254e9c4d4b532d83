"""When a certificate is asked for by ACME: at two thirds of its life, and after a failure later each time."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from anypop.api.acme import LIMITED_S, RESTS_S, AcmeKeeper
from anypop.api.certificates import Acme, public_of
from anypop.api.challenges import Challenges
from anypop.api.tls import Shown
from anypop.control.acme_orders import Authority, RateLimitedError, Signed
from anypop.model.errors import Invalid, WorldError
from anypop.model.events import Event, EventKind
from tests import authorities
from tests.authorities import NOW, new_key, pem_of

NAME = "control.example"
ROOT = authorities.Authority()


class Place:
    """A keeper, its authority and its clock. `refusal`: what the authority says instead of signing."""

    def __init__(self, folder: Path, directory: str = "https://acme.example/dir") -> None:
        self.folder = folder
        self.directory = directory
        self.now = NOW.timestamp()
        self.asked = 0
        self.life = timedelta(90)
        self.refusal: Exception | None = None
        self.told: list[Event] = []
        self.begin()

    def begin(self) -> None:
        """A process of control starts."""
        self.shown = Shown((NAME,))
        self.keeper = AcmeKeeper(
            Authority(directory=self.directory), self.shown, self.folder, Challenges(),
            now=lambda: self.now, asking=self.sign,
        )  # fmt: skip
        self.keeper.begin()

    def sign(self, *_: Any) -> Signed:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        key, begins = new_key(), NOW + timedelta(seconds=self.now - NOW.timestamp())
        return Signed(chain=ROOT.issue([NAME], key, begins=begins, ends=begins + self.life), key=pem_of(key))

    async def tell(self, event: Event) -> None:
        self.told.append(event)

    def ask(self) -> None:
        asyncio.run(self.keeper.ask(self.tell))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path)


def test_it_is_asked_for_at_once_and_then_at_two_thirds_of_its_life(place: Place) -> None:
    """Also by the next process, which asks for nothing before."""
    assert place.keeper.wait_s() <= 0
    place.ask()
    assert place.keeper.wait_s() == pytest.approx(60 * 86_400)
    standing = place.shown.certificate
    place.begin()
    assert place.shown.certificate == standing and place.keeper.wait_s() == pytest.approx(60 * 86_400)
    place.now += 60 * 86_400
    assert place.keeper.wait_s() == pytest.approx(0)


def test_a_failure_is_told_kept_and_tried_again_later_each_time(place: Place) -> None:
    """What stands is shown meanwhile; a restart makes no try earlier; success begins anew."""
    place.ask()
    standing = place.shown.certificate
    place.now += 61 * 86_400
    place.refusal = WorldError("get a certificate", "control.example: connection refused")
    for rest in [*RESTS_S, RESTS_S[-1]]:
        place.ask()
        assert place.keeper.wait_s() == pytest.approx(rest)
        place.begin()
        assert place.keeper.wait_s() == pytest.approx(rest) and place.shown.certificate == standing
    failures = [event for event in place.told if event.kind is EventKind.CERTIFICATE_NOT_RENEWED]
    assert len(failures) == len(RESTS_S) + 1 and "connection refused" in failures[0].message
    place.refusal = None
    place.ask()
    assert place.keeper.wait_s() > 59 * 86_400 and place.told[-1].kind is EventKind.CERTIFICATE_RENEWED
    place.refusal = RateLimitedError("get a certificate", "too many")
    place.ask()
    assert place.keeper.wait_s() > LIMITED_S and place.shown.certificate != standing


def test_a_limit_of_the_authority_is_kept_from_the_first_failure_on(place: Place) -> None:
    place.refusal = RateLimitedError("get a certificate", "too many")
    place.ask()
    assert place.keeper.wait_s() == pytest.approx(LIMITED_S)
    assert place.told[-1].fields == {"names": NAME, "ends_at": None}


def test_what_cannot_be_served_is_a_failure_too(place: Place) -> None:
    place.life = timedelta()
    place.ask()
    assert place.shown.certificate is None and "has ended" in place.told[-1].message


def test_another_authority_begins_anew(place: Place) -> None:
    """Neither a certificate of the former one nor its failures count."""
    place.ask()
    place.refusal = WorldError("get a certificate", "no")
    place.ask()
    other = Place(place.folder, "https://other.example/dir")
    assert other.shown.certificate is None and other.keeper.wait_s() <= 0


def test_a_control_that_stands_by_asks_for_nothing(place: Place) -> None:
    async def keeping(*, active: bool, longest_s: float) -> None:
        came = asyncio.Event()

        async def tell(event: Event) -> None:
            came.set()

        kept = asyncio.create_task(place.keeper.keep(tell, lambda: active))
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await came.wait()
        kept.cancel()

    asyncio.run(keeping(active=False, longest_s=0.2))
    assert place.asked == 0
    asyncio.run(keeping(active=True, longest_s=20))
    assert place.asked == 1


@pytest.mark.parametrize(
    ("names", "acme", "paths"),
    [
        ((), Acme(directory="https://a.example/dir"), ["--public-name"]),
        (("own-ca,x.example",), Acme(directory="https://a.example/dir"), ["--public-name"]),
        (("198.51.100.7",), Acme(directory="https://a.example/dir"), ["--public-name"]),
        (("localhost", "2001:db8::1"), Acme(directory="https://a.example/dir"), ["--public-name"] * 2),
        ((NAME,), Acme(directory="http://a.example/dir"), ["--acme"]),
        ((NAME,), Acme(directory="https://a.example/dir", ca=Path("/nowhere")), ["--acme-ca"]),
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_the_start(
    names: tuple[str, ...], acme: Acme, paths: list[str], tmp_path: Path
) -> None:
    with pytest.raises(Invalid) as raised:
        public_of(names, state=tmp_path, certificate=None, key=None, acme=acme, now=time.time)
    assert [problem.path for problem in raised.value.problems] == paths
