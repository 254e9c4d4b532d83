"""News of access that has come to an end: of a token, a credential, a user's sessions, somebody in an account.

In: whoever takes access away, once memory knows of it too. Out: whoever has let somebody in for longer than one answer
(`held_open`) hears of it at once, in the thread of the news. It keeps nothing and decides nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Whoever got in by all that is filled in here is out. `token`: its hash. `client_id`: of a credential. `user_id`:
    its sessions and credentials, in `account_id` alone where that is filled in too. `why`: for those who are out.
    """

    why: str
    token: str = ""
    client_id: str = ""
    user_id: str = ""
    account_id: str = ""

    def means(self, *, token: str, client_id: str, user_id: str, account_id: str) -> bool:
        """Whether who got in by these is out."""
        wanted = (self.token, self.client_id, self.user_id, self.account_id)
        found = (token, client_id, user_id, account_id)
        return any(wanted) and all(w in ("", f) for w, f in zip(wanted, found, strict=True))


class Ends:
    """Of one platform. `tell` without an end: roles or rights may be others now."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[End | None], None]] = []

    def listen(self, listener: Callable[[End | None], None]) -> None:
        """`listener` is called in any thread, and must be quick."""
        self._listeners.append(listener)

    def tell(self, end: End | None = None) -> None:
        for listener in self._listeners:
            listener(end)
