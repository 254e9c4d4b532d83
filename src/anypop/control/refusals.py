"""Why control refuses what was asked, as types: the faces turn each into their own words (HTTP status and code, exit
code).

`model.errors.Invalid` is for an input that is wrong in itself; these are for an input that does not fit what is there.
"""

from collections.abc import Iterable

from anypop.model.errors import Problem


class Refused(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """The parent of all refusals. `message` is for people."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class NotFound(Refused):
    """There is nothing of that name that the caller may see."""


class Exists(Refused):
    """The name is taken."""


class VersionConflict(Refused):
    """The caller changed an older version than the one that is there now."""


class Precondition(Refused):
    """What is there does not allow it now."""


class Unauthenticated(Refused):
    """No token, or one that is unknown or has expired."""


class WrongSecret(Unauthenticated):
    """The client id exists, the secret is another."""


class Forbidden(Refused):
    """Known, but not entitled."""


class Busy(Refused):
    """Too much is asked at once; the same may be asked again later."""


class OverQuota(Refused):
    """More than a quota allows. Carries every limit that would be exceeded: `path` is whose it is."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(p) for p in self.problems))
