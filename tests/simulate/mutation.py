"""One way to break the platform on purpose, as a value.

In: what is to be replaced, and by what. Out: `Mutation`, of which `mutations` has a table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulate.scenes import Script

Change = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """`where`: dotted name of what is replaced; `change`: makes the wrong one out of the right one. `caught_by`:
    numbers of the invariants that tell; `script`: acts, where the usual ones show it too seldom; `only`: the platforms
    on which it can show; `first`: the seed to begin with; `also`: a second line of defence, which fails too.
    """

    where: str
    change: Change
    caught_by: frozenset[int]
    script: Script = ()
    only: Callable[[Any], bool] = lambda platform: True
    first: int = 0
    also: tuple[str, Change] | None = None


def of(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def always(value: object) -> Change:
    return lambda right: lambda *_, **__: value
