"""What is never sent back to where it came from: the unreachable routes below everything that is a host's own. Pure.

In: facts. Out: prefixes. An address in them that no instance here has is nobody's, but for one case: where the PoP's
own edge router is the only way out, an external address of this host may have followed its instance to another host.
That router has a route to each address in use, so what has none here is left to it.
"""

from anypop.agent.decide.bound import bound
from anypop.agent.decide.facts import Facts
from anypop.model.announce import Prefix


def covers_for(facts: Facts) -> frozenset[Prefix]:
    """Prefixes below which nothing may ever be forwarded back to an upstream: all that we own here, and all that we
    still announce.
    """
    order = facts.order
    own: set[Prefix] = {order.private4, order.private6, *bound(order)}
    return frozenset(own | facts.wanted_prefixes | facts.exported_prefixes)
