"""What may never happen where hosts carry for each other: asked before a step has its effect, after a step of control,
every few seconds, and in the end.

In: the platform, or an agent and its step. Out: nothing, or `Broken`. What a packet meets is asked of the simulated
kernels and wires, not of what hosts tell each other.
"""

from typing import TYPE_CHECKING

from anypop.agent.decide.backbone import LINGER
from anypop.agent.decide.elements import Entry
from anypop.agent.decide.steps import SetNextHops, SetSpeaker, Step
from anypop.control.state import State
from anypop.judge.verdict import FRESH_S
from anypop.model.announce import Address, Mode, Prefix
from anypop.model.machine import Power
from anypop.model.names import HostName
from anypop.model.reasons import Reason
from anypop.model.report import PrefixReport
from anypop.model.table import differing
from tests.simulate.invariants.broken import broken

if TYPE_CHECKING:
    from tests.simulate.agent import Agent
    from tests.simulate.host import Host
    from tests.simulate.lives import Platform

SETTLES_S = 35.0  # a full pass, and the time for its steps
FOUND_S = 12.0  # until a silent instance or host is known for one
SURELY_S = 10.0  # two reports


def carries_nothing_twice(agent: "Agent", step: Step) -> None:
    """7: What comes by a tunnel goes to an instance of this host, never into a tunnel again: no loop can exist."""
    sent_on = isinstance(step, SetNextHops) and step.entry is Entry.TUNNEL and any(m.peer for m in step.members)
    if isinstance(step, SetNextHops) and sent_on:
        raise broken(7, carries_nothing_twice, f"{agent.host.name} carries what comes for {step.address} on")


def keeps_what_it_answers(agent: "Agent", step: Step) -> None:
    """19: No host withdraws a prefix that it is to announce while it has long answered every address in it, by its own
    instances or by others': who shares the prefix and does not work takes nothing from those that do.
    """
    host, facts = agent.host, agent.facts
    if not isinstance(step, SetSpeaker) or host.speaker is None or facts is None or host.page is None:
        return
    kept = {(e.prefix, e.upstream) for e in step.config.exports}
    for export in host.speaker.exports:
        key = export.prefix, export.upstream
        if key in kept or key not in facts.wanted or export.graceful or not is_carried(agent.platform, export.prefix):
            continue
        uplink = host.memory.uplinks.get((export.upstream, export.prefix.version))
        gates = host._gates_of(export.prefix)
        answers = gates and all(agent.platform.answered_for(host, gate) > SETTLES_S for gate in gates)
        if answers and (uplink is None or not uplink.losses):
            raise broken(19, keeps_what_it_answers, f"{host.name} withdraws {export.prefix}, and answers all of it")


def no_neighbour_pays(platform: "Platform", before: State, after: State) -> None:
    """19: No leave is given for the sake of an address that nobody else answers: who shares the prefix would pay, and
    nobody be helped. Another host of the same PoP is somebody else: it is announced by sessions of its own.
    """
    now = platform.world.now
    if after.history.prefixes is before.history.prefixes or any(
        h.probes_lie is not None or now - h.lied_at < SURELY_S for h in platform.hosts.values()
    ):
        return
    for name, prefix in new_leaves(before, after):
        host, told = platform.hosts[name], _told(after, name, prefix)
        if not is_carried(platform, prefix) or told is None or told.reason is Reason.FLAP_COOLDOWN:
            continue
        others = [other for other in platform.hosts.values() if other is not host]
        if told.shut and not any(platform.answered_lately(h, g, FRESH_S + 5.0) for h in others for g in told.shut):
            raise broken(19, no_neighbour_pays, f"{name} may withdraw {prefix}: nobody answers {told.shut[0]} either")


def _told(state: State, host: HostName, prefix: Prefix) -> PrefixReport | None:
    """What the host said of it when it asked."""
    received = state.reports.get(host)
    return next((p for p in received.report.prefixes if p.prefix == prefix), None) if received is not None else None


def new_leaves(before: State, after: State) -> list[tuple[HostName, Prefix]]:
    """The leaves that a step gave."""
    found = []
    for prefix in differing(before.history.prefixes, after.history.prefixes):
        found += [(HostName(h), prefix) for h in sorted(holders(after, prefix) - holders(before, prefix))]
    return found


def holders(state: State, prefix: Prefix) -> set[str]:
    """The hosts that have a leave which they may use at any moment."""
    known = state.history.prefixes.get(prefix)
    return {leave.host for leave in known.leaves} if known is not None else set()


def is_carried(platform: "Platform", prefix: Prefix) -> bool:
    plan = platform.control.state.plan
    return plan is not None and prefix in plan.carried


# every few seconds, and in the end


def who_attracts_answers(platform: "Platform", seconds: float) -> None:
    """7: A PoP that announces a prefix answers each address that has a healthy instance anywhere that its tunnels
    reach; so does every host of it.
    """
    for host in platform.hosts.values():
        if not is_calm(platform, host, seconds):
            continue
        for address, there in _served_elsewhere(platform, host, seconds):
            if host.covers_announced(address) and not platform.answered_lately(host, address, FOUND_S):
                raise broken(7, who_attracts_answers, f"{host.name} attracts {address}, which {there.name} answers")


