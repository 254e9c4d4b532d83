"""Links that sign a person in, in a browser, once: made by whoever has a token, for the same rights.

In: what a token opens. Out: a code for a link, and for the first who brings it in time what it opens. Memory alone: a
restart forgets all links. A code stands in no log and no store.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from anypop.control.once import Once
from anypop.control.refusals import Unauthenticated
from anypop.control.tokens import Grant

LIFE_S = 600.0  # time to go to another window, or to another machine, and open it there


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offered:
    grant: Grant
    until: float


class Links:
    """All that nobody has used yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._offered = Once[_Offered](clock)

    def offer(self, grant: Grant) -> str:
        """The code of a new link."""
        code = secrets.token_urlsafe(32)
        self._offered.put(code, _Offered(grant=grant, until=self._clock() + LIFE_S))
        return code

    def use(self, code: str) -> Grant:
        """What it opens; it opens nothing any more. Raises `Unauthenticated`."""
        found = self._offered.take(code)
        if found is None:
            raise Unauthenticated("this link was used already, or its time is over: make another one")
        return found.grant
