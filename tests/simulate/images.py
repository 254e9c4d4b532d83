"""What programs of simulated images do. The name of an image says it: `good:1`, `crashes:2`, ..."""

from enum import StrEnum
from functools import cache


class Behaviour(StrEnum):
    GOOD = "good"
    SLOW = "slow"  # answers after some seconds
    SICK = "sick"  # runs and never answers
    CRASHES = "crashes"  # ends soon after its start
    EATS_MEMORY = "eats-memory"  # is ended for that
    BREAKS_LATER = "breaks-later"  # answers, and then no more
    ONLY_IPV4 = "only-ipv4"
    NOT_THERE = "not-there"  # no registry has it
    CANNOT_BE_MADE = "cannot-be-made"

    @property
    def serves(self) -> bool:
        """Whether an instance of it is healthy in the end."""
        return self in (Behaviour.GOOD, Behaviour.SLOW, Behaviour.ONLY_IPV4)


@cache
def behaviour_of(image: str) -> Behaviour:
    return Behaviour(image.partition(":")[0])
