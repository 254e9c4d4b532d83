"""What must come about: on hosts that nothing disturbs, asked every few seconds; and everywhere in the end, when all is
mended and time has passed.

In: the platform. Out: nothing, or `Broken`.
"""

from collections import defaultdict
from typing import TYPE_CHECKING

from anypop.agent.decide.elements import ContainerState
from anypop.judge.verdict import FRESH_S
from anypop.model.announce import Address, Mode, Prefix
from anypop.model.machine import Power
from tests.simulate import features
from tests.simulate.invariants.broken import broken
from tests.simulate.invariants.carried import where_hosts_carry

if TYPE_CHECKING:
    from tests.simulate.host import Host
    from tests.simulate.lives import Platform

STEADY_S = 35.0  # a full pass, and the time for its steps
AT_REST_S = 5.0  # in the end


def a_calm_host_runs_what_it_is_told(platform: "Platform") -> None:
    """1, 12, 16: A host without faults of its own runs all good instances of its order, whatever control, other hosts
    and other workloads do, and although its agent was killed or the whole machine was away.
    """
    for host in platform.hosts.values():
        if not platform.is_calm(host, STEADY_S):
            continue
        blocked = {
            a.private for x in (host.page.leaving if host.page else ()) if x.instance for a in x.instance.addresses()
        }
        for i in host.ordered():
            good = all(platform.serves_in_the_end(c.image) for c in i.containers)
            waits = any(a.private in blocked for a in i.addresses()) or host.waits(i.uid)
            waits = waits or i.power is Power.OFF or i.move is not None  # it goes on elsewhere, or nowhere
            if good and not waits and platform.ordered_for(host, i.uid) > STEADY_S and not host.runs(i.uid):
                raise broken(1, a_calm_host_runs_what_it_is_told, f"{host.name} does not run {i.name} {i.uid}")


def a_calm_host_answers_what_it_attracts(platform: "Platform") -> None:
    """7, 4: Where traffic for an address comes in and an instance here answers, it is answered: no black hole, and no
    need for control.
    """
    for host in platform.hosts.values():
        if not platform.is_calm(host, STEADY_S):
            continue
        for i in host.ordered():
            since = host.well_since.get(i.uid)
            if since is None or platform.world.now - since < STEADY_S or host.probes_lie is not None:
                continue
            for address in i.anycast:
                if address.version not in host.ready.get(i.uid, ()) or host.cools_down(i.uid):
                    continue
                if host.covers_announced(address) and not host.serves(address):
                    raise broken(
                        7, a_calm_host_answers_what_it_attracts, f"{host.name} attracts {address} and {i.name} idles"
                    )


def a_calm_host_announces_what_it_can(platform: "Platform") -> None:
    """1, 7: What a host is told to announce and could answer is announced, whether control is there or not."""
    for host in platform.hosts.values():
        if not platform.is_calm(host, STEADY_S) or host.page is None or not host.ways_are_calm():
            continue
        if platform.settles(host):
            continue
        gates: dict[Prefix, set[Address]] = defaultdict(set)
        for told in host.page.order.announcements:
            if told.scope.mode is Mode.ANNOUNCE and told.gates:
                gates[told.prefix].update(told.gates)
        for prefix, addresses in gates.items():
            if all(_has_steady(platform, host, a) for a in addresses) and not host.attracts(prefix):
                raise broken(1, a_calm_host_announces_what_it_can, f"{host.name} does not announce {prefix}, and could")


def _has_steady(platform: "Platform", host: "Host", address: Address) -> bool:
    return any(
        address in i.anycast
        and platform.world.now - host.well_since.get(i.uid, platform.world.now) > STEADY_S
        and address.version in host.ready.get(i.uid, ())
        and not host.cools_down(i.uid)
        for i in host.ordered()
    )


EVERY_FEW_SECONDS = (
    a_calm_host_runs_what_it_is_told,
    a_calm_host_answers_what_it_attracts,
    a_calm_host_announces_what_it_can,
)


def now_and_then(platform: "Platform") -> None:
    for check in EVERY_FEW_SECONDS:
        check(platform)
    where_hosts_carry(platform)
    for feature in features.FEATURES:
        for asked in feature.now_and_then:
            asked(platform, STEADY_S)


# when everything is well again and time has passed


def everybody_obeys_the_newest_order(platform: "Platform") -> None:
    """12: In the end each host obeys control's newest order, and nothing is left to do."""
    for host in platform.hosts.values():
        if not platform.obeys_the_newest(host):
            have = host.page.order.generation if host.page else 0
            raise broken(12, everybody_obeys_the_newest_order, f"{host.name} obeys order {have}, there is a newer one")


