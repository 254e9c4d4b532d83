"""Which containers have begun, on disk: so that a later agent runs no hook twice, and asks no startup probe again.

In: ids of containers, after each change. Out: those that the agent before this one knew. Losing the file costs a hook
that is run once more, never an instance. An older version of Anypop has none: what runs then has begun.
"""

from dataclasses import dataclass
from pathlib import Path

from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """`hooked`: their postStart hook was run well; `started`: their startup probe was answered."""

    hooked: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()


class BegunFile:
    """One file, written and renamed into place."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: Begun | None = None

    def read(self) -> Begun | None:
        """None where there is none, or nobody can read it."""
        try:
            self._last = from_json(Begun, self._file.read_bytes())
        except (OSError, Invalid):
            self._last = None
        return self._last

    def keep(self, begun: Begun) -> None:
        """Write it where it is another one. A full disk is no trouble of its own here."""
        if begun == self._last:
            return
        self._last = begun
        temporary = self._file.with_suffix(".tmp")
        try:
            temporary.write_bytes(to_json(begun))
            temporary.replace(self._file)
        except OSError:
            self._last = None  # again with the next look
