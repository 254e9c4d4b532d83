"""Since when this host settles after its machine was dead, on disk: so that it goes on when the agent dies meanwhile.

In: the moment, after each look, before anything is done; None when nothing waits any more. Out: the moment that the
agent before this one knew. Losing the file costs an announcement that is early, never one that is missing.
"""

from pathlib import Path


class ReturnFile:
    """One file, written and renamed into place; there while this host settles."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: float | None = None

    def read(self, now: float) -> float | None:
        """None where there is none, or nobody can read it. A moment that has not come yet is now: somebody has set the
        clock.
        """
        try:
            self._last = min(float(self._file.read_text()), now)
        except (OSError, ValueError):
            self._last = None
        return self._last

    def keep(self, since: float | None) -> None:
        """Write it where it is another one. A full disk is no trouble of its own here."""
        if since == self._last:
            return
        temporary = self._file.with_suffix(".tmp")
        try:
            if since is None:
                self._file.unlink(missing_ok=True)
            else:
                temporary.write_text(repr(since))
                temporary.replace(self._file)
        except OSError:
            return  # again with the next look
        self._last = since
