"""One PoP's order, cut out of a plan.

In: a plan, the PoP, the generation that control gives it, and the judge's verdict (for its grants). Out: the order, complete in itself.
It must not decide anything: everything in it stands in the plan or in the verdict.
"""

from anypop.model.names import CityCode
from anypop.model.order import Order
from anypop.model.plan import Plan, Verdict


def order_for(plan: Plan, pop: CityCode, generation: int, verdict: Verdict) -> Order:
    """The order of `pop`. KeyError where the plan's network has no such PoP: callers walk `plan.pops`."""
    part = plan.pops[pop]
    site = plan.network.pop(pop)
    if site is None:
        raise KeyError(pop)
    judged = verdict.pops.get(pop)
    ours = {a.prefix for a in part.announcements}
    return Order(
        pop=pop,
        generation=generation,
        asn=plan.network.asn,
        router_id=site.router_id,
        private4=site.private4,
        private6=site.private6,
        external4=site.external4,
        external6=site.external6,
        upstreams=site.upstreams,
        instances=part.instances,
        removed=part.removed,
        announcements=part.announcements,
        # a grant for a prefix that is no longer announced here would only puzzle the reader of the order
        grants=tuple(g for g in judged.grants if g.prefix in ours) if judged else (),
    )
