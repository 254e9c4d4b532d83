"""What neighbours say: sums over the providers, customers and peers of each site. Pure, numpy alone.

A vote counts where those landed that buy from the same providers. Whoever learns from votes must not see its own
answer in them: `out_of_fold` gives a measured site the votes that were counted without its part of the networks.
"""

import numpy as np

from anypop.routing.inference.history import NOT_MEASURED
from anypop.routing.internet.sites import Adjacency, Float, Int32, Internet


def summed(links: Adjacency, values: Float) -> Float:
    """Per site the sum of the rows of `values` over its neighbours."""
    size = len(links.start) - 1
    here = np.repeat(np.arange(size), np.diff(links.start))
    columns = [np.bincount(here, weights=column[links.to], minlength=size) for column in values.T]
    return np.column_stack(columns) if columns else np.zeros((size, 0))


def mates(internet: Internet, values: Float, known: Float, *, shrink: float) -> Float:
    """Per site the mean of `values` over the customers of its providers, of those with `known` 1; each provider's mean
    is drawn to 0 as if `shrink` more customers had 0.
    """
    count = summed(internet.customers, known[:, None])
    means = summed(internet.customers, values * known[:, None]) / (count + shrink)
    providers = np.maximum(np.diff(internet.providers.start), 1)[:, None]
    return summed(internet.providers, means) / providers


def votes(internet: Internet, landed: Int32, pops: int) -> Float:
    """Per site, each with a column per PoP, nan where nobody is measured: the shares of its providers' customers, all
    together; the mean of the shares of each provider; those of its providers, of its customers and of its peers
    themselves. Then how many of the first there are, as a logarithm.
    """
    shown = np.zeros((len(internet), pops))
    seen = np.flatnonzero(landed != NOT_MEASURED)
    shown[seen, landed[seen]] = 1.0
    bought = summed(internet.customers, shown)
    together = summed(internet.providers, bought)
    have = (bought.sum(axis=1, keepdims=True) > 0).astype(float)
    each = summed(internet.providers, np.nan_to_num(_shares(bought)))
    with np.errstate(invalid="ignore"):
        mean = each / np.where((counted := summed(internet.providers, have)) > 0, counted, np.nan)
    own = [_shares(summed(links, shown)) for links in (internet.providers, internet.customers, internet.peers)]
    return np.hstack([_shares(together), mean, *own, np.log1p(together.sum(axis=1, keepdims=True))])


def out_of_fold(internet: Internet, landed: Int32, pops: int, fold: Int32) -> Float:
    """`votes`, those of measured sites without what the measured sites of their own fold say."""
    result = votes(internet, landed, pops)
    for part in np.unique(fold[landed != NOT_MEASURED]):
        inside = (fold == part) & (landed != NOT_MEASURED)
        result[inside] = votes(internet, np.where(inside, NOT_MEASURED, landed).astype(np.int32), pops)[inside]
    return result


def _shares(counts: Float) -> Float:
    total = counts.sum(axis=1, keepdims=True)
    result: Float = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return result
