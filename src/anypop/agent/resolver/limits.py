"""How much one instance may ask of others through its host: so many questions a second and on their way at once.

In: the time, and a link. Out: whether one more may go. What the platform answers itself is not counted here: the
kernel lets only so many packets of a link come to the resolver at all. Pure but for what it remembers.
"""

from dataclasses import dataclass

PER_SECOND, AT_ONCE = 100.0, 200.0
"""Questions that go to somebody else, on average and in a burst, of one instance: a busy mail server's."""

WAITING, WAITING_ALTOGETHER = 64, 512
"""Of these on their way: each holds a socket for up to `upstream.PATIENCE_S`."""

CONNECTIONS, CONNECTIONS_ALTOGETHER = 8, 256
"""By TCP, which is for the few answers that fit into no datagram."""


@dataclass(slots=True)
class _Use:
    left: float
    at: float
    waiting: int = 0
    connected: int = 0


class Limits:
    """Of all links."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}
        self._waiting = self._connected = 0

    def keep(self, links: set[str]) -> None:
        """Forget all others, but those that still wait."""
        self._uses = {k: use for k, use in self._uses.items() if k in links or use.waiting or use.connected}

    def begin(self, link: str, now: float) -> bool:
        """Whether one more question of a link may go to somebody else; `end` is called when it is over."""
        use = self._of(link, now)
        use.left = min(AT_ONCE, use.left + (now - use.at) * PER_SECOND)
        use.at = now
        if use.left < 1 or use.waiting >= WAITING or self._waiting >= WAITING_ALTOGETHER:
            return False
        use.left -= 1
        use.waiting += 1
        self._waiting += 1
        return True

    def end(self, link: str) -> None:
        self._uses[link].waiting -= 1
        self._waiting -= 1

    def connect(self, link: str, now: float) -> bool:
        """Whether one more connection of a link may stand; `disconnect` is called when it is over."""
        use = self._of(link, now)
        if use.connected >= CONNECTIONS or self._connected >= CONNECTIONS_ALTOGETHER:
            return False
        use.connected += 1
        self._connected += 1
        return True

    def disconnect(self, link: str) -> None:
        self._uses[link].connected -= 1
        self._connected -= 1

    def _of(self, link: str, now: float) -> _Use:
        return self._uses.setdefault(link, _Use(left=AT_ONCE, at=now))
