"""How an invariant that does not hold is told: its number, its name, and what does not hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Broken(Exception):  # noqa: N818 - it reads as a verdict
    """An invariant does not hold. `name`: of its function."""

    def __init__(self, number: int, name: str, text: str) -> None:
        self.number, self.name = number, name
        super().__init__(f"invariant {number}, {name}: {text}")


def broken(number: int, check: Callable[..., None], text: str) -> Broken:
    return Broken(number, check.__name__, text)


@contextmanager
def refused_by_the_kernel() -> Iterator[None]:
    """The fake host refuses a step: its sentences begin with the number of the invariant."""
    try:
        yield
    except AssertionError as error:
        number, _, text = str(error).partition(":")
        raise Broken(
            int(number) if number.isdigit() else 0, "refused_by_the_kernel", text.strip() or str(error)
        ) from error
