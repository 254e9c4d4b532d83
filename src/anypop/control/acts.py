"""Who acts: the person or program behind what happens now, carried from the request to the store.

In: what a face knows of the caller. Out: `current()`, wherever the work of this request goes on, in other threads too
(a context variable). It decides nothing; the audit log and the events are written from it. Work that nobody asked for
(a report of a host, something that has become due) must be done without an act.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


def new_request_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One request. `actor`: the account's name and the client id of its credential, or the host of an agent; empty:
    nobody yet. `operation`: as the description of the API names it. `address`: where it came from. `at`: when
    it began, by control's own clock.
    """

    request_id: str = field(default_factory=new_request_id)
    address: str = ""
    account_id: str | None = None
    actor: str = ""
    operator: bool = False
    operation: str = ""
    subject: str = ""
    at: float = 0.0

    @property
    def shown(self) -> str:
        """As others may know it: which of the operator's credentials it was is nobody else's business."""
        return "operator" if self.operator else self.actor


_current: ContextVar[Act | None] = ContextVar("act", default=None)


def current() -> Act | None:
    return _current.get()


def begin(act: Act | None) -> None:
    """From here on in this task, and in what it starts, `act` is the one that acts."""
    _current.set(act)


@contextmanager
def acting(act: Act | None) -> Iterator[None]:
    """As `begin`, to the end of the block."""
    kept = _current.set(act)
    try:
        yield
    finally:
        _current.reset(kept)
