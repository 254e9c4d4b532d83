"""What may never happen on a host: before a step has its effect, when an instance turns healthy, before a report and
before an order is obeyed.

In: the agent, and what it is about to do. Out: nothing, or `Broken`. They look at the truth of the simulated machine,
not at what the deciding code says of it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anypop.agent.decide.steps import CreateContainer, RemoveContainer, SetSpeaker, Step
from anypop.agent.ledger import Page
from anypop.agent.naming import short
from anypop.judge.verdict import FRESH_S
from anypop.model.announce import Address, Prefix
from anypop.model.network import Network
from anypop.model.reasons import Reason
from anypop.model.report import Report
from anypop.plan.evacuation import LEFT_BEHIND
from tests.simulate import features
from tests.simulate.invariants.broken import broken
from tests.simulate.invariants.carried import carries_nothing_twice, keeps_what_it_answers

if TYPE_CHECKING:
    from tests.simulate.agent import Agent

REMEMBERED_S = 6.0  # three probes, a second apart each, and the time of a step: so late may a decision rest on what was


_asked: list[tuple[Network, tuple[Prefix, ...]]] = []


def _ours_of(network: Network) -> tuple[Prefix, ...]:
    """What is ours in the network of this life, worked out once."""
    if not _asked or _asked[0][0] is not network:
        _asked[:] = [(network, network.ours())]
    return _asked[0][1]


def exports_only_what_is_ours(agent: "Agent", step: Step) -> None:
    """10: The speaker is told to export our own prefixes and nothing else."""
    if isinstance(step, SetSpeaker):
        ours = _ours_of(agent.control.state.network)
        for export in step.config.exports:
            if not any(p.version == export.prefix.version and export.prefix.subnet_of(p) for p in ours):  # type: ignore[arg-type]
                raise broken(10, exports_only_what_is_ours, f"{agent.host.name} would export {export.prefix}")


def withdraws_for_ill_health_by_leave_alone(agent: "Agent", step: Step) -> None:
    """2: What the order still wants announced, and whose instances are to stay, is not withdrawn without the governor's
    leave while its speaker and its session are well.
    """
    host = agent.host
    if not isinstance(step, SetSpeaker) or host.speaker is None or host.page is None or agent.facts is None:
        return
    kept = {(e.prefix, e.upstream) for e in step.config.exports if not e.graceful}
    granted = {g.prefix for g in host.page.order.grants if g.allowed}
    able = {a for i in host.ordered() if not agent.facts.is_blocked(i) for a in i.anycast}
    for export in host.speaker.exports:
        key = export.prefix, export.upstream
        if key in kept or key not in agent.facts.wanted or export.prefix in granted or export.graceful:
            continue
        if not {g for a in host.page.order.announcements if a.prefix == export.prefix for g in a.gates} <= able:
            continue  # its last instance is to go
        uplink = host.memory.uplinks.get((export.upstream, export.prefix.version))
        if uplink is None or not uplink.losses:
            raise broken(2, withdraws_for_ill_health_by_leave_alone, f"{host.name} withdraws {key} on its own")


def announces_what_is_ready_in_its_family(agent: "Agent", step: Step) -> None:
    """21: A prefix is first announced when some instance behind each of its addresses answers in that very family."""
    host = agent.host
    if not isinstance(step, SetSpeaker) or host.page is None:
        return
    last = host.speaker or host.fallen
    before = {(e.prefix, e.upstream) for e in last.exports} if last else set()
    for export in step.config.exports:
        if (export.prefix, export.upstream) in before:
            continue
        gates = {g for a in host.page.order.announcements if a.prefix == export.prefix for g in a.gates}
        answered = [g for g in gates if _answered_lately(agent, g)]
        others = [g for g in gates if g not in answered and not host.is_mute(g)]
        if gates and (not answered or others):
            raise broken(21, announces_what_is_ready_in_its_family, f"{host.name} announces {export.prefix}, {gates}")


def _answered_lately(agent: "Agent", address: Address) -> bool:
    host = agent.host
    members = {m.short for m in host.led_by(address)}
    for uid in {uid for uid, _ in host.containers}:
        if short(uid) in members and host.may_be_well(uid) and address.version in host.last_ready.get(uid, ()):
            return True
    if any(m.peer is not None and host._offers(address, m.peer) for m in host.led_by(address)):
        return True
    return host.probes_lie is True or agent.world.now - host.lied_at < REMEMBERED_S


def stops_no_last_healthy_one(agent: "Agent", step: Step) -> None:
    """9: An instance that answers is stopped only where its user or its operator asked for its end, or where another
    instance of its workload answers.
    """
    if not isinstance(step, RemoveContainer):
        return
    host = agent.host
    if not host.is_well(step.uid) or host.overfull() or host.page is None:
        return
    leaving = next((x for x in host.page.leaving if x.removal.uid == step.uid), None)
    if leaving is None or leaving.removal.reason not in _BY_THE_PLATFORM or leaving.instance is None:
        return
    workload = leaving.instance.workload_id
    platform = agent.platform
    declared = platform.control.state.workloads.get(workload)
    if declared is None or declared.workload.deleting:
        return
    since = agent.world.now
    if leaving.removal.reason in LEFT_BEHIND:  # the other one is on another host, of which the last report was believed
        since = host.told_to_go.get(step.uid, since) - FRESH_S
    if not any(
        other.may_be_well(i.uid) or i.uid in other.ready or other.answered.get(i.uid, -1e9) >= since
        for other in platform.hosts.values()
        for i in other.ordered()
        if i.workload_id == workload and i.uid != step.uid
    ):
        raise broken(9, stops_no_last_healthy_one, f"{host.name} stops {leaving.removal.name}: nobody else answers")


_BY_THE_PLATFORM = frozenset(
    {Reason.SUPERSEDED, Reason.REPLACED, Reason.REVERTED, Reason.HOST_LOST, Reason.HOST_EVICTED}
)


def makes_what_was_declared(agent: "Agent", step: Step) -> None:
    """18: An incarnation has one template for ever."""
    if isinstance(step, CreateContainer):
        known = agent.platform.templates.setdefault(step.instance.uid, step.instance.template)
        if known != step.instance.template:
            raise broken(18, makes_what_was_declared, f"{step.instance.name} was made from another template before")


AT_STEP = (
    carries_nothing_twice,
    keeps_what_it_answers,
    exports_only_what_is_ours,
    withdraws_for_ill_health_by_leave_alone,
    announces_what_is_ready_in_its_family,
    stops_no_last_healthy_one,
    makes_what_was_declared,
)


def at_step(agent: "Agent", step: Step) -> None:
    for check in AT_STEP:
        check(agent, step)
    for feature in features.FEATURES:
        for asked in feature.at_step:
            asked(agent, step)


# when an instance turns healthy


def comes_back_slower_than_it_fell(falls: Sequence[float], successes: int, needed: int, now: float) -> None:
    """17: Who fell by failures is healthy again after more successes than it fell by failures, and who falls for the
    third time within ten minutes only after ten seconds. `falls`: when it fell; `needed`: how many successes.
    """
    if falls and successes < needed:
        raise broken(17, comes_back_slower_than_it_fell, f"it is healthy again after {successes} answers")
    if len(falls) >= 3 and falls[-1] - falls[-3] < 300.0 and now - falls[-1] < 9.9:
        raise broken(17, comes_back_slower_than_it_fell, f"it fell {len(falls)} times and is back at once")


# when a host is about to report


def tells_the_truth_of_processes(agent: "Agent", report: Report) -> None:
    """2: A host says that nothing of a prefix runs there only where nothing does: no floor holds it then."""
    host = agent.host
    for told in report.prefixes:
        if told.vacant and any(host.serves(gate) for gate in host._gates_of(told.prefix)):
            raise broken(2, tells_the_truth_of_processes, f"{host.name} says {told.prefix} is vacant, and answers")


# before an order is obeyed


def obeys_newer_orders_alone(agent: "Agent", before: Page | None, after: Page) -> None:
    """5: Generations only grow where orders take effect."""
    if before is not None and after.order.generation <= before.order.generation:
        raise broken(5, obeys_newer_orders_alone, f"{agent.host.name}: {after.order.generation} is no newer order")


def forgets_no_instance(agent: "Agent", before: Page | None, after: Page) -> None:
    """6: What an order runs, its successor runs or names for removal."""
    if before is None:
        return
    named = {i.uid for i in after.order.instances} | {x.removal.uid for x in after.leaving}
    lost = {i.name for i in before.order.instances if i.uid not in named}
    if lost:
        raise broken(6, forgets_no_instance, f"{agent.host.name}: {sorted(lost)} is in the new order neither way")


def keeps_within_the_host(agent: "Agent", before: Page | None, after: Page) -> None:
    """23: A host is ordered no more than it has room for."""
    network = agent.control.state.network
    machine = network.host(agent.host.name)
    if machine is not None and machine.capacity is not None:
        takes = sum(c.cpu_millis for i in after.order.instances for c in i.containers)
        if takes > machine.capacity.cpu_millis:
            raise broken(23, keeps_within_the_host, f"{agent.host.name} is to run {takes} thousandths of a core")


AT_ORDER = (obeys_newer_orders_alone, forgets_no_instance, keeps_within_the_host)


def at_order(agent: "Agent", before: Page | None, after: Page) -> None:
    for check in AT_ORDER:
        check(agent, before, after)
