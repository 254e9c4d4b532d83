"""The operator's network document: what may replace what is there.

In: a parsed `Network`. Out: the `alter` step for `Core.change`. It refuses what is wrong in itself (a city twice,
prefixes that overlap), what would leave instances without their PoP, and to take the backbone from who depends on it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from anypop.control.core import Alter
from anypop.control.ground import StateGround
from anypop.control.in_network import check_platform
from anypop.control.refusals import Precondition
from anypop.control.state import State
from anypop.model import confinement, resolver_check
from anypop.model.announce import Prefix
from anypop.model.backbone_check import backbone_problems, policy_problems
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.network import Host, Network, Pop, UpstreamKind
from anypop.model.session_check import cache_problems, session_problems
from anypop.model.sources import LEAST_OF, LONGEST_LOOK_S, MOST_OF, SHORTEST_LOOK_S
from anypop.model.streams import MOST_PINGS_PER_S
from anypop.model.subnets import MOST_HOSTS
from anypop.plan.announcements import told_of
from anypop.plan.sites import Sites
from anypop.routing.tenant_communities import is_listable

_LONGEST_SILENCE_S = 7 * 86_400.0
_SHORTEST_LOOK_S = 0.5  # control groups count their processor time in ticks of some ms
MOST_TOLD = 8  # workloads in one sentence


def change_network(wanted: Network, *, darken: bool = False) -> Alter:
    """Put `wanted` in place. `darken`: also where it takes the backbone from workloads that depend on it. Raises
    `Invalid` at once; the step raises `Precondition` when a PoP that has instances would vanish, or, without `darken`,
    when a workload would no longer be announced where it stands.
    """
    problems = [*_names(wanted), *_prefixes(wanted), *_sessions(wanted)]
    problems += [*backbone_problems(wanted), *policy_problems(wanted)]
    problems += confinement.problems(wanted.instances, "instances")
    problems += resolver_check.problems(wanted)
    if problems:
        raise Invalid(problems)

    def alter(state: State, now: float) -> State:
        numbered = wanted.numbered(state.network)
        if numbered == state.network.numbered(state.network):
            return state
        _refuse_other_numbers(state.network, numbered)
        check_platform(state, numbered)
        hosts = {host.name for _, host in wanted.hosts()}
        gone = {host.name for _, host in state.network.hosts()} - hosts
        used = {name: len(state.incarnations_on(name)) + len(state.tombstones_on(name)) for name in sorted(gone)}
        left = {name: count for name, count in used.items() if count}
        if left:
            told = ", ".join(f"{name} ({count} instances)" for name, count in left.items())
            raise Precondition(
                f"these hosts still have instances: {told}; take the cities out of the workloads' targets, or evict "
                "the hosts, first"
            )
        if state.network.backbone is not None and wanted.backbone is None and not darken:
            _refuse_darkness(state, wanted)
        return replace(state, network=numbered)

    return alter


def _refuse_other_numbers(before: Network, wanted: Network) -> None:
    """Raises `Invalid` where two hosts would have one number, or a host that stays another one than it had, and its
    instances other addresses.
    """
    had, count = before.numbers(), Counter(wanted.numbers().values())
    if twice := sorted(number for number, hosts in count.items() if hosts > 1):
        raise Invalid.one("pops", f"two hosts have the number {twice[0]}; leave number out of one")
    found = [
        Problem(
            path=f"pops[{index}].hosts[{place}].number",
            message=f"cannot be changed while {host.name} is in the network (it is {had[host.name]})",
        )
        for index, pop in enumerate(wanted.pops)
        for place, host in enumerate(pop.hosts)
        if had.get(host.name, host.number) != host.number
    ]
    if found:
        raise Invalid(found)


def _refuse_darkness(state: State, wanted: Network) -> None:
    """Raises `Precondition` where workloads would be announced no longer in PoPs where they stand, since without a
    backbone a PoP announces a prefix only when it has all addresses of it.
    """
    planned = state.plan
    if planned is None:
        return
    sites, dark = Sites.of(wanted), dict[WorkloadId, set[CityCode]]()
    ground = StateGround(state, sites)
    for prefix in planned.covering:
        tenants = planned.tenants(prefix)
        homes = {workload: planned.homes_of(workload) for workload in tenants}
        was = {planned.sites.pop_of(host) for host in planned.tellers(prefix)}
        told = told_of(ground, sites, prefix, tenants.values(), homes).hosts
        lost = was - {sites.pop_of(host) for host in told}
        for workload, stands in homes.items():
            if found := stands.pops & lost:
                dark.setdefault(workload, set()).update(found)
    if dark:
        names = {w: f"{d.workload.stack_slug}/{d.workload.slug}" for w in dark if (d := state.workloads.get(w))}
        told_all = sorted(f"{name} ({', '.join(sorted(dark[w]))})" for w, name in names.items())
        more = f" and {len(told_all) - MOST_TOLD} more" if len(told_all) > MOST_TOLD else ""
        raise Precondition(
            "without the backbone these workloads would no longer be announced where they stand, since others in their "
            f"prefixes have no instance there: {', '.join(told_all[:MOST_TOLD])}{more}; create them anew after it is "
            "off, each in a prefix to suit, or confirm that they go dark"
        )


def _names(network: Network) -> Iterator[Problem]:
    if not 0 < network.asn < 1 << 32:
        yield Problem(path="asn", message="must be an AS number, 1 to 4294967295")
    if not 0 <= network.return_after_s <= _LONGEST_SILENCE_S:
        yield Problem(
            path="return_after_s", message=f"must be a number of seconds, 0 (at once) to {_LONGEST_SILENCE_S:.0f}"
        )
    if not 0 <= network.pings_per_s <= MOST_PINGS_PER_S:
        yield Problem(path="pings_per_s", message=f"must be a number, 0 (none) to {MOST_PINGS_PER_S}")
    if network.sampled_flows != 0 and not LEAST_OF <= network.sampled_flows <= MOST_OF:
        yield Problem(path="sampled_flows", message=f"must be 0 (none), or {LEAST_OF} to {MOST_OF}: one of so many")
    if not SHORTEST_LOOK_S <= network.sampled_look_s <= LONGEST_LOOK_S:
        message = f"must be a number of seconds, {SHORTEST_LOOK_S:g} to {LONGEST_LOOK_S:.0f}"
        yield Problem(path="sampled_look_s", message=message)
    if not 0 <= network.lost_after_s <= _LONGEST_SILENCE_S:
        yield Problem(
            path="lost_after_s", message=f"must be a number of seconds, 0 (never) to {_LONGEST_SILENCE_S:.0f}"
        )
    if not _SHORTEST_LOOK_S <= network.scale_look_s <= _LONGEST_SILENCE_S:
        yield Problem(
            path="scale_look_s",
            message=f"must be a number of seconds, {_SHORTEST_LOOK_S:g} to {_LONGEST_SILENCE_S:.0f}",
        )
    if not 0 <= network.scale_down_after_s <= _LONGEST_SILENCE_S:
        yield Problem(path="scale_down_after_s", message=f"must be a number of seconds, 0 to {_LONGEST_SILENCE_S:.0f}")
    for number, entry in enumerate(network.tenant_communities):
        if not is_listable(entry):
            message = f"{entry[:60]}: write harmless, a community (209:7100), or one with * for any number (209:*)"
            yield Problem(path=f"tenant_communities[{number}]", message=message)
    seen: set[str] = set()
    names: set[str] = set()
    for index, pop in enumerate(network.pops):
        path = f"pops[{index}]"
        if not pop.city.isalnum() or pop.city != pop.city.upper():
            yield Problem(path=f"{path}.city", message="must be a city code in capital letters, such as LHR")
        twice = pop.city in seen
        if twice:
            yield Problem(path=f"{path}.city", message=f"{pop.city} is there already")
        seen.add(pop.city)
        if not pop.hosts:
            yield Problem(path=f"{path}.hosts", message="a PoP has at least one host")
        yield from _edge(path, pop)
        for place, host in enumerate(pop.hosts):
            yield from _host(f"{path}.hosts[{place}]", host, names, told=twice and host.name == HostName(pop.city))


def _edge(path: str, pop: Pop) -> Iterator[Problem]:
    """The sessions of a PoP's edge router with other networks."""
    own = {u.name: u.kind for host in pop.hosts for u in host.upstreams}
    count = Counter(upstream.name for upstream in pop.edge)
    for number, upstream in enumerate(pop.edge):
        where = f"{path}.edge[{number}]"
        if count[upstream.name] > 1:
            yield Problem(path=f"{where}.name", message=f"{upstream.name} is there twice")
        if upstream.name in own:
            yield Problem(
                path=f"{where}.name", message=f"{upstream.name} is what hosts call their own session; use another name"
            )
        if upstream.kind is UpstreamKind.EDGE:
            yield Problem(path=f"{where}.kind", message="is a network beyond the edge router: transit, peer or ixp")
    if pop.edge and UpstreamKind.EDGE not in own.values():
        yield Problem(
            path=f"{path}.edge",
            message=f"no host of {pop.city} has a session of kind edge, so nobody would speak to it",
        )


