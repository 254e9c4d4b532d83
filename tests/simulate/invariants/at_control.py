"""What may never happen in control: asked of each step once it is stored, and before anybody hears of it.

In: the platform, the states before and after, and why the step was made. Out: nothing, or `Broken`.
"""

from collections import defaultdict
from typing import TYPE_CHECKING

from anypop.agent.naming import short
from anypop.control.state import State
from anypop.judge.verdict import is_fresh
from anypop.model.announce import Address, Prefix
from anypop.model.machine import Power
from anypop.model.names import HostName, InstanceName, WorkloadId
from anypop.model.plan import floor_of
from anypop.model.reasons import Reason
from anypop.model.report import Phase
from anypop.model.rollout import RolloutKind, RolloutPhase
from anypop.model.table import differing
from anypop.plan.scaling import ordinals_of
from tests.simulate import features
from tests.simulate.invariants.broken import broken
from tests.simulate.invariants.carried import holders, new_leaves, no_neighbour_pays

if TYPE_CHECKING:
    from tests.simulate.lives import Platform


def grants_within_the_floor(platform: "Platform", before: State, after: State, why: str) -> None:
    """2: A leave to withdraw is given only while as many PoPs as the floor announce for sure and hold none; to a host
    where nothing runs that could answer, while one does.
    """
    for host, prefix in new_leaves(before, after):
        entitled, holding = _entitled(after, prefix), holders(after, prefix)
        stay = {entitled[h] for h in entitled if h not in holding and _announces(platform, after, h, prefix)}
        floor = 1 if _is_vacant(after, host, prefix) else floor_of(len(set(entitled.values())))
        if len(stay) < floor:
            text = f"{host} may withdraw {prefix}; only {sorted(stay)} go on, the floor is {floor}"
            raise broken(2, grants_within_the_floor, text)


def _is_vacant(state: State, host: HostName, prefix: Prefix) -> bool:
    """Whether its host said so: what it says of processes is held true by `tells_the_truth_of_processes`."""
    received = state.reports.get(host)
    return received is not None and any(p.prefix == prefix and p.vacant for p in received.report.prefixes)


def _entitled(state: State, prefix: Prefix) -> dict[str, str]:
    """The hosts that are to announce it, and their PoPs."""
    return {
        host: part.pop
        for host, part in (state.plan.hosts.items() if state.plan is not None else ())
        if any(a.prefix == prefix and a.scope.mode == "announce" for a in part.announcements)
    }


def _announces(platform: "Platform", state: State, host: str, prefix: Prefix) -> bool:
    received = state.reports.get(host)  # type: ignore[call-overload]
    if received is None or not is_fresh(received, platform.control.clock()):
        return False
    up = {s.upstream for s in received.report.sessions if s.state == "established" and s.family == prefix.version}
    return any(p.prefix == prefix and p.announced and up & {*p.upstreams} for p in received.report.prefixes)


def freezes_when_most_turn_bad(platform: "Platform", before: State, after: State, why: str) -> None:
    """3: While more than half of a prefix's PoPs have turned bad within a minute, no leave is given."""
    for host, prefix in new_leaves(before, after):
        entitled, lately = _entitled(after, prefix), platform.control.clock() - 55.0
        bad = {entitled[h] for h in entitled if platform.turned_bad_at.get((HostName(h), prefix), -1e9) > lately}
        if 2 * len(bad) > len(set(entitled.values())) and not _is_vacant(after, host, prefix):
            text = f"{host} may withdraw {prefix}, though {sorted(bad)} turned bad"
            raise broken(3, freezes_when_most_turn_bad, text)


def removes_no_last_healthy_one(platform: "Platform", before: State, after: State, why: str) -> None:
    """9: No rollout, revert or loss of a host asks the last healthy incarnation of a slot to go; where there is no room
    for two, its PoP or enough others serve.
    """
    new = [
        after.tombstones[uid] for uid in differing(before.tombstones, after.tombstones) if uid not in before.tombstones
    ]
    if not new:
        return
    now = platform.control.clock()
    healthy = {
        i.uid
        for r in after.reports.values()
        if is_fresh(r, now)
        for i in r.report.instances
        if i.healthy and i.phase is Phase.RUNNING
    }
    for stone in new:
        gone = stone.incarnation
        if gone.uid not in healthy:
            continue
        lives = [p.incarnation for p in after.incarnations_of(gone.workload_id).values()]
        if stone.reason in (Reason.SUPERSEDED, Reason.REVERTED, Reason.HOST_LOST, Reason.HOST_EVICTED):
            # one that its user has powered off is as ready as it will be
            if not any(i.name == gone.name and (i.uid in healthy or i.power is Power.OFF) for i in lives):
                raise broken(9, removes_no_last_healthy_one, f"{gone.name} {gone.uid} is {stone.reason.value}")
        elif stone.reason is Reason.REPLACED:
            left = {i.pop for i in lives if i.uid in healthy}
            declared = after.workloads.get(gone.workload_id)
            if len(lives) == 1 and declared is not None and declared.workload.volumes:
                continue  # the only one, and two never have its volume: there is no other way
            if gone.pop not in left and len(left) < floor_of(len({i.pop for i in lives})):
                raise broken(9, removes_no_last_healthy_one, f"{gone.name} was needed and makes room")


def believes_a_host_of_its_own_alone(platform: "Platform", before: State, after: State, why: str) -> None:
    """20: What counts as gone is gone: nothing of it is left on its host, whoever says so."""
    for uid in differing(before.tombstones, after.tombstones):
        if uid in after.tombstones or uid in after.incarnations:
            continue
        stone = before.tombstones.get(uid)
        if stone is None:
            continue
        host = platform.hosts[stone.incarnation.host]
        if host.runs(uid) or short(uid) in host.links:
            raise broken(
                20, believes_a_host_of_its_own_alone, f"{stone.incarnation.name} {uid} still is on {host.name}"
            )


