"""Control's certificates, from start to end: the platform's own, and the public one of a real name.

In: the settings of the command line, the store. Out: contexts for the listening sockets, kept at what is right for as
long as control runs, and events about it. A process that runs for a year must not outlive its certificates.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anypop.api.acme import ACME, AcmeKeeper
from anypop.api.certificate_files import FileKeeper, Tell
from anypop.api.challenges import Challenges
from anypop.api.context import Platform
from anypop.api.listen import ListenAddress
from anypop.api.tls import Contexts, Shown
from anypop.control import ca
from anypop.control.core import ANY_CHANGE
from anypop.control.public_certificate import files_of, real
from anypop.model.errors import Invalid, Problem, WorldError
from anypop.model.events import Event, EventKind

log = logging.getLogger("anypop.api")

RENEWAL_CHECK_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """What the command line says of an authority that signs by ACME. `listen`: where it asks; none: port 80."""

    directory: str
    email: str = ""
    ca: Path | None = None
    listen: tuple[ListenAddress, ...] = ()


class Keeper(Protocol):
    """Who keeps what is shown, for ever. `active`: whether this control is."""

    async def keep(self, tell: Tell, active: Callable[[], bool], /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """The public certificate and who keeps it; `keeper` None: there is none, and the platform's own is shown alone."""

    shown: Shown
    keeper: Keeper | None = None
    challenges: Challenges | None = None


def public_of(
    names: tuple[str, ...],
    *,
    state: Path,
    certificate: Path | None,
    key: Path | None,
    acme: Acme | None,
    now: Callable[[], float],
) -> Public:
    """What the command line means. `state`: control's folder; `now`: the wall's time. Raises `Invalid` with all
    that is wrong with it and with the files.
    """
    if acme is not None:
        _check(acme, names, certificate, key)
        return _by_acme(acme, names, state / ACME, now)
    files = files_of(certificate, key, names)
    if files is None:
        return Public(shown=Shown())
    shown = Shown(real(names))
    keeper = FileKeeper(files, shown, now)
    keeper.begin()
    return Public(shown=shown, keeper=keeper)


def _check(acme: Acme, names: tuple[str, ...], certificate: Path | None, key: Path | None) -> None:
    problems = list[Problem]()
    if certificate is not None or key is not None:
        problems.append(
            Problem(path="--acme", message="the certificate comes from it, or from --certificate: not both")
        )
    if not re.fullmatch(r"https://[^/\s]+/\S*", acme.directory):
        problems.append(Problem(path="--acme", message=f"{acme.directory} is not the https:// address of a directory"))
    if acme.ca is not None and not acme.ca.is_file():
        problems.append(Problem(path="--acme-ca", message=f"there is no file {acme.ca}"))
    if not real(names):
        problems.append(Problem(path="--public-name", message="name what the certificate is to be for; repeatable"))
    for name in real(names):
        if re.fullmatch(r"[\d.]+|.*:.*", name) or "." not in name:
            message = f"{name}: an authority signs names that are in the DNS, write own-ca,{name}"
            problems.append(Problem(path="--public-name", message=message))
    if problems:
        raise Invalid(problems)


def _by_acme(acme: Acme, names: tuple[str, ...], folder: Path, now: Callable[[], float]) -> Public:
    from anypop.control.acme_orders import Authority  # noqa: PLC0415 - its library is for those alone who want it

    shown = Shown(real(names))
    challenges = Challenges(acme.listen)
    authority = Authority(directory=acme.directory, email=acme.email, ca=acme.ca)
    keeper = AcmeKeeper(authority, shown, folder, challenges, now=now)
    keeper.begin()
    return Public(shown=shown, keeper=keeper, challenges=challenges)


async def keep_own(contexts: Contexts, renew: Callable[[], ca.Credentials]) -> None:
    """New connections get the new one."""
    while True:
        await asyncio.sleep(RENEWAL_CHECK_S)
        made = await asyncio.to_thread(renew)
        if made.renewed:
            contexts.renew(made)
            log.info("the server's certificate was renewed")


async def keep_public(public: Public, platform: Platform) -> None:
    """As long as control runs."""
    try:
        if public.challenges is not None:
            await public.challenges.serve()
        if public.keeper is not None:
            await public.keeper.keep(_telling(platform), lambda: platform.standby is None)
    except Exception:
        log.exception("the certificate of %s is kept by nobody any more: start control anew", public.shown.names)
        raise


def _telling(platform: Platform) -> Tell:
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
