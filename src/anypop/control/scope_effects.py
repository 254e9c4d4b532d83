"""Whether the scopes of a rollout are in effect: what its hosts were ordered and what they report, against what was
asked.

In: a draft of control's state, a rollout of scopes, the time. Out: in words what is not as asked yet; nothing: all is.
Only what a host reports of its newest order counts, and only an order that says what the wave asks for. When that is
enough is `plan.scope_waves`' to say. Pure.
"""

from dataclasses import replace

from anypop.control.state import State
from anypop.judge.verdict import is_fresh
from anypop.model.announce import Mode, Prefix, Scope, ScopeRule
from anypop.model.drain import DrainKind
from anypop.model.names import WorkloadId
from anypop.model.network import Host, Pop, Upstream
from anypop.model.rollout import Rollout, ScopeChange
from anypop.model.scopes import scope_says, with_communities
from anypop.plan.announcements import merged
from anypop.plan.easing import eased, standing_over
from anypop.plan.edge_scopes import beyond_edge


def not_in_effect(draft: State, rollout: Rollout, now: float) -> list[str]:
    """Of the waves so far. Where two of them change the same, the later one counts."""
    held = draft.anycast.get(rollout.workload_id)
    prefixes: set[Prefix] = {held.prefix4, held.prefix6} if held is not None else set()
    changes = {(c.pop, c.upstream): c for wave in rollout.scopes[: rollout.wave + 1] for c in wave.changes}
    found = []
    for change in changes.values():
        site = draft.pop(change.pop)
        if site is None:
            continue
        for host in site.hosts:
            if (way := site.way(host, change.upstream)) is not None:
                found.append(
                    _of_host(
                        draft, host, way, change, workload=rollout.workload_id, site=site, prefixes=prefixes, now=now
                    )
                )
    return list(dict.fromkeys(words for words in found if words))


def _wanted(draft: State, workload: WorkloadId, change: ScopeChange, prefix: Prefix, *, site: Pop, host: Host) -> Scope:
    """What a change comes to on a session of a host, with what others ask for there: workloads that share the prefix,
    and drains. What the change is about has to come out as it was asked for; where it leaves something as it was, that
    may well be more by somebody else's rule.
    """
    rules: list[ScopeRule] = []
    for tenant in draft.plan.tenants(prefix) if draft.plan is not None else ():
        declared, rule = draft.workloads.get(tenant), draft.rules.get((tenant, change.pop, change.upstream))
        if tenant == workload or rule is None or declared is None or declared.workload.deleting:
            continue
        stands = draft.plan is not None and draft.plan.homes_of(tenant).pops
        if stands and (prefix.version == 4 or declared.workload.dual_stack):
            rules.append(rule)
    asked, before, others = change.scope, change.before or Scope(), merged(rules)
    wanted = replace(
        with_communities(asked, others.every_community),
        mode=others.mode if asked.mode is before.mode is Mode.ANNOUNCE else asked.mode,
        prepend=max(asked.prepend, others.prepend) if asked.prepend == before.prepend else asked.prepend,
    )
    upstream = next((u for u in site.upstreams if u.name == change.upstream), None)
    if upstream is None:  # it has left the network meanwhile
        return wanted
    level, over = standing_over(draft.active_drains(), site.city, host.name, upstream.name, prefix)
    shared = upstream in site.edge and all(drain.kind is DrainKind.UPSTREAM for drain in over)
    return eased(wanted, level, upstream, over, shared=shared)


def _of_host(
    draft: State,
    host: Host,
    way: Upstream,
    change: ScopeChange,
    *,
    workload: WorkloadId,
    site: Pop,
    prefixes: set[Prefix],
    now: float,
) -> str:
    """What one host does otherwise than asked on its session `way`, by which the upstream hears of it; empty:
    nothing.
    """
    received, issued = draft.reports.get(host.name), draft.orders.get(host.name)
    if received is None or issued is None or not is_fresh(received, now):
        return f"{host.name} is silent"
    beyond = next((u for u in site.edge if u.name == change.upstream), None) if way.name != change.upstream else None
    ordered = {
        a.prefix: a.scope if beyond is None else beyond_edge(draft.network.asn, a.scope, beyond)
        for a in issued.order.announcements
        if a.prefix in prefixes and a.upstream == way.name and (beyond is None or beyond.has_session(a.prefix.version))
    }
    for prefix, scope in ordered.items():
        wanted = _wanted(draft, workload, change, prefix, site=site, host=host)
        if not _is_asked(scope, wanted, beyond is not None):  # the order is older than the wave
            return f"{host.name} is to tell {change.upstream} '{scope_says(scope)}', not '{scope_says(wanted)}'"
    if received.report.generation < issued.order.generation:
        return f"{host.name} has not obeyed its newest order yet"
    told = {p.prefix for p in received.report.prefixes if p.prefix in prefixes and way.name in p.upstreams}
    out = {prefix for prefix, scope in ordered.items() if scope.mode is Mode.ANNOUNCE}
    if told - out and beyond is None:  # an edge router withholds it in the host's stead
        return f"{change.pop} still announces to {change.upstream}"
    if out - told:
        return f"{change.pop} does not announce to {change.upstream} yet"
    return ""


def _is_asked(scope: Scope, asked: Scope, beyond: bool) -> bool:
    """Whether an order's scope is what was asked for. `beyond`: across an edge router, where the communities for all
    its upstreams come together and each means something to one of them.
    """
    if scope.mode is Mode.WITHHOLD or asked.mode is Mode.WITHHOLD:
        return scope.mode is asked.mode
    told, wanted = set(scope.every_community), set(asked.every_community)
    return scope.prepend == asked.prepend and (wanted <= told if beyond else wanted == told)
