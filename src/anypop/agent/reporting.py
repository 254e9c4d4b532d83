"""What the PoP says of itself: order and observation as a `Report`. Pure. Errors are data in it.

In: the ledger's page, `Observed`, the time, and what the loop has to add. Out: the report that control judges and every face shows.
"""

from anypop.agent.announcing import reason_for
from anypop.agent.naming import short
from anypop.agent.observed import ContainerSeen, ContainerState, Leaving, Observed
from anypop.agent.standing import exports_now, has_remains, is_blocked, is_needed, is_running, staying
from anypop.agent.steps import FIREWALL, ROUTER, SPEAKER, image_lane
from anypop.model.names import CityCode, HostName
from anypop.model.order import InstanceOrder, Order
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, InstanceReport, Phase, PrefixReport, Report


def report_of(
    order: Order | None, observed: Observed, *, pop: CityCode, host: HostName, generation: int, at: float, refused: Reason | None,
    drift: tuple[str, ...], errors: tuple[str, ...],
) -> Report:  # fmt: skip
    """The report at one moment. `order` None: there is none, or nothing is known yet about what it names."""
    if order is None:
        return Report(pop=pop, host=host, at=at, generation=generation, refused=refused, errors=errors, orphans=_orphans(None, observed))
    here = [x for x in observed.leaving if has_remains(x.removal.uid, observed)]
    lanes = tuple(f"{lane}: {t.message}" for lane in (ROUTER, FIREWALL, SPEAKER) if (t := observed.trouble.get(lane)) is not None)
    return Report(
        pop=pop, host=host, at=at, generation=generation, refused=refused,
        instances=(*(_instance(i, order, observed, at) for i in staying(order, observed)), *(_departing(x, order, observed) for x in here)),
        sessions=observed.sessions, prefixes=_prefixes(order, observed),
        gone=tuple(sorted(x.removal.uid for x in observed.leaving if not has_remains(x.removal.uid, observed))),
        orphans=_orphans(order, observed), drift=drift, errors=(*errors, *lanes),
    )  # fmt: skip


def _orphans(order: Order | None, observed: Observed) -> tuple[str, ...]:
    """Instances of ours that no order explains: never taken down, always told."""
    known = {i.uid for i in order.instances} if order else set()
    known |= {x.removal.uid for x in observed.leaving}
    shorts = {short(uid) for uid in known}
    names = {str(c.instance) for c in observed.containers if c.uid not in known}
    return tuple(sorted(names | {f"i{key}" for key in observed.links if key not in shorts})) if order else tuple(sorted(names))


def _instance(instance: InstanceOrder, order: Order, observed: Observed, at: float) -> InstanceReport:
    containers = tuple(_container(instance, c.name, observed) for c in instance.containers)
    phase, reason, message = _phase(instance, containers, observed, at)
    starts = [c.started_at for c in containers if c.started_at is not None]
    verdict = observed.health.get(instance.uid)
    healthy = bool(verdict and verdict.healthy) and is_running(instance, observed)
    return InstanceReport(
        name=instance.name, uid=instance.uid, phase=phase, healthy=healthy, reason=reason, message=message,
        started_at=max(starts, default=None), containers=containers,
    )  # fmt: skip


