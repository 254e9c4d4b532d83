"""The three kinds of error, as three types.

The user's input is wrong: `Invalid`, with every problem at once. The world failed: `WorldError`, which becomes data in
a report and is tried again. Our bug: any other exception, and it crashes loudly.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with an input: `path` is the field (`spec.containers.web.image`, `links[3].a`), `message` says
    what to do.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Invalid(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """The user's input is wrong. Carries all its problems, never only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    @classmethod
    def one(cls, path: str, message: str) -> "Invalid":
        return cls([Problem(path=path, message=message)])


class WorldError(Exception):
    """The world failed (a command, a daemon, a registry): `what` was tried, `why` it failed, in words a user can act
    on.
    """

    def __init__(self, what: str, why: str) -> None:
        self.what = what
        self.why = why
        super().__init__(f"{what}: {why}")
