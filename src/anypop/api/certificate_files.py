"""The operator's own certificate files for a real name: served from the start on, and anew when they change.

In: two files, the names that they are for; SIGHUP, or a look every few seconds. Out: what `Shown` holds, and events
about it. Files that cannot be used never take the place of a certificate that stands: they are told of, once. It writes
no file.
"""

import asyncio
import contextlib
import hashlib
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from anypop.api.tls import Shown
from anypop.control import public_certificate
from anypop.control.public_certificate import Files, PublicCertificate
from anypop.model.errors import Invalid
from anypop.model.events import Event, EventKind, Field

# Two small files. Whoever renews certificates swaps links or writes them one after the other, on any file system, also
# one of the network, so there is no event to wait for.
LOOK_S = 5.0
# Told so long before the end, or in the last sixth of a short life; and once more when it is there.
SOON = timedelta(days=14)

Tell = Callable[[Event], Awaitable[None]]


class Endings:
    """Tells that a certificate ends soon, and that it has ended; each once for each certificate."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: tuple[str, bool] | None = None

    async def look(self, certificate: PublicCertificate, now: datetime) -> None:
        left = certificate.ends - now
        if left > min(SOON, (certificate.ends - certificate.begins) / 6):
            return
        over = left <= timedelta()
        if self._told == (told := (certificate.digest, over)):
            return
        self._told = told
        verb = "has ended" if over else "ends"
        message = f"the certificate of {', '.join(certificate.names)} {verb} at {moment(certificate.ends)}"
        await self._tell(event(EventKind.CERTIFICATE_ENDS, certificate.names, certificate, message))


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def event(kind: EventKind, names: tuple[str, ...], certificate: PublicCertificate | None, message: str) -> Event:
    """About the certificate that is shown for `names`, if there is one."""
    ends_at = int(certificate.ends.timestamp()) if certificate is not None else None
    fields: dict[str, Field] = {"names": ", ".join(names), "ends_at": ends_at}
    return Event(kind=kind, subject=names[0], message=message, fields=fields)


class FileKeeper:
    """Keeps `shown` at what the files hold. `now`: the wall's time."""

    def __init__(self, files: Files, shown: Shown, now: Callable[[], float]) -> None:
        self._files = files
        self._clock = now
        self._shown = shown
        self._stamp = ""  # of what is served
        self._refused = ""  # of what cannot be, and was seen once already
        self._told = ""

    def begin(self) -> None:
        """Raises `Invalid` with all that is wrong."""
        self._stamp = self._content()
        self._shown.put(self._read())

    async def keep(self, tell: Tell, _active: Callable[[], bool]) -> None:
        """For ever. SIGHUP: look now. A control that stands by shows its own files too."""
        ends = Endings(tell)
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await asked.wait()
            was_asked = asked.is_set()
            asked.clear()
            await self.look(tell, certain=was_asked)
            if self._shown.certificate is not None:
                await ends.look(self._shown.certificate, self._now())

    async def look(self, tell: Tell, *, certain: bool) -> None:
        """Serve what the files hold, if that is new. `certain`: nobody is half-way through writing them."""
        stamp = await asyncio.to_thread(self._content)
        if stamp == self._stamp:
            self._shown.trouble = self._refused = ""
            return
        try:
            found = await asyncio.to_thread(self._read)
            self._shown.put(found)
        except Invalid as error:
            if stamp not in (self._refused, self._told) and not certain:
                self._refused = stamp  # whoever writes them may be half-way: the next look tells
                return
            self._shown.trouble = "; ".join(str(problem) for problem in error.problems)
            if stamp != self._told:
                self._told = stamp
                standing = self._shown.certificate
                assert standing is not None
                message = f"the new files cannot be used, the former certificate stays: {self._shown.trouble}"
                await tell(event(EventKind.CERTIFICATE_NOT_RENEWED, standing.names, standing, message))
            return
        self._stamp, self._refused, self._told = stamp, "", ""
        message = f"the certificate of {', '.join(found.names)} counts until {moment(found.ends)}"
        await tell(event(EventKind.CERTIFICATE_RENEWED, found.names, found, message))

    def _read(self) -> PublicCertificate:
        return public_certificate.read(self._files.certificate, self._files.key, self._shown.names, now=self._now())

    def _content(self) -> str:
        """Of both files together, to see that they have changed. What cannot be read is a content too."""
        digest = hashlib.sha256()
        for path in (self._files.certificate, self._files.key):
            try:
                with path.open("rb") as file:
                    digest.update(file.read(public_certificate.LARGEST + 1))
                    digest.update(f"{path.stat().st_mode}".encode())
            except OSError as error:
                digest.update(f"{error.errno}".encode())
        return digest.hexdigest()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