def ends_as_declared(platform: "Platform") -> None:
    """12, 13: In the end each slot that is declared and has room is there once, of the declared template, and runs; and
    nothing else does.
    """
    state = platform.control.state
    short_of_room = {n.subject for n in state.plan.notes} if state.plan is not None else set()
    for declared in state.workloads.values():
        if declared.delete_requested_at is not None:
            raise broken(12, ends_as_declared, f"{declared.workload.slug} was deleted and is still there")
    wanted_uids = set()
    for uid, placed in state.incarnations.items():
        i = placed.incarnation
        declared = state.workloads[i.workload_id]
        rolling = state.rollout_of(i.workload_id)
        wanted_uids.add(uid)
        image = declared.workload.containers[0].image
        excused = i.name in short_of_room or (rolling is not None and platform.may_stay_open(rolling))
        if i.template != declared.workload.template and not excused:
            raise broken(
                12, ends_as_declared, f"{i.name} has revision {i.revision}, {declared.version} is declared ({image})"
            )
        excused = excused or i.power is Power.OFF
        if not excused and platform.serves_in_the_end(image) and not platform.hosts[i.host].runs(uid):
            raise broken(13, ends_as_declared, f"{i.name} does not run on {i.host}")
    for host in platform.hosts.values():
        for (uid, _), seen in host.containers.items():
            known = uid in wanted_uids or uid in state.tombstones or uid in platform.orphans_of(host)
            known = known or _stays_though_forgotten(platform, host, uid)
            if seen.state is ContainerState.RUNNING and not known:
                raise broken(12, ends_as_declared, f"{host.name} runs {seen.instance} {uid}, which nobody knows of")
    names = [p.incarnation.slot for p in state.incarnations.values()]
    if len(names) != len(set(names)) and not any(platform.may_stay_open(r) for r in state.active_rollouts()):
        raise broken(12, ends_as_declared, "two incarnations of one slot are left")


def _stays_though_forgotten(platform: "Platform", host: "Host", uid: str) -> bool:
    """Whether a host was told by name to take down what control does not know, and does not, since what is declared in
    its place never answers.
    """
    state = platform.control.state
    if uid not in {r.uid for r in state.strangers.get(host.name, ())}:
        return False
    leaving = (x.instance for x in (host.page.leaving if host.page is not None else ()) if x.removal.uid == uid)
    instead = [state.workloads.get(i.workload_id) for i in leaving if i is not None]
    return any(d and not platform.serves_in_the_end(d.workload.containers[0].image) for d in instead)


def every_deadline_has_ended(platform: "Platform") -> None:
    """9: No drain, removal or rollout lasts for ever: in the end none is under way, but for one that has nothing to go
    back to.
    """
    state = platform.control.state
    for stone in state.tombstones.values():
        if stone.incarnation.host not in state.lost and not platform.is_the_only_one_that_serves(stone.incarnation):
            raise broken(
                9, every_deadline_has_ended, f"{stone.incarnation.name} {stone.incarnation.uid} is still going"
            )
    for drain in state.active_drains():
        raise broken(9, every_deadline_has_ended, f"the drain of {drain.target} still is {drain.stage.value}")
    for rollout in state.active_rollouts():
        if not platform.may_stay_open(rollout):
            raise broken(
                9, every_deadline_has_ended, f"revision {rollout.revision}: {rollout.reason.value} {rollout.message}"
            )


def all_is_announced_that_can_be(platform: "Platform") -> None:
    """7: In the end each prefix is announced exactly where all its addresses have an instance that answers, but for
    what nobody else answers better.
    """
    for host in platform.hosts.values():
        agent = platform.agents[host.name]
        if host.page is None or agent.facts is None:
            continue
        facts = agent.facts
        for prefix in facts.wanted_prefixes:
            if (
                prefix in facts.ready_prefixes
                and not host.attracts(prefix)
                and not any(u.hold_s for u in host.memory.uplinks.values())
            ):
                raise broken(7, all_is_announced_that_can_be, f"{host.name} does not announce {prefix}, and could")
        for address in {a for i in host.ordered() for a in i.anycast}:
            steady = [
                i
                for i in host.ordered()
                if address in i.anycast and host.answers(i.uid, address.version) and not host.cools_down(i.uid)
            ]
            if steady and not host.serves(address):
                raise broken(7, all_is_announced_that_can_be, f"{host.name} has {steady[0].name} idle behind {address}")


AT_THE_END = (
    everybody_obeys_the_newest_order,
    every_deadline_has_ended,
    ends_as_declared,
    all_is_announced_that_can_be,
)


def at_the_end(platform: "Platform") -> None:
    for check in AT_THE_END:
        check(platform)
    where_hosts_carry(platform, in_the_end=True)
    for feature in features.FEATURES:
        for asked in feature.now_and_then:
            asked(platform, AT_REST_S)
        for last in feature.at_the_end:
            last(platform)


assert FRESH_S < STEADY_S