def gives_an_address_one_owner(platform: "Platform", before: State, after: State, why: str) -> None:
    """15: A link has one incarnation, a slot two at most, an anycast address one workload, and a released one rests."""
    if before.incarnations is after.incarnations and before.anycast is after.anycast:
        return
    links: dict[tuple[str, int], str] = {}
    slots: dict[tuple[WorkloadId, InstanceName], int] = defaultdict(int)
    everyone = [p.incarnation for p in after.incarnations.values()]
    for i in everyone:
        slots[i.slot] += 1
    for i in [*everyone, *(t.incarnation for t in after.tombstones.values())]:
        if links.setdefault((i.host, i.link), i.uid) != i.uid:
            raise broken(
                15, gives_an_address_one_owner, f"{i.host} link {i.link} is {i.uid}'s and {links[i.host, i.link]}'s"
            )
    if any(count > 2 for count in slots.values()):
        raise broken(15, gives_an_address_one_owner, "more than two incarnations of a slot")
    owners: dict[Address, WorkloadId] = {}
    now = platform.control.clock()
    for workload, held in after.anycast.items():
        if owners.setdefault(held.address4, workload) != workload:
            raise broken(15, gives_an_address_one_owner, f"{held.address4} has two owners")
        if workload not in before.anycast:
            until = platform.rests.get(held.address4, 0.0)
            if now < until - 1.0:
                raise broken(15, gives_an_address_one_owner, f"{held.address4} is given anew before its rest is over")
    for workload, held in before.anycast.items():
        if workload not in after.anycast:
            platform.rests[held.address4] = now + 300.0


def passes_only_what_was_seen(platform: "Platform", before: State, after: State, why: str) -> None:
    """18: An update is through only when each instance of its workload has the newest template and was once healthy:
    what nobody has seen is no pass.
    """
    for key in differing(before.rollouts, after.rollouts):
        rollout = after.rollouts.get(key)
        was = before.rollouts.get(key)
        if rollout is None or rollout.kind is not RolloutKind.UPDATE or rollout.phase is not RolloutPhase.DONE:
            continue
        if was is None or was.phase is RolloutPhase.DONE or rollout.workload_id not in after.workloads:
            continue
        wanted = after.workloads[rollout.workload_id].workload
        for placed in before.incarnations_of(rollout.workload_id).values():
            i = placed.incarnation
            target = next((t for t in wanted.targets if t.name == i.target), None)
            if (
                target is None
                or i.pop not in target.cities
                or i.ordinal >= after.replicas(i.workload_id, target, i.pop)
            ):
                continue
            unseen = i.uid not in rollout.held and i.uid not in platform.hosts[i.host].said_well
            if i.template != wanted.template or (unseen and i.power is Power.ON):
                raise broken(18, passes_only_what_was_seen, f"revision {rollout.revision} is done, {i.name} is not")


def loses_nothing_that_is_wanted(platform: "Platform", before: State, after: State, why: str) -> None:
    """13: A slot that is declared loses its incarnation only for another one of its own."""
    gone = [uid for uid in differing(before.incarnations, after.incarnations) if uid not in after.incarnations]
    for uid in gone:
        i = before.incarnations[uid].incarnation
        declared = after.workloads.get(i.workload_id)
        if declared is None or declared.workload.deleting:
            continue
        target = next((t for t in declared.workload.targets if t.name == i.target), None)
        if target is None or i.pop not in target.cities:
            continue
        if i.ordinal not in ordinals_of(target, after.scaled.get((i.workload_id, target.name, i.pop))):
            continue
        if not any(p.incarnation.name == i.name for p in after.incarnations_of(i.workload_id).values()):
            raise broken(13, loses_nothing_that_is_wanted, f"{i.name} is declared and has no incarnation any more")


def leaves_the_neighbour_alone(platform: "Platform", before: State, after: State, why: str) -> None:
    """19: No leave is given for the sake of one that has never served there while others of its prefix do."""
    for name, prefix in new_leaves(before, after):
        host, now = platform.hosts[name], platform.world.now
        lives: dict[WorkloadId, list[str]] = {}
        for workload, held in after.anycast.items():
            mine = after.incarnations_of(workload) if prefix in (held.prefix4, held.prefix6) else {}
            if uids := [uid for uid, p in mine.items() if p.incarnation.host == name]:
                lives[workload] = uids
        well = {w for w, uids in lives.items() if all(now - host.well_since.get(u, now) > 20.0 for u in uids)}
        failing = lives.keys() - well
        if well and failing and not any((host.pop, w) in platform.served for w in failing):
            text = f"{name} may withdraw {prefix} for one that never served there"
            raise broken(19, leaves_the_neighbour_alone, text)


AT_CONTROL = (
    grants_within_the_floor,
    freezes_when_most_turn_bad,
    removes_no_last_healthy_one,
    believes_a_host_of_its_own_alone,
    gives_an_address_one_owner,
    passes_only_what_was_seen,
    loses_nothing_that_is_wanted,
    leaves_the_neighbour_alone,
)


def at_control(platform: "Platform", before: State, after: State, why: str) -> None:
    if platform.tunnels.used:
        no_neighbour_pays(platform, before, after)
    for check in AT_CONTROL:
        check(platform, before, after, why)
    for feature in features.FEATURES:
        for asked in feature.at_control:
            asked(platform, before, after)
    platform.note_reasons_at(before, after)
