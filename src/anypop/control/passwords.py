"""Passwords of people: hashed with Argon2 (RFC 9106), compared in the same time whoever it is.

In: a password, and the hash that is stored for a user, if there is one. Out: whether it fits. A hash takes some tenths
of a second and tens of MiB on purpose: whoever calls this bounds how many are made at once, and uses a thread. Nothing
of a password is kept, logged or told.
"""

from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from anypop.model.errors import Invalid

SHORTEST = 12  # characters: what is shorter is guessed, however slow a guess is
LONGEST = 1024


class Passwords:
    """`hasher`: how costly a hash is; the library's own choice follows RFC 9106, section 4 (64 MiB, three passes)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash("of nobody")

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def fits(self, stored: str | None, password: str) -> bool:
        """Whether it is the password. Without a stored hash (no such user, or one without a password) the same work is
        done, so that the time tells nothing.
        """
        try:
            found = self._hasher.verify(stored or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return False
        return found and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether today it would be hashed otherwise."""
        return self._hasher.check_needs_rehash(stored)


def check_new(password: str, *, of: str, field: str = "password") -> None:
    """Raises `Invalid` for one that is no use. `of`: the user's name."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid.one(field, f"must have {SHORTEST} to {LONGEST} characters")
    if password.lower() == of.lower() or len(set(password)) < 4:
        raise Invalid.one(field, "is too easy to guess")
