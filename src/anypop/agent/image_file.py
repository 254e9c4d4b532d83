"""The book of images on disk: what this agent has fetched, so that one of a later life takes away what nobody needs.

In: the book after each change. Out: the book of the life before. Losing it costs disk, never an image that is needed:
what does not stand in it is never taken away.
"""

import contextlib
from pathlib import Path

from anypop.agent.decide.images import EMPTY, ImageBook
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid


class ImageFile:
    """One file, written and renamed into place."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> ImageBook:
        """Empty where there is none, or nobody can read it."""
        with contextlib.suppress(OSError, Invalid):
            return from_json(ImageBook, self._file.read_bytes())
        return EMPTY

    def write(self, book: ImageBook) -> None:
        """A full disk is no trouble of its own here: it is written again with the next change."""
        temporary = self._file.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.write_bytes(to_json(book))
            temporary.replace(self._file)
