"""The ledger: the last order, on disk before it is obeyed, and the tokens of every removal that is not complete.

In: an order from control. Out: whether it is accepted, and if not, why. Refuses an older generation, and one that
leaves out an instance without a token (DESIGN invariants 1, 5, 6, 14). At a start without control it gives the last
order back. The secrets in the file are sealed with the host's key. Never touches the world otherwise.
"""

import contextlib
import json
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from anypop.agent.decide.elements import Leaving
from anypop.host.folder_sync import sync_folder
from anypop.model import upgrade
from anypop.model.codec import from_data, to_json
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import HostName
from anypop.model.order import Order
from anypop.model.reasons import Reason
from anypop.model.sealing import Conceal, Unreadable, holds_secrets, order_with_secrets, seal, unseal, with_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What stands in the ledger: the order that is obeyed, and the instances on their way out."""

    order: Order
    leaving: tuple[Leaving, ...] = ()


class Ledger:
    """One file. Read once at the start; written, flushed and renamed into place at each change."""

    def __init__(self, file: Path, host: HostName, key: bytes) -> None:
        self._file = file
        self._host = host
        self._key = key
        self.page: Page | None = None
        self.error = ""
        """Why the last order could not be read back, in words; empty when all is well. What runs goes on running."""

    def restore(self) -> None:
        """Read the last order. A damaged file is set aside, said in `error`, and counts as no order: nothing is taken
        down for it.
        """
        try:
            self.page, is_clear = _read(self._file.read_bytes(), self._key)
            if is_clear:  # an earlier version wrote it
                with contextlib.suppress(WorldError):
                    self._write(self.page)
        except FileNotFoundError:
            return
        except Invalid as error:
            aside = self._file.with_suffix(".damaged")
            with contextlib.suppress(OSError):
                self._file.replace(aside)
            first = error.problems[0]
            self.error = (
                f"the last order on disk cannot be read ({first}); kept as {aside}, everything that runs is left alone"
            )
        except OSError as error:
            self.error = f"the last order at {self._file} cannot be read: {error.strerror}"

    @property
    def generation(self) -> int:
        return self.page.order.generation if self.page else 0

    def accept(self, order: Order) -> Reason | None:
        """Obey `order` from now on (None), or refuse it. Raises `Invalid` for another host's order, `WorldError`
        when the disk fails.
        """
        if order.host != self._host:
            raise Invalid.one("host", f"this is {self._host}'s agent, the order is for {order.host}")
        page = turn(order, self.page)
        if isinstance(page, Reason):
            return page
        if page != self.page:
            self._write(page)
        return None

    def forget(self, gone: frozenset[str]) -> None:
        """Drop the tokens of removals that are complete and that control no longer asks for."""
        if self.page is None:
            return
        page = relieved(self.page, gone)
        if page is not self.page:
            self._write(page)

    def _write(self, page: Page) -> None:
        temporary = self._file.with_suffix(".tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # an order holds secrets
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(_written(page, self._key))
                out.flush()
                os.fsync(out.fileno())
            temporary.rename(self._file)
            sync_folder(self._file.parent)
        except OSError as error:
            raise WorldError(f"write the order to {self._file}", error.strerror or str(error)) from error
        self.page = page
        self.error = ""


def _written(page: Page, key: bytes) -> bytes:
    """The page as it lies on the disk: JSON that says that its secrets are sealed."""
    return b'{"sealed":1,' + to_json(_with_secrets(page, lambda of, secret: seal(key, secret, of)))[1:]


def _read(raw: bytes, key: bytes) -> tuple[Page, bool]:
    """A page, also one that version 0.1 wrote, and whether its secrets lay there in the clear. Raises `Invalid`."""
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise Invalid.one("", f"is no JSON: {error}") from error
    is_sealed = isinstance(data, dict) and data.pop("sealed", None) == 1
    # what is no page at all is told by the reader below
    with contextlib.suppress(LookupError, TypeError, AttributeError):
        data = upgrade.page(data)
    page = from_data(Page, data)
    if not is_sealed:
        return page, True
    try:
        return _with_secrets(page, lambda of, text: unseal(key, text, of)), False
    except Unreadable as error:
        raise Invalid.one("", "its secrets were sealed with another key than this host has now") from error


def _with_secrets(page: Page, value: Conceal) -> Page:
    """The page with what `value` makes of each secret in it."""
    leaving = tuple(
        replace(x, instance=replace(one, payload=with_secrets(one.payload, partial(value, one.workload_id))))
        if (one := x.instance) is not None and holds_secrets(one.payload)
        else x
        for x in page.leaving
    )
    return replace(page, order=order_with_secrets(page.order, value), leaving=leaving)


def relieved(page: Page, gone: frozenset[str]) -> Page:
    """The page without the tokens of removals that are complete and that control no longer asks for. Pure."""
    asked = {removal.uid for removal in page.order.removed}
    kept = tuple(x for x in page.leaving if x.removal.uid in asked or x.removal.uid not in gone)
    return replace(page, leaving=kept) if kept != page.leaving else page


def turn(order: Order, page: Page | None) -> Page | Reason:
    """The next page when `order` follows `page`, or the reason to refuse it. Pure."""
    if page is not None and order == page.order:
        return page
    if page is not None and order.generation <= page.order.generation:
        return Reason.STALE_GENERATION
    if page is not None and _lost(order, page):
        return Reason.SHRINKS_WITHOUT_TOKEN
    return Page(order=order, leaving=_leaving(order, page))


def _lost(order: Order, page: Page) -> set[str]:
    """Uids that the standing order runs and that the new one neither runs nor removes."""
    named = {i.uid for i in order.instances} | {r.uid for r in order.removed} | {x.removal.uid for x in page.leaving}
    return {i.uid for i in page.order.instances} - named


def _leaving(order: Order, page: Page | None) -> tuple[Leaving, ...]:
    """All removals from now on: the ones under way, and the new tokens with what we remember of their instances."""
    known = {i.uid: i for i in (page.order.instances if page else ())} | {i.uid: i for i in order.instances}
    under_way = {x.removal.uid: x for x in (page.leaving if page else ())}
    for removal in order.removed:
        # a token counts for exactly the incarnation it names
        instance = known.get(removal.uid)
        if removal.uid not in under_way and (instance is None or instance.name == removal.name):
            under_way[removal.uid] = Leaving(removal=removal, instance=instance)
    return tuple(under_way.values())
