"""A scene of a benchmark: namespaces, links, programs and accounts that are made for it and removed after it.

In: how it is made, each piece with what undoes it. Out: the scene from `with` until its end; one that breaks while it
is made leaves nothing behind either.
"""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Self


class Scene(ABC):
    """From `with` until its end."""

    def __init__(self) -> None:
        self.undo = ExitStack()
        """What is to be done at the end, the last first."""

    def __enter__(self) -> Self:
        try:
            self.make()
        except BaseException:
            self.undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.undo.close()

    @abstractmethod
    def make(self) -> None:
        """Make all of it."""
