"""Whether the scopes of a rollout are in effect: what its hosts were ordered and what they report, against what was
asked.

In: a draft of control's state, a rollout of scopes, the time. Out: in words what is not as asked yet; nothing: all is.
Only what a host reports of its newest order counts, and only an order that says what the wave asks for. When that is
enough is `plan.scope_waves`' to say. Pure.
"""

from anypop.control.state import State
from anypop.judge.verdict import is_fresh
from anypop.model.announce import Mode, Prefix, Scope
from anypop.model.network import Host, Pop, Upstream
from anypop.model.rollout import Rollout, ScopeChange
from anypop.model.scopes import scope_says
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
                found.append(_of_host(draft, host, way, change, site=site, prefixes=prefixes, now=now))
    return list(dict.fromkeys(words for words in found if words))


def _of_host(
    draft: State, host: Host, way: Upstream, change: ScopeChange, *, site: Pop, prefixes: set[Prefix], now: float
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
    other = next((scope for scope in ordered.values() if not _is_asked(scope, change.scope, beyond is not None)), None)
    if other is not None:  # the order is older than the wave, or another workload of the prefix asks for more
        return f"{host.name} is to tell {change.upstream} '{scope_says(other)}', not '{scope_says(change.scope)}'"
    if received.report.generation < issued.order.generation:
        return f"{host.name} has not obeyed its newest order yet"
    told = {p.prefix for p in received.report.prefixes if p.prefix in prefixes and way.name in p.upstreams}
    match change.scope.mode:
        case Mode.WITHHOLD if told and beyond is None:  # an edge router withholds it in the host's stead
            return f"{change.pop} still announces to {change.upstream}"
        case Mode.ANNOUNCE if ordered.keys() - told:
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
