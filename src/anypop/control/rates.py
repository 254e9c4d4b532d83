"""How much is too much: requests of one credential, and sign-ins that fail.

In: who asks, and a clock that never steps back. Out: how many seconds to wait; 0: go on. Both remember a bounded number
of askers, and nothing of those who have been quiet for long enough. Memory only: a restart forgives. They know no HTTP
and read no store.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from anypop.control.refusals import Refused

# Of each credential, where the operator set nothing for its account: a console that is clicked, or a Terraform run
# with ten operations side by side, needs a fifth of it.
REQUESTS_PER_S = 50
# An account has as many credentials as it makes: all of them together may do what so many may.
CREDENTIALS_AT_ONCE = 4
# Tokens of one client id to one address: each command of the command line asks for one.
TOKENS_PER_S = 10
# So many seconds' worth may come at once.
BURST_S = 4.0
# Entries of some 200 bytes.
MOST_REMEMBERED = 10_000


class TooMany(Refused):
    """More than is allowed; the same may be asked again in `retry_s` seconds."""

    def __init__(self, message: str, retry_s: float) -> None:
        self.retry_s = retry_s
        super().__init__(message)


class Buckets:
    """Token buckets (RFC 2697 has the idea): each holds `BURST_S` seconds' worth of requests and fills at its rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # what is missing in each bucket, and since when; a full one need not be remembered
        self._missing: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str, rate: float) -> float:
        """One request of `who`, who may make `rate` in a second. Seconds until there is room for it; 0: it is in."""
        now = self._clock()
        missing, since = self._missing.pop(who, (0.0, now))
        missing = max(0.0, missing - (now - since) * rate)
        size = max(1.0, rate * BURST_S)
        wait = 0.0
        if missing + 1 > size:
            wait = (missing + 1 - size) / rate
        else:
            missing += 1
        self._missing[who] = missing, now
        while len(self._missing) > MOST_REMEMBERED:
            self._missing.popitem(last=False)
        return wait

    def __len__(self) -> int:
        return len(self._missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patience:
    """So many failures are free; then the wait doubles with each, from a second to the longest."""

    free: int
    longest_s: float


# An address that fails for a credential; an address that fails for any; a credential that anybody fails for.
_OF_BOTH = _Patience(free=3, longest_s=900.0)
_OF_SOURCE = _Patience(free=20, longest_s=900.0)
_OF_CLIENT = _Patience(free=50, longest_s=60.0)
# A user that anybody fails for: a password, unlike a secret of ours, can be guessed from many addresses at once.
_OF_USER = _Patience(free=10, longest_s=300.0)


class SignIns:
    """Failed sign-ins: slower and slower for the address, then refused for a quarter of an hour.

    A credential as such is never closed: who has its secret and comes from an address that has not failed gets in,
    whatever others try. Secrets are 256 random bits, so that what is held off here is load, not luck. `guessed`: what
    is tried are passwords. Then a user is closed for some minutes to addresses from which it has not got in before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, guessed: bool = False) -> None:
        self._clock = clock
        self._guessed = guessed
        self._lock = threading.Lock()  # sign-ins are checked in threads
        # how often it failed, and when last
        self._failed: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        # from where a user has got in before: there nobody is kept waiting for what others try
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def check(self, source: str, client_id: str) -> None:
        """Raises `TooMany` where this address has to wait; nothing was looked up then."""
        with self._lock:
            wait = max(self._wait((source, client_id), _OF_BOTH), self._wait((source, ""), _OF_SOURCE))
            if self._guessed and (source, client_id) not in self._known:
                wait = max(wait, self._wait(("", client_id), _OF_USER))
        if wait > 0:
            raise TooMany("too many sign-ins have failed: come again later", wait)

    def failed(self, source: str, client_id: str) -> float:
        """A sign-in failed. Seconds until another one is answered with more than a refusal."""
        with self._lock:
            of_name = _OF_USER if self._guessed else _OF_CLIENT
            keys = (((source, client_id), _OF_BOTH), ((source, ""), _OF_SOURCE), (("", client_id), of_name))
            for key, patience in keys:
                count, since = self._failed.pop(key, (0, 0.0))
                if self._clock() - since > 2 * patience.longest_s:
                    count = 0
                self._failed[key] = count + 1, self._clock()
            while len(self._failed) > MOST_REMEMBERED:
                self._failed.popitem(last=False)
            return max(self._wait(key, patience) for key, patience in keys)

    def succeeded(self, source: str, client_id: str) -> None:
        """Whoever has the secret may have mistyped it before."""
        with self._lock:
            self._failed.pop((source, client_id), None)
            if self._guessed:
                self._known.pop((source, client_id), None)
                self._known[source, client_id] = None
                while len(self._known) > MOST_REMEMBERED:
                    self._known.popitem(last=False)

    def __len__(self) -> int:
        return len(self._failed)

    def _wait(self, key: tuple[str, str], patience: _Patience) -> float:
        count, since = self._failed.get(key, (0, 0.0))
        over = count - patience.free
        if over <= 0:
            return 0.0
        return max(0.0, since + min(2.0 ** min(over - 1, 20), patience.longest_s) - self._clock())
