"""What the PoP says of itself: order and observation as a `Report`. Pure. Errors are data in it.

In: `Facts`, or what was observed where there is no order, the time, and what the agent's process has to add. Out: the
report that control judges and every face shows.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from math import gcd
from typing import TypedDict

from anypop.agent.decide import milestones, moves, restarts, volumes
from anypop.agent.decide.announcements import is_vacant, reason_for
from anypop.agent.decide.backbone import FULL
from anypop.agent.decide.elements import (
    NO_PAST,
    UNKNOWN,
    ContainerSeen,
    ContainerState,
    Leaving,
    Member,
    Past,
    ProbeVerdict,
)
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.inside import inside_for
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.repeats import TOLD_FROM, Asked
from anypop.agent.decide.steps import (
    DIALS,
    ERRORS,
    FIREWALL,
    GUARD,
    ROUTER,
    SPEAKER,
    TUNNELS,
    image_lane,
    inside_lane,
    instance_lane,
    pull_lane,
)
from anypop.agent.decide.traffic import is_needed
from anypop.agent.naming import short
from anypop.model.announce import Address, Prefix
from anypop.model.machine import Power
from anypop.model.names import CityCode, HostName
from anypop.model.network import Capacity
from anypop.model.order import InstanceOrder
from anypop.model.order_since import VERSION
from anypop.model.reasons import Reason
from anypop.model.report import (
    Arrived,
    CarriedReport,
    ContainerReport,
    FamilyReport,
    InstanceReport,
    Phase,
    PrefixReport,
    Report,
    SessionReport,
)
from anypop.model.workload import ProbeKind, Protocol


class _Last(TypedDict, total=False):
    last_exit_code: int | None
    last_reason: Reason | None
    last_finished_at: float | None
    last_message: str


_OWN_LANES = (ROUTER, FIREWALL, ERRORS, SPEAKER, TUNNELS, GUARD, DIALS)
UDP_IS_KEPT = (
    "answers by UDP leave from the address that was asked; on a wildcard socket each flow is tracked for that: a busy "
    "server binds to its addresses"
)


def report_of(
    seen: Facts | Observed, *, pop: CityCode, host: HostName, generation: int, at: float, refused: Reason | None,
    drift: tuple[str, ...], errors: tuple[str, ...], capacity: Capacity | None = None,
    used_millis: int | None = None, began: float | None = None,
) -> Report:  # fmt: skip
    """The report at one moment. Given no more than `Observed`: there is no order, or nothing is known yet about what
    it names.
    """
    if isinstance(seen, Observed):
        orphans = tuple(sorted({str(c.instance) for c in seen.containers}))
        return Report(
            pop=pop, host=host, at=at, generation=generation, refused=refused, errors=errors, orphans=orphans,
            capacity=capacity, used_millis=used_millis, began=began, understands=VERSION,
        )  # fmt: skip
    facts, trouble, asked = seen, seen.observed.memory.trouble, seen.observed.memory.asked
    lanes = tuple(f"{lane}: {trouble[lane].message}" for lane in _OWN_LANES if lane in trouble)
    lanes += tuple(f"{lane}: {_in_vain(last)}" for lane, last in sorted(asked.items()) if last.times >= TOLD_FROM)
    here = (*(_instance(i, facts, at) for i in facts.staying), *(_departing(x, facts) for x in facts.remains))
    return Report(
        pop=pop, host=host, at=at, generation=generation, refused=refused, instances=here,
        sessions=_sessions(facts, at),
        prefixes=_prefixes(facts, at),
        gone=tuple(sorted(uid for uid in facts.going if not facts.has_remains(uid))),
        orphans=_orphans(facts), drift=drift, errors=(*errors, *lanes), capacity=capacity, used_millis=used_millis,
        began=began, carried=_carried(facts), tunnels=facts.observed.tunnels,
        volumes=volumes.told(facts), volumes_gone=volumes.gone(facts), understands=VERSION,
    )  # fmt: skip


def decides(report: Report) -> Report:
    """What control acts upon, or somebody waits for: all of it but the way of instances that are still on their way,
    when each of its steps was reached, and what is measured: control looks at that in its own time.
    """
    held, here = tuple(replace(v, used_bytes=None) for v in report.volumes), tuple(map(_decides, report.instances))
    return replace(report, at=0, instances=here, volumes=held, measured=(), flows=())


def _decides(instance: InstanceReport) -> InstanceReport:
    if instance.phase in (Phase.SCHEDULING, Phase.STARTING):
        return replace(
            instance, phase=Phase.STARTING, reason=Reason.STARTING, message="", template="", started_at=None,
            containers=(), init=(), milestones=(),
        )  # fmt: skip
    return replace(instance, milestones=())


def _in_vain(last: Asked) -> str:
    names = ", ".join(dict.fromkeys(type(step).__name__ for step in last.steps))
    return f"{names}: done again and again, and nothing has changed"


def _orphans(facts: Facts) -> tuple[str, ...]:
    """Instances of ours that no order explains: never taken down, always told."""
    known = {i.uid for i in facts.order.instances} | facts.going.keys()
    shorts = {short(uid) for uid in known}
    names = {str(c.instance) for c in facts.observed.containers if c.uid not in known}
    return tuple(sorted(names | {f"i{key}" for key in facts.observed.links if key not in shorts}))


def _instance(instance: InstanceOrder, facts: Facts, at: float) -> InstanceReport:
    init = tuple(_init_container(instance, c.name, facts) for c in instance.init)
    containers = tuple(_container(instance, c.name, facts) for c in instance.containers)
    phase, reason, message = _phase(instance, (*init, *containers), facts, at)
    starts = [c.started_at for c in containers if c.started_at is not None]
    verdict = facts.observed.health.get(instance.uid)
    healthy = bool(verdict and verdict.healthy) and instance.uid in facts.running and not facts.loses_family(instance)
    return InstanceReport(
        name=instance.name, uid=instance.uid, phase=phase, healthy=healthy, reason=reason, message=message,
        template=_template(instance.uid, facts), serving=_has_slot(instance, facts),
        started_at=max(starts, default=None), containers=containers, init=init,
        milestones=milestones.told(instance.uid, facts.observed.memory.milestones),
        families=tuple(
            FamilyReport(version=f.version, healthy=healthy and f.healthy is True, reason=f.reason, message=f.message)
            for f in (verdict.families if verdict else ())
        ),
    )  # fmt: skip


def _phase(
    instance: InstanceOrder, containers: tuple[ContainerReport, ...], facts: Facts, at: float
) -> tuple[Phase, Reason, str]:
    """The instance's phase, the reason, and words. RUNNING once it runs and has answered; a later failure shows in
    `healthy` and the reason.
    """
    troubles = facts.observed.memory.trouble
    if facts.is_blocked(instance):
        return Phase.SCHEDULING, Reason.SCHEDULED, "waits for its predecessor to be taken down"
    if instance.power is Power.OFF and (resting := moves.told(instance, facts, at)) is not None:
        return resting[0], Reason.MOVING, resting[1]
    if instance.power is Power.OFF:
        if facts.has_process(instance.uid):
            return Phase.RUNNING, Reason.POWERED_OFF, "its guest is shutting down"
        return Phase.STOPPED, Reason.POWERED_OFF, "it keeps its place, its addresses and its disks, and costs the same"
    is_made = _is_made(instance, facts)
    lanes = [pull_lane(instance, c) for c in instance.every_container] if not is_made else []
    lanes += [image_lane(instance.rescue.id)] if instance.rescue is not None else []
    for lane in dict.fromkeys(lanes):
        trouble = troubles.get(lane)
        if trouble is not None:
            wait = f"; next try in {max(trouble.until - at, 0):.0f} s" if trouble.until > at else ""
            return Phase.FAILED, Reason.PULL_FAILED, trouble.message + wait
    if (moving := moves.told(instance, facts, at)) is not None:
        return moving[0], Reason.MOVING, moving[1]
    goes = moves.note(instance, facts)
    trouble = troubles.get(instance_lane(instance.name, instance.uid)) if troubles else None
    if trouble is not None and goes is None:
        return Phase.FAILED, trouble.reason, trouble.message
    ended = next((c for c in containers if c.phase is Phase.FAILED), None)
    if ended is not None:
        return Phase.FAILED, ended.reason, f"{ended.name}: {ended.message}"
    if not is_made and (waits := volumes.waits_for(instance, facts)):
        return Phase.SCHEDULING, Reason.WAITS_FOR_VOLUME, waits
    if not is_made:
        pulling = any(pull_lane(instance, c) in facts.observed.busy for c in instance.every_container)
        if not pulling and (current := _initializing(instance, facts)):
            return Phase.STARTING, Reason.INITIALIZING, f"init container {current}"
        return Phase.STARTING, Reason.PULLING if pulling else Reason.STARTING, ""
    if (rescue := instance.rescue) is not None:
        mended = any(c.rescue == rescue.id and c.pid for c in facts.containers_of(instance.uid).values())
        told = f"runs {rescue.reference}; its own root disk is beside it, and it gets no traffic"
        return (Phase.RUNNING, Reason.RESCUED, told) if mended else (Phase.STARTING, Reason.STARTING, "")
    if instance.uid not in facts.running:
        return Phase.STARTING, Reason.STARTING, ""
    verdict = facts.observed.health.get(instance.uid)
    if verdict is None or verdict.healthy is None:
        return Phase.STARTING, Reason.PROBE_PENDING, ""
    if verdict.healthy and facts.loses_family(instance):
        return Phase.RUNNING, Reason.FAMILY_SILENT, verdict.message
    if verdict.healthy and goes is not None:
        return Phase.RUNNING, Reason.MOVING, goes
    if verdict.healthy:
        drains = instance.uid in facts.superseded and facts.is_pinned(instance.uid)
        runs = Reason.NOT_ASKED if verdict.reason is Reason.NOT_ASKED else Reason.RUNNING
        return Phase.RUNNING, Reason.DRAINING if drains else runs, _notes(instance, verdict, facts, at)
    up, said = instance.uid in facts.observed.started_up, facts.observed.consoles.get(instance.uid, "")
    notes = ["its guest has told that all of it has started"] if up else []
    notes += [f"its console ends: {said}"] if said else []
    message = "; ".join([verdict.message or "it has not answered yet", *notes]) if notes else verdict.message
    return (Phase.STARTING if verdict.reason is Reason.PROBE_PENDING else Phase.RUNNING), verdict.reason, message


def _notes(instance: InstanceOrder, verdict: ProbeVerdict, facts: Facts, at: float) -> str:
    """What its owner should know of one that runs: where it does not answer, what is not asked, what it waits for, what
    it costs.
    """
    notes = [verdict.message] if verdict.message else []
    if first := restarts.waits_for(instance, facts, at):
        notes.append(f"its restart waits until {first.name}, which is started anew too, serves again")
    if unasked := unasked_ports(instance):
        notes.append(f"not asked: {', '.join(f'UDP {port}' for port in unasked)} (a dns or udp readiness probe does)")
    troubles = facts.observed.memory.trouble
    trouble = troubles.get(inside_lane(instance.name, instance.uid)) if troubles else None
    if trouble is not None:
        notes.append(f"answers by UDP may leave from its external address: {trouble.message}")
    elif instance.machine is None and inside_for(instance).udp:  # a guest's sockets are its own
        notes.append(UDP_IS_KEPT)
    return "; ".join(notes)


def unasked_ports(instance: InstanceOrder) -> list[int]:
    """Its ports of UDP that no probe asks: nothing shows whether anybody answers there."""
    return [
        port.port
        for container in instance.containers
        for port in container.ports
        if port.protocol is Protocol.UDP
        and not (
            container.readiness is not None
            and container.readiness.kind in (ProbeKind.UDP, ProbeKind.DNS)
            and container.readiness.port == port.port
        )
    ]


def _template(uid: str, facts: Facts) -> str:
    """What its containers were made from; empty while there are none."""
    told = {c.template for c in facts.containers_of(uid).values()}
    return told.pop() if len(told) == 1 else UNKNOWN if told else ""


def _has_slot(instance: InstanceOrder, facts: Facts) -> bool:
    """Whether all addresses of the slot lead to it, but for those of a family in which it does not answer."""
    if instance.uid in facts.misled:
        return False
    anycast = facts.memberships.get(short(instance.uid), frozenset())
    lacking = [a for a in instance.anycast if a not in anycast]
    verdict = facts.observed.health.get(instance.uid) if lacking else None
    return not lacking or (verdict is not None and all(verdict.never_answered(a.version) for a in lacking))


def _is_made(instance: InstanceOrder, facts: Facts) -> bool:
    there = facts.containers_of(instance.uid)
    return all(c.name in there for c in instance.containers)


def _container(instance: InstanceOrder, name: str, facts: Facts) -> ContainerReport:
    seen = facts.containers_of(instance.uid).get(name)
    past = facts.observed.memory.pasts.get((instance.uid, name), NO_PAST)
    if seen is None:  # it was removed, and its successor is about to be made
        waits = Reason.INITIALIZING if _initializing(instance, facts) else Reason.STARTING
        return ContainerReport(name=name, phase=Phase.STARTING, reason=waits, restarts=past.restarts, **_last(past))
    ended = seen.state is ContainerState.EXITED
    verdict = facts.observed.health.get(instance.uid)
    ready = seen.state is ContainerState.RUNNING and bool(verdict and verdict.healthy)
    phase, reason, message = _container_phase(seen, past)
    if instance.power is Power.OFF and seen.state is not ContainerState.RUNNING and not seen.moves:
        phase, reason, message = Phase.STOPPED, Reason.POWERED_OFF, ""
    log = facts.observed.logs.get(seen.id, (None, 0))
    return ContainerReport(
        name=name, phase=phase, reason=reason, message=message, container_id=seen.id, started_at=seen.started_at,
        finished_at=seen.finished_at, exit_code=seen.exit_code, ready=ready, image_digest=seen.image_digest,
        restarts=seen.past.restarts, confinement=seen.confinement if seen.id else None,
        log_bytes=log[0], log_turns=log[1],
        **_last(past if ended else seen.past),
    )  # fmt: skip


def _init_container(instance: InstanceOrder, name: str, facts: Facts) -> ContainerReport:
    """One that has completed stands there as it ended, and is ready."""
    told = _container(instance, name, facts)
    seen = facts.containers_of(instance.uid).get(name)
    if seen is None or not seen.has_completed:
        return replace(told, ready=False)
    return replace(told, phase=Phase.STOPPED, reason=Reason.COMPLETED, message=seen.message, ready=True)


def _initializing(instance: InstanceOrder, facts: Facts) -> str:
    """The init container that the others wait for; empty: none."""
    there = facts.containers_of(instance.uid)
    if any(c.name in there for c in instance.containers):
        return ""
    return next((c.name for c in instance.init if (s := there.get(c.name)) is None or not s.has_completed), "")


def _last(past: Past) -> _Last:
    last = past.last
    if last is None:
        return {}
    return {
        "last_exit_code": last.code,
        "last_reason": last.reason,
        "last_finished_at": last.at,
        "last_message": last.message,
    }


def _container_phase(seen: ContainerSeen, past: Past) -> tuple[Phase, Reason, str]:
    if seen.moves:
        return Phase.STOPPED if seen.state is ContainerState.EXITED else Phase.STARTING, Reason.MOVING, ""
    match seen.state:
        case ContainerState.RUNNING:
            return Phase.RUNNING, Reason.RUNNING, ""
        case ContainerState.CREATED:
            return Phase.STARTING, Reason.STARTING, ""
        case ContainerState.EXITED:
            code = f"exit code {seen.exit_code}" if seen.exit_code is not None else "its process ended"
            reason = past.last.reason if past.last else Reason.EXITED
            said = past.last.message if past.last else ""
            if reason is not Reason.EXITED:
                return Phase.FAILED, reason, said or f"{reason.says} ({code})"
            return Phase.FAILED, Reason.BACK_OFF if past.restarts > 1 else Reason.EXITED, said or code


def _departing(leaving: Leaving, facts: Facts) -> InstanceReport:
    uid, name = leaving.removal.uid, leaving.removal.name
    waits = uid in facts.observed.memory.draining_since or is_needed(leaving, facts)
    trouble = facts.observed.memory.trouble.get(instance_lane(name, uid))
    return InstanceReport(
        name=name, uid=uid, phase=Phase.DELETING, healthy=False, template=_template(uid, facts),
        reason=Reason.DRAINING if waits and facts.has_process(uid) else Reason.STOPPING,
        message=trouble.message if trouble else (leaving.removal.detail or leaving.removal.reason.says),
    )  # fmt: skip


def _sessions(facts: Facts, at: float) -> tuple[SessionReport, ...]:
    """As the speaker tells them, and of one that flaps what that leads to."""
    uplinks = facts.observed.memory.uplinks
    return tuple(
        replace(s, rests=True, error=f"flaps: nothing is announced on it until it has stood for {uplink.hold_s:.0f} s")
        if (uplink := uplinks.get((s.upstream, s.family))) is not None and uplink.rests(at)
        else s
        for s in facts.observed.sessions
    )


def _prefixes(facts: Facts, at: float) -> tuple[PrefixReport, ...]:
    exported = defaultdict[Prefix, list[str]](list)
    for prefix, upstream in facts.observed.exported:
        exported[prefix].append(upstream)
    found = []
    for prefix in sorted(
        {a.prefix for a in facts.order.announcements} | facts.exported_prefixes, key=lambda p: (p.version, str(p))
    ):
        upstreams = tuple(sorted(exported.get(prefix, ())))
        reason, wants = reason_for(prefix, facts, at)
        found.append(
            PrefixReport(
                prefix=prefix,
                announced=bool(upstreams),
                upstreams=upstreams,
                reason=reason,
                wants_withdraw=wants,
                vacant=wants and is_vacant(prefix, facts),
                exported=facts.observed.told.get(prefix, ()),
                arrived=_arrived(prefix, facts),
                shut=_in_order(facts.gates(prefix) - facts.open_gates),
            )
        )
    return tuple(found)


def _arrived(prefix: Prefix, facts: Facts) -> tuple[Arrived, ...] | None:
    counted = facts.observed.arrived
    return counted.get(prefix) if counted is not None and prefix in facts.drained_prefixes else None


def _carried(facts: Facts) -> tuple[CarriedReport, ...]:
    """The addresses whose traffic goes to other hosts, by the groups that the kernel has."""
    backbone, found = facts.order.backbone, list[CarriedReport]()
    names = {peer.address: peer.host for peer in backbone.peers} if backbone is not None else {}
    keeps = {s.address: s.keep for s in facts.observed.memory.steers or () if s.keep < FULL}
    for address in _in_order(facts.observed.balanced):
        members, kept = facts.observed.balanced[address], keeps.get(address)
        parts = {m.peer: m.weight for m in members if m.peer is not None}
        local = sum(m.weight for m in members if m.peer is None)
        if kept is not None:
            local, parts = _dialled(local, parts, facts.observed.away.get(address, ()), kept)
        shares = tuple((names.get(peer, HostName(str(peer))), part) for peer, part in parts.items())
        if shares:
            found.append(CarriedReport(address=address, local=local, shares=shares, kept=kept))
    return tuple(found)


def _dialled(
    local: int, parts: Mapping[IPv4Address, int], away: Iterable[Member], kept: int
) -> tuple[int, dict[IPv4Address, int]]:
    """What the groups say, with what leaves by a dial before it comes to them."""
    leaves = {m.peer: m.weight for m in away if m.peer is not None}
    stay, gone = local + sum(parts.values()), sum(leaves.values())
    if not stay or not gone:
        return local, dict(parts)
    found = {peer: 100 * kept * weight // stay for peer, weight in parts.items()}
    for peer, weight in leaves.items():
        found[peer] = found.get(peer, 0) + 100 * (FULL - kept) * weight // gone
    shared = gcd(100 * kept * local // stay, *found.values()) or 1
    return 100 * kept * local // stay // shared, {peer: part // shared for peer, part in found.items()}


def _in_order(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(sorted(addresses, key=lambda a: (a.version, int(a))))
