"""Sign-ins by a provider that are under way: what each keeps here until it comes back, and hands over once.

In: a person who begins, in a browser or by the command line; later the same one. Out: what was kept, once. Memory
alone: a restart asks people to begin again. It has an end, so that nobody fills it; a secret of the browser's ties both
ends together, so that nobody is signed in by somebody else's answer.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest

from anypop.control.oidc_identity import Begun, challenge_of
from anypop.control.once import Once
from anypop.control.refusals import Unauthenticated
from anypop.control.tokens import hash_of

LIFE_S = 600.0  # time to find a password and a second factor
CODE_LIFE_S = 60.0  # a redirect, and one request of a program that waits for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """`browser`: hash of the secret that the browser brings back. `port`: where a command line waits on its own
    machine, and `challenge`: of what it alone can show (RFC 7636); with a challenge alone it is the portal that waits,
    with neither a page. `account`: which one is meant; `invitation`: the token of one.
    """

    begun: Begun
    browser: str = field(repr=False)
    port: int = 0
    challenge: str = ""
    account: str = ""
    invitation: str = field(default="", repr=False)
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Somebody has shown who they are to the provider, and who began the sign-in may collect it."""

    user_id: str
    account_id: str
    challenge: str
    until: float


class Waiting:
    """All that are under way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = Once[Started](clock)
        self._shown = Once[Shown](clock)

    def begin(
        self, *, port: int = 0, challenge: str = "", account: str = "", invitation: str = ""
    ) -> tuple[Begun, str]:
        """What goes to the provider, and the secret for the browser."""
        begun = Begun(
            state=secrets.token_urlsafe(32), nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(48)
        )
        browser = secrets.token_urlsafe(32)
        started = Started(
            begun=begun, browser=hash_of(browser), port=port, challenge=challenge, account=account,
            invitation=invitation, until=self._clock() + LIFE_S,
        )  # fmt: skip
        self._started.put(begun.state, started)
        return begun, browser

    def back(self, state: str, browser: str) -> Started:
        """The sign-in that has this state, if it began in this browser; it is over with this, either way. Raises
        `Unauthenticated`.
        """
        found = self._started.take(state)
        if found is None or not compare_digest(found.browser, hash_of(browser)):
            raise Unauthenticated("this sign-in is over, or began in another browser: begin again")
        return found

    def hand_over(self, user_id: str, account_id: str, challenge: str) -> str:
        """A code for the command line or the portal that waits, which it can use once."""
        code = secrets.token_urlsafe(32)
        shown = Shown(user_id=user_id, account_id=account_id, challenge=challenge, until=self._clock() + CODE_LIFE_S)
        self._shown.put(code, shown)
        return code

    def collect(self, code: str, verifier: str) -> Shown:
        """Who has shown who they are, to the program that began it. Raises `Unauthenticated`."""
        found = self._shown.take(code)
        if found is None or not compare_digest(found.challenge, challenge_of(verifier)):
            raise Unauthenticated("this code is over, or another program began the sign-in: begin again")
        return found
