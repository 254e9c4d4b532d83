"""Which external addresses of a host are at this host for certain, so that nobody else sends from them. Pure.

In: an order, and the instances here. Out: the external prefixes of which no address can be at another host; and the
public addresses of single instances here, which may be of any host's prefix. Where the PoP's own edge router is the
only way out, an external address may have followed its instance to another host of the PoP: there a prefix alone tells
nothing of an address in it.
"""

from collections.abc import Iterable, Iterator

from anypop.model.announce import Address, Prefix
from anypop.model.network import UpstreamKind
from anypop.model.order import InstanceOrder, Order


def bound(order: Order) -> Iterator[Prefix]:
    """The external prefixes all of whose addresses are here, or nowhere."""
    for whole in (order.external4, order.external6):
        ways = {u.kind for u in order.upstreams if u.has_session(whole.version)}
        if ways != {UpstreamKind.EDGE}:
            yield whole


def here(order: Order, instances: Iterable[InstanceOrder]) -> tuple[Address, ...]:
    """The public addresses of instances here that lie in none of these prefixes; sorted."""
    whole = tuple(bound(order))
    found = {a for one in instances for a in one.externals() if not any(_holds(prefix, a) for prefix in whole)}
    return tuple(sorted(found, key=lambda a: (a.version, int(a))))


def _holds(prefix: Prefix, address: Address) -> bool:
    return prefix.version == address.version and address in prefix
