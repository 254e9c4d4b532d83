"""What is known of each site without any measurement: columns of numbers for those who learn. Pure."""

import numpy as np

from anypop.routing.engine.arrays import NONE
from anypop.routing.engine.propagate import Outcome
from anypop.routing.internet.sites import Float


def traits_of(outcome: Outcome) -> Float:
    """Per site: whether the graph's answer is a tie, how it learns its route and over how many networks (nan: not),
    its providers, customers and peers as logarithms, and its place in degrees (nan: unknown).
    """
    internet = outcome.internet
    reached = outcome.kind != NONE
    numbers = [
        outcome.tied,
        np.where(reached, outcome.kind, np.nan),
        np.where(reached, outcome.length, np.nan),
        *(np.log1p(np.diff(links.start)) for links in (internet.providers, internet.customers, internet.peers)),
        internet.latitude,
        internet.longitude,
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in numbers])