def who_can_carry_announces(platform: "Platform", seconds: float) -> None:
    """7: A PoP that is to announce a prefix does so while each of its addresses is healthy anywhere in its reach."""
    for host in platform.hosts.values():
        if not is_calm(platform, host, seconds) or host.page is None or not host.ways_are_calm():
            continue
        elsewhere = {address for address, _ in _served_elsewhere(platform, host, seconds)}
        for prefix in {a.prefix for a in host.page.order.announcements if a.scope.mode is Mode.ANNOUNCE and a.gates}:
            gates = host._gates_of(prefix)
            settled = not platform.settles(host)
            if settled and is_carried(platform, prefix) and gates <= elsewhere and not host.attracts(prefix):
                raise broken(7, who_can_carry_announces, f"{host.name} does not announce {prefix}, and can carry it")


def what_is_local_stays(platform: "Platform", seconds: float) -> None:
    """7: Local first: what a PoP can answer goes to no other PoP, but for a host that has come back and settles."""
    for host in platform.hosts.values():
        if not is_calm(platform, host, seconds) or host.tunnel is None:
            continue
        for address, members in host.groups.items():
            away = [platform.tunnels.names.get(m.peer) for m in members if m.peer is not None and m.weight > LINGER]
            pops = {platform.hosts[name].pop for name in away if name is not None}
            near = [h for h in platform.hosts.values() if h.pop == host.pop and is_calm(platform, h, seconds)]
            local = [h.name for h in near if has_steady(platform, h, address, seconds) and not platform.settles(h)]
            if local and pops - {host.pop}:
                raise broken(7, what_is_local_stays, f"{host.name} carries {address} to {sorted(pops)}, {local} has it")


def who_is_cut_off_withdraws(platform: "Platform", seconds: float) -> None:
    """7: A PoP that can neither serve nor carry an address does not go on announcing it, while all others answer."""
    control = platform.control
    if not control.up or platform.world.now - control.up_since < seconds:
        return
    for host in platform.hosts.values():
        others = [h for h in platform.hosts.values() if h.pop != host.pop]
        if not platform.is_calm(host, seconds) or not platform.tunnels.is_apart(host.name, seconds) or host.wire.cut:
            continue
        if any(h.pop == host.pop for h in platform.hosts.values() if h is not host) or host.wire.loses:
            continue
        if not all(platform.is_calm(h, seconds) and not h.wire.cut and h.ways_are_calm() for h in others):
            continue
        for prefix in {p for p, _ in host.neighbours.heard if is_carried(platform, p)}:
            gates = host._gates_of(prefix)
            lacking = [g for g in gates if not any(g in i.anycast for i in host.ordered())]
            well = all(
                h.attracts(prefix) and all(has_steady(platform, h, gate, seconds) for gate in gates) for h in others
            )
            if lacking and well and platform.obeys_the_newest(host):
                raise broken(7, who_is_cut_off_withdraws, f"{host.name} attracts {lacking[0]} and cannot carry it")


def is_calm(platform: "Platform", host: "Host", seconds: float) -> bool:
    """Whether nothing has disturbed a host or its tunnels for so long."""
    return platform.is_calm(host, seconds) and platform.tunnels.is_calm(host.name, seconds)


def _served_elsewhere(platform: "Platform", host: "Host", seconds: float) -> list[tuple[Address, "Host"]]:
    """The addresses that another host answers for long enough, with tunnels that work."""
    found = []
    for there in platform.hosts.values():
        if there is host or not is_calm(platform, there, seconds):
            continue
        for address in {a for i in there.ordered() for a in i.anycast}:
            if host.is_to_carry(address) and has_steady(platform, there, address, seconds):
                found.append((address, there))
    return found


def has_steady(platform: "Platform", host: "Host", address: Address, seconds: float) -> bool:
    """Whether an instance there has answered an address for so long, without any doubt, and is to be in service."""
    now = platform.world.now
    return host.probes_lie is None and any(
        address in i.anycast
        and i.power is not Power.OFF
        and i.rescue is None
        and now - host.well_since.get(i.uid, now) > seconds
        and address.version in host.ready.get(i.uid, ())
        and host.answers(i.uid, address.version)
        and not host.cools_down(i.uid)
        for i in host.ordered()
    )


WHERE_HOSTS_CARRY = (who_attracts_answers, who_can_carry_announces, what_is_local_stays, who_is_cut_off_withdraws)


def where_hosts_carry(platform: "Platform", *, in_the_end: bool = False) -> None:
    """Asked of hosts that were calm for long enough; in the end all are."""
    if platform.tunnels.used:
        for check in WHERE_HOSTS_CARRY:
            check(platform, 5.0 if in_the_end else SETTLES_S)
