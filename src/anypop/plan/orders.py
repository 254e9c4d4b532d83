"""One host's order, cut out of a plan.

In: a plan, the host, the generation that control gives it, and the judge's verdict (its grants, and who is idle). Out: the order,
complete in itself.
It must not decide anything: everything in it stands in the plan or in the verdict.
"""

from collections.abc import Mapping
from dataclasses import replace

from anypop.model.announce import Address, Announcement
from anypop.model.names import HostName, WorkloadId
from anypop.model.order import Order
from anypop.model.plan import Plan, Verdict


def order_for(plan: Plan, host: HostName, generation: int, verdict: Verdict) -> Order:
    """The order of `host`. KeyError where the plan's network has no such host: callers walk `plan.hosts`."""
    part = plan.hosts[host]
    site = plan.network.host(host)
    if site is None:
        raise KeyError(host)
    judged = verdict.hosts.get(host)
    ours = {a.prefix for a in part.announcements}
    owners = {a: held.workload_id for held in plan.anycast for a in (held.address4, held.address6)}
    return Order(
        pop=part.pop,
        host=host,
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
        announcements=tuple(replace(told, gates=gates_that_count(told, owners, verdict)) for told in part.announcements),
        # a grant for a prefix that is no longer announced here would only puzzle the reader of the order
        grants=tuple(g for g in judged.grants if g.prefix in ours) if judged else (),
    )


def gates_that_count(told: Announcement, owners: Mapping[Address, WorkloadId], verdict: Verdict) -> tuple[Address, ...]:
    """The gates of an announcement without those of idle workloads: no PoP answers for these, so that a PoP waits for them would help
    nobody and keep the others' prefix from ever coming back. Where nobody else is in the prefix they all stay.
    """
    return tuple(g for g in told.gates if owners.get(g) not in verdict.idle) or told.gates
