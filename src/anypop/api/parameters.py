"""Numbers in paths and queries: read from text, with what is wrong with a wrong one in words.

In: the text of a parameter. Out: a marker for FastAPI's parameters. An empty text counts as absent where there is a
default.
"""

from typing import Any

from pydantic import BeforeValidator


def whole(digits: int, *, default: int = 0) -> BeforeValidator:
    """A whole number of at most so many digits."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value  # the default
        if value == "":
            return default
        if not value.isascii() or not value.isdigit() or len(value) > digits:
            raise ValueError("must be a whole number, 0 or more")
        return int(value)

    return BeforeValidator(read)
