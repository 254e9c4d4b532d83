"""Waiting times that double: how long a thing that failed rests before it is tried again. Pure; whoever asks counts
the failures.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """`first_s`, then twice as long each time, never above `longest_s`."""

    first_s: float
    longest_s: float

    def wait_s(self, failures: int) -> float:
        """The rest after `failures` earlier ones in a row: 0 gives the first."""
        return float(min(self.first_s * 2 ** min(failures, 30), self.longest_s))
