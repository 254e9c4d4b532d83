"""A real name's certificate from an authority by ACME: asked for, kept, renewed at two thirds of its life.

In: the authority and the names; the time. Out: what `Shown` holds, the file that outlives this process, and events.
What fails is tried again, later each time, also across restarts, so that no authority is flooded; what stands is shown
meanwhile. Of several controls the active one alone asks.
"""

import asyncio
import contextlib
import hashlib
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anypop.api.certificate_files import Endings, Tell, event, moment
from anypop.api.challenges import Challenges
from anypop.api.threads import in_own_thread
from anypop.api.tls import Shown
from anypop.control import public_certificate
from anypop.control.ca import write_whole
from anypop.control.public_certificate import PublicCertificate
from anypop.model.errors import Invalid, WorldError
from anypop.model.events import EventKind

if TYPE_CHECKING:
    from anypop.control.acme_orders import Authority, Signed

ACME = "acme"

# After one failure, two, ...: most authorities take five that fail in an hour, so the fourth try is an hour later.
RESTS_S = (60.0, 240.0, 960.0, 3600.0, 14_400.0, 43_200.0)
LIMITED_S = 3600.0  # at least, when the authority says that it is too much
LOOK_S = 600.0  # the wall's clock may be set, and another control may have become the active one

Obtain = Callable[["Authority", Path, tuple[str, ...], Challenges], "Signed"]


def obtain(authority: "Authority", folder: Path, names: tuple[str, ...], answers: Challenges) -> "Signed":
    """See `acme_orders`, whose library is loaded for those alone who want it."""
    from anypop.control import acme_orders  # noqa: PLC0415

    return acme_orders.obtain(authority, folder, names, answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """How often it failed in a row, and when it is tried again."""

    count: int = 0
    again_at: float = 0.0


class AcmeKeeper:
    """Keeps `shown` at what the authority has signed last. `folder`: of its files. `now`: the wall's time."""

    def __init__(
        self, authority: "Authority", shown: Shown, folder: Path, challenges: Challenges,
        *, now: Callable[[], float], asking: Obtain = obtain,
    ) -> None:  # fmt: skip
        self._authority = authority
        self._shown = shown
        self._folder = folder
        self._challenges = challenges
        self._now = now
        self._asking = asking
        self._failures = Failures()
        # with another authority or other names everything begins anew
        self._for = hashlib.sha256(json.dumps([authority.directory, *shown.names]).encode()).hexdigest()

    @property
    def _file(self) -> Path:
        return self._folder / "certificate.json"

    @property
    def _failed_file(self) -> Path:
        return self._folder / "failed.json"

    def begin(self) -> None:
        """Show what an earlier process was given, where it counts still."""
        kept = self._read(self._failed_file)
        if kept is not None:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                self._failures = Failures(count=int(kept["count"]), again_at=float(kept["again_at"]))
        found = self._kept()
        if found is not None:
            self._shown.put(found)

    async def keep(self, tell: Tell, active: Callable[[], bool]) -> None:
        """For ever. SIGHUP: look now; what was removed from the folder is asked for anew."""
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
        ends = Endings(tell)
        while True:
            wait_s = self.wait_s() if active() else LOOK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(wait_s, LOOK_S))):
                    await asked.wait()
            if asked.is_set():
                asked.clear()
                if await asyncio.to_thread(self._kept) is None:
                    self._failures = Failures()
                    await self.ask(tell)
            elif active() and self.wait_s() <= 0:
                await self.ask(tell)
            if self._shown.certificate is not None:
                await ends.look(self._shown.certificate, self._moment())

    def wait_s(self) -> float:
        """Until it is to be asked for."""
        standing = self._shown.certificate
        due = 0.0 if standing is None else standing.due.timestamp()
        return max(due, self._failures.again_at if self._failures.count else 0.0) - self._now()

    async def ask(self, tell: Tell) -> None:
        """Once; what comes of it is shown, kept and told."""
        names = self._shown.names
        try:
            signed = await in_own_thread(lambda: self._asking(self._authority, self._folder, names, self._challenges))
            found = public_certificate.check(signed.chain, signed.key, names, now=self._moment())
            await asyncio.to_thread(self._keep, found)
            self._shown.put(found)
        except (WorldError, Invalid, OSError) as error:
            await self._failed(error, tell)
            return
        self._failures = Failures()
        await asyncio.to_thread(self._failed_file.unlink, missing_ok=True)
        message = f"the certificate of {', '.join(found.names)} counts until {moment(found.ends)}"
        await tell(event(EventKind.CERTIFICATE_RENEWED, found.names, found, message))

    async def _failed(self, error: Exception, tell: Tell) -> None:
        from anypop.control.acme_orders import RateLimitedError  # noqa: PLC0415 - see above

        count = self._failures.count + 1
        rest = RESTS_S[min(count, len(RESTS_S)) - 1]
        if isinstance(error, RateLimitedError):
            rest = max(rest, LIMITED_S)
        self._failures = Failures(count=count, again_at=self._now() + rest)
        words = str(error).replace("\n", "; ")
        self._shown.trouble = words
        kept = {"for": self._for, "count": count, "again_at": self._failures.again_at}
        with contextlib.suppress(OSError):  # a full disk: only the next process would try sooner
            await asyncio.to_thread(write_whole, self._failed_file, json.dumps(kept).encode(), mode=0o600)
        message = f"{words}; tried again at {moment(datetime.fromtimestamp(self._failures.again_at, UTC))}"
        await tell(event(EventKind.CERTIFICATE_NOT_RENEWED, self._shown.names, self._shown.certificate, message))

    def _keep(self, found: PublicCertificate) -> None:
        """Key and chain, both or neither."""
        content = {"for": self._for, "chain": found.chain.decode(), "key": found.key.decode()}
        write_whole(self._file, json.dumps(content).encode(), mode=0o600)

    def _kept(self) -> PublicCertificate | None:
        kept = self._read(self._file) or {}
        try:
            return public_certificate.check(
                str(kept["chain"]).encode(), str(kept["key"]).encode(), self._shown.names, now=self._moment()
            )
        except (KeyError, Invalid):
            return None

    def _read(self, path: Path) -> dict[str, Any] | None:
        """What was kept for this very authority and these names."""
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("for") == self._for else None

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)