def _phase(instance: InstanceOrder, containers: tuple[ContainerReport, ...], observed: Observed, at: float) -> tuple[Phase, Reason, str]:
    """The instance's phase, the reason, and words. RUNNING once it runs and has answered; a later failure shows in `healthy` and the
    reason.
    """
    if is_blocked(instance, observed):
        return Phase.SCHEDULING, Reason.SCHEDULED, "waits for its predecessor to be taken down"
    for image in dict.fromkeys(c.image for c in instance.containers):
        trouble = observed.trouble.get(image_lane(image))
        if trouble is not None and not containers_exist(instance, observed):
            wait = f"; next try in {max(trouble.until - at, 0):.0f} s" if trouble.until > at else ""
            return Phase.FAILED, Reason.PULL_FAILED, trouble.message + wait
    trouble = observed.trouble.get(str(instance.name))
    if trouble is not None:
        return Phase.FAILED, trouble.reason, trouble.message
    if not containers_exist(instance, observed):
        pulling = any(image_lane(c.image) in observed.busy for c in instance.containers)
        return Phase.STARTING, Reason.PULLING if pulling else Reason.STARTING, ""
    ended = next((c for c in containers if c.phase is Phase.FAILED), None)
    if ended is not None:
        return Phase.FAILED, ended.reason, f"{ended.name}: {ended.message}"
    if not is_running(instance, observed):
        return Phase.STARTING, Reason.STARTING, ""
    verdict = observed.health.get(instance.uid)
    if verdict is None or verdict.healthy is None:
        return Phase.STARTING, Reason.PROBE_PENDING, ""
    if verdict.healthy:
        return Phase.RUNNING, Reason.RUNNING, ""
    return (Phase.STARTING if verdict.reason is Reason.PROBE_PENDING else Phase.RUNNING), verdict.reason, verdict.message


def containers_exist(instance: InstanceOrder, observed: Observed) -> bool:
    there = {c.container for c in observed.containers_of(instance.uid)}
    return all(c.name in there for c in instance.containers)


def _container(instance: InstanceOrder, name: str, observed: Observed) -> ContainerReport:
    seen = next((c for c in observed.containers_of(instance.uid) if c.container == name), None)
    restarts = observed.restarts.get((instance.uid, name), 0)
    if seen is None:
        return ContainerReport(name=name, phase=Phase.STARTING, reason=Reason.STARTING, restarts=restarts)
    verdict = observed.health.get(instance.uid)
    ready = seen.state is ContainerState.RUNNING and bool(verdict and verdict.healthy)
    phase, reason, message = _container_phase(seen, restarts)
    return ContainerReport(
        name=name, phase=phase, reason=reason, message=message, container_id=seen.id, started_at=seen.started_at,
        finished_at=seen.finished_at, exit_code=seen.exit_code, ready=ready, restarts=restarts,
    )  # fmt: skip


def _container_phase(seen: ContainerSeen, restarts: int) -> tuple[Phase, Reason, str]:
    match seen.state:
        case ContainerState.RUNNING:
            return Phase.RUNNING, Reason.RUNNING, ""
        case ContainerState.CREATED:
            return Phase.STARTING, Reason.STARTING, ""
        case ContainerState.EXITED:
            code = f"exit code {seen.exit_code}" if seen.exit_code is not None else "its process ended"
            return Phase.FAILED, Reason.BACK_OFF if restarts > 1 else Reason.EXITED, code


def _departing(leaving: Leaving, order: Order, observed: Observed) -> InstanceReport:
    uid = leaving.removal.uid
    waits = is_needed(leaving, order, observed) or uid in observed.draining_since
    runs = any(c.state is ContainerState.RUNNING for c in observed.containers_of(uid))
    trouble = observed.trouble.get(str(leaving.removal.name))
    return InstanceReport(
        name=leaving.removal.name, uid=uid, phase=Phase.DELETING, healthy=False,
        reason=Reason.DRAINING if waits and runs else Reason.STOPPING, message=trouble.message if trouble else leaving.removal.reason.says,
    )  # fmt: skip


def _prefixes(order: Order, observed: Observed) -> tuple[PrefixReport, ...]:
    prefixes = {a.prefix for a in order.announcements} | {p for p, _ in exports_now(observed)}
    found = []
    for prefix in sorted(prefixes, key=lambda p: (p.version, str(p))):
        upstreams = tuple(sorted(upstream for p, upstream in observed.exported if p == prefix))
        reason, wants = reason_for(prefix, order, observed)
        found.append(PrefixReport(prefix=prefix, announced=bool(upstreams), upstreams=upstreams, reason=reason, wants_withdraw=wants))
    return tuple(found)
