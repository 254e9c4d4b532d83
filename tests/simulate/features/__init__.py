"""The features that bring their own acts, invariants and mutations to simulated lives: one module for each.

To add one: a module with a `Feature`, and its name here. What a life draws from, what is asked and which mutations must
be noticed follows from that.
"""

from tests.simulate.features import dials, machines, restarts, returns, scaling, siblings, volumes
from tests.simulate.features.feature import Feature

FEATURES: tuple[Feature, ...] = (
    dials.FEATURE, restarts.FEATURE, siblings.FEATURE, returns.FEATURE, scaling.FEATURE, machines.FEATURE,
    volumes.FEATURE,
)  # fmt: skip

__all__ = ["FEATURES", "Feature"]
