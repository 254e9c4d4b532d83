"""One host's order, cut out of a plan.

In: a plan, the host, the generation that control gives it, and the judge's verdict (its grants, who is idle, and who
has never served here). Out: the order, complete in itself. It must not decide anything: everything in it stands in the
plan or in the verdict.
"""

from collections.abc import Callable, Container
from dataclasses import replace
from functools import partial

from anypop.model.announce import Address, Announcement, Prefix
from anypop.model.backbone import DialledPop
from anypop.model.confinement import InstanceRules
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.network import Host, Network
from anypop.model.order import Grant, Order
from anypop.model.plan import HostPlan, Plan, Verdict
from anypop.model.policy import NO_RULES, HostRules
from anypop.model.stack_names import NamedWorkload


def order_for(plan: Plan, host: HostName, generation: int, verdict: Verdict) -> Order:
    """The order of `host`. KeyError where the plan's network has no such host: callers walk `plan.hosts`."""
    site = plan.network.host(host)
    if site is None:
        raise KeyError(host)
    owners = {a: held.workload_id for held in plan.anycast for a in (held.address4, held.address6)}
    judged = verdict.hosts.get(host)
    grants = judged.grants if judged is not None else ()
    part = plan.hosts[host]
    known = {i.workload_id for i in plan.incarnations if (i.pop, i.workload_id) not in verdict.newcomers}
    return cut(
        plan.network,
        site,
        part,
        generation,
        ours=plan.network.ours(),
        grants=grants,
        counting=Counting(
            owner_of=owners.get,
            is_idle=lambda prefix, workload: (
                workload in verdict.idle or (prefix in plan.carried and (workload, prefix.version) in verdict.mute)
            ),
            is_new=lambda prefix, workload, pop: (
                workload not in known if prefix in plan.carried else (pop, workload) in verdict.newcomers
            ),
            carried=plan.carried,
        ),
        rules=plan.network.instances,
        dials=plan.dials,
        ruled=plan.ruled.get(host, NO_RULES),
        names=plan.named.get(host, ()),
    )


class Counting:
    """Announcements as orders have them: with the gates that count. Hosts that wait for the same gates get the same
    ones, worked out once. `is_idle`: whether a workload works nowhere, or, in a prefix that is `carried`, answers
    nowhere in its family; `is_new`: whether it is a newcomer in a PoP, or, in such a prefix, in all of its PoPs.
    """

    def __init__(
        self,
        *,
        owner_of: Callable[[Address], WorkloadId | None],
        is_idle: Callable[[Prefix, WorkloadId | None], bool],
        is_new: Callable[[Prefix, WorkloadId | None, CityCode], bool],
        carried: Container[Prefix],
    ) -> None:
        self._owner_of = owner_of
        self._is_idle = is_idle
        self._is_new = is_new
        self._carried = carried
        # by identity, with what keeps it: to compare or to hash a hundred addresses costs more than to go through them
        self._known: dict[tuple[int, CityCode | None], tuple[tuple[Address, ...], tuple[Address, ...]]] = {}

    def of(self, told: Announcement, pop: CityCode) -> Announcement:
        """As the order of a host in that PoP has it."""
        if not told.gates:
            return told
        key = id(told.gates), None if told.prefix in self._carried else pop
        known = self._known.get(key)
        if known is None:
            counted = gates_that_count(
                told,
                self._owner_of,
                partial(self._is_idle, told.prefix),
                lambda workload: self._is_new(told.prefix, workload, pop),
            )
            known = self._known[key] = told.gates, counted
        return told if known[1] is told.gates else replace(told, gates=known[1])


def cut(
    network: Network,
    site: Host,
    part: HostPlan,
    generation: int,
    *,
    ours: tuple[Prefix, ...],
    grants: tuple[Grant, ...],
    counting: Counting,
    rules: InstanceRules,
    dials: tuple[DialledPop, ...] = (),
    ruled: HostRules = NO_RULES,
    names: tuple[NamedWorkload, ...] = (),
) -> Order:
    """The order of one host out of its part of a plan. `ours`: of the network, worked out once for all hosts; `grants`:
    the judge's answers to it; `counting`: for all hosts as well; `rules`: the operator's for instances; `dials`: of all
    PoPs; `ruled`: its part of the network policies; `names`: whom its instances may call.
    """
    told_here = {a.prefix for a in part.announcements}
    return Order(
        pop=part.pop,
        host=part.host,
        generation=generation,
        asn=network.asn,
        router_id=site.router_id,
        private4=site.private4,
        private6=site.private6,
        external4=site.external4,
        external6=site.external6,
        upstreams=site.upstreams,
        instances=part.instances,
        removed=part.removed,
        announcements=tuple(counting.of(told, part.pop) for told in part.announcements),
        # a grant for a prefix that is no longer announced here would only puzzle the reader of the order
        grants=tuple(g for g in grants if g.prefix in told_here),
        ours=ours,
        management=network.management,
        rpki=network.rpki,
        return_after_s=network.return_after_s,
        rules=rules,
        backbone=replace(part.backbone, dials=dials) if part.backbone is not None and dials else part.backbone,
        policies=ruled.policies,
        rulings=ruled.rulings,
        groups=ruled.groups,
        names=names,
        resolvers=site.resolvers if site.resolvers is not None else network.resolvers,
        sampled_flows=network.sampled_flows,
        sampled_look_s=network.sampled_look_s,
    )


def gates_that_count(
    told: Announcement,
    owner_of: Callable[[Address], WorkloadId | None],
    is_idle: Callable[[WorkloadId | None], bool],
    is_new: Callable[[WorkloadId | None], bool],
) -> tuple[Address, ...]:
    """The gates of an announcement without those of idle workloads: no PoP answers for these, so that a PoP waits for
    them would help nobody and keep the others' prefix from ever coming back. And without those of newcomers, beside
    what has served here (where the prefix is carried: anywhere): whoever has never answered takes nobody out of a PoP.
    Where nobody else is in the prefix they all stay.
    """
    owned = [(g, owner_of(g)) for g in told.gates]
    counting = tuple((g, owner) for g, owner in owned if not is_idle(owner))
    found = tuple(g for g, owner in counting if not is_new(owner)) or tuple(g for g, _ in counting)
    return found if found and len(found) < len(told.gates) else told.gates
