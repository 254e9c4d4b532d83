"""Control's certificates, from start to end: the platform's own, and the public one of a real name.

In: the settings of the command line, the store. Out: contexts for the listening sockets, kept at what is right for as
long as control runs, and events about it. A process that runs for a year must not outlive its certificates.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anypop.api.certificate_files import FILES, FileKeeper, Tell
from anypop.api.context import Platform
from anypop.api.tls import Contexts, Shown
from anypop.control import ca
from anypop.control.core import ANY_CHANGE
from anypop.control.public_certificate import files_of, real
from anypop.model.errors import WorldError
from anypop.model.events import Event, EventKind

log = logging.getLogger("anypop.api")

RENEWAL_CHECK_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """The public certificate and who keeps it; `keeper` None: there is none, and the platform's own is shown alone."""

    shown: Shown
    keeper: FileKeeper | None


def public_of(names: tuple[str, ...], *, certificate: Path | None, key: Path | None) -> Public:
    """What the command line means. Raises `Invalid` with all that is wrong with it and with the files."""
    files = files_of(certificate, key, names)
    if files is None:
        return Public(shown=Shown(), keeper=None)
    shown = Shown(real(names), by=FILES)
    keeper = FileKeeper(files, shown)
    keeper.begin()
    return Public(shown=shown, keeper=keeper)


async def keep_own(contexts: Contexts, renew: Callable[[], ca.Credentials]) -> None:
    """New connections get the new one."""
    while True:
        await asyncio.sleep(RENEWAL_CHECK_S)
        made = await asyncio.to_thread(renew)
        if made.renewed:
            contexts.renew(made)
            log.info("the server's certificate was renewed")


def telling(platform: Platform) -> Tell:
    """Into the log, and among the events where this control may write."""

    async def tell(event: Event) -> None:
        good = event.kind is EventKind.CERTIFICATE_RENEWED
        log.log(logging.INFO if good else logging.WARNING, "%s", event.message)
        if platform.standby is not None:
            return
        try:
            await asyncio.to_thread(platform.core.store.tell, [event], at=platform.clock())
        except WorldError as error:
            log.warning("it stands in this log alone: %s", error)
            return
        platform.core.bell.ring(ANY_CHANGE)

    return tell
