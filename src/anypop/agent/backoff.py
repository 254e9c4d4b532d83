"""Waiting times that double: how long a thing that failed rests before it is tried again. Pure but for its own count."""

from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class BackOff:
    """`first_s`, then twice as long each time, never above `longest_s`. Per key; a success starts it anew."""

    first_s: float
    longest_s: float
    _failures: dict[Hashable, int] = field(default_factory=dict)

    def failed(self, key: Hashable) -> float:
        """Count one more failure; seconds to wait."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        return float(min(self.first_s * 2 ** min(count, 30), self.longest_s))

    def succeeded(self, key: Hashable) -> None:
        self._failures.pop(key, None)