def _host(path: str, host: Host, names: set[str], *, told: bool) -> Iterator[Problem]:
    """`names`: of all hosts before it, which grows. `told`: that its name is there already was said of its city."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", host.name):
        yield Problem(
            path=f"{path}.name", message="must be 1 to 63 of letters, digits and inner hyphens, such as LHR-1"
        )
    if host.name in names and not told:
        yield Problem(path=f"{path}.name", message=f"{host.name} is there already")
    names.add(host.name)
    if host.number is not None and not 0 <= host.number < MOST_HOSTS:
        yield Problem(path=f"{path}.number", message=f"must be 0 to {MOST_HOSTS - 1}")
    upstreams = Counter(upstream.name for upstream in host.upstreams)
    for number, upstream in enumerate(host.upstreams):
        if upstreams[upstream.name] > 1:
            yield Problem(path=f"{path}.upstreams[{number}].name", message=f"{upstream.name} is there twice")
    if host.capacity is not None:
        for field in ("cpu_millis", "memory_bytes", "disk_bytes"):
            if getattr(host.capacity, field) < 0:
                yield Problem(path=f"{path}.capacity.{field}", message="must not be below 0")


def _sessions(network: Network) -> Iterator[Problem]:
    for index, pop in enumerate(network.pops):
        for number, upstream in enumerate(pop.edge):
            yield from session_problems(f"pops[{index}].edge[{number}]", upstream, network)
        for place, host in enumerate(pop.hosts):
            for number, upstream in enumerate(host.upstreams):
                path = f"pops[{index}].hosts[{place}].upstreams[{number}]"
                yield from session_problems(path, upstream, network)
            yield from _twice(f"pops[{index}].hosts[{place}]", host)
    for index, cache in enumerate(network.rpki):
        yield from cache_problems(f"rpki[{index}]", cache)


def _twice(path: str, host: Host) -> Iterator[Problem]:
    """Several sessions to one neighbour need several pairs of addresses."""
    seen: dict[tuple[object, ...], str] = {}
    for number, upstream in enumerate(host.upstreams):
        for family, local, neighbor in (
            (4, upstream.local4, upstream.neighbor4),
            (6, upstream.local6, upstream.neighbor6),
        ):
            if upstream.has_session(family):
                place = upstream.interface if neighbor is not None and neighbor.is_link_local else ""
                other = seen.setdefault((local, neighbor, place), upstream.name)
                if other != upstream.name:
                    message = f"{other} has a session between the same two addresses"
                    yield Problem(path=f"{path}.upstreams[{number}].neighbor{family}", message=message)


def _prefixes(network: Network) -> Iterator[Problem]:
    """No two of our prefixes may share an address: an address has one owner."""
    owned: list[tuple[str, Prefix]] = [(f"anycast4[{i}]", p) for i, p in enumerate(network.anycast4)]
    owned += [(f"anycast6[{i}]", p) for i, p in enumerate(network.anycast6)]
    for index, pop in enumerate(network.pops):
        for number, host in enumerate(pop.hosts):
            owned += [(f"pops[{index}].hosts[{number}].{name}", prefix) for name, prefix in _external(host)]
    for (_, a), (path, b) in combinations(owned, 2):
        if a.version == b.version and a.overlaps(b):
            yield Problem(path=path, message=f"{b} overlaps {a}")


def _external(host: Host) -> list[tuple[str, Prefix]]:
    return [("external4", host.external4), ("external6", host.external6)]
