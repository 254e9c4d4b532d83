"""The book of volumes: which host has which, and what is to become of each.

In: a draft of control's state, after a plan or a report. Out: the draft with its volumes as they follow from where
instances live; what a host is told; how a volume is, in the API's word. A volume is doomed when its workload is deleted
and no instance of its slot is left, or when somebody lets it go; it stays in the book until its host reports it gone.
Pure.
"""

from collections.abc import Iterable
from dataclasses import replace

from anypop.control.state import State, VolumeKey
from anypop.model.names import HostName, WorkloadId
from anypop.model.report import Report
from anypop.model.table import with_entries, without_keys
from anypop.model.volume import Volume, VolumeOrder, VolumeRemoval, VolumeReport, class_named, volume_id


def with_volumes(draft: State, workloads: Iterable[WorkloadId], now: float) -> State:
    """After these workloads were planned: a volume for each claim of each instance where it lives, and those of a
    workload that is being deleted doomed once their instances are gone. What a smaller scale leaves behind stays.
    """
    known = {host.name for _, host in draft.network.hosts()}
    changed: dict[VolumeKey, Volume] = {}
    gone: list[VolumeKey] = []
    for workload in workloads:
        declared = draft.workloads.get(workload)
        if declared is None:
            continue
        lives = [p.incarnation for p in draft.incarnations_of(workload).values()]
        claims = {
            number: (draft.revision(workload, number) or declared.newest).workload.volumes
            for number in {life.revision for life in lives}
        }
        for life in lives:
            for claim in claims[life.revision]:
                key = life.host, volume_id(workload, life.name, claim.slug)
                there = changed.get(key) or draft.volumes.get(key)
                if there is None:
                    changed[key] = Volume(
                        id=key[1], host=life.host, pop=life.pop, workload_id=workload, stack_id=declared.stack_id,
                        instance=life.name, claim=claim.slug, size_bytes=claim.size_bytes,
                        storage_class=claim.storage_class, created_at=now,
                    )  # fmt: skip
                elif claim.size_bytes > there.size_bytes:
                    changed[key] = replace(there, size_bytes=claim.size_bytes)
        left = {i.name for i in lives} | {t.incarnation.name for t in draft.tombstones_of(workload).values()}
        for key, volume in draft.volumes_of(workload).items():
            dooms = declared.workload.deleting and volume.doomed_at is None and volume.instance not in left
            if dooms:
                changed[key] = replace(changed.get(key, volume), doomed_at=now)
            if (dooms or volume.doomed_at is not None) and volume.host not in known:
                gone.append(key)  # nobody is left who could say so
    if not changed and not gone:
        return draft
    return replace(draft, volumes=without_keys(with_entries(draft.volumes, changed), gone))


def with_told(state: State, report: Report) -> State:
    """After a host's report: volumes that are gone leave the book, those that are there are known to be made."""
    book = state.volumes_on(report.host)
    if not book:
        return state
    issued = state.orders.get(report.host)
    newest = issued is not None and report.generation >= issued.order.generation
    told, gone = {v.id: v for v in report.volumes}, set(report.volumes_gone)
    changed: dict[VolumeKey, Volume] = {}
    for key, volume in book.items():
        seen = told.get(volume.id)
        if volume.doomed_at is not None or seen is None:
            continue
        names = {s.name for s in seen.snapshots}
        dropped = tuple(n for n in volume.dropped if n in names or not newest)
        if not volume.made or dropped != volume.dropped:
            changed[key] = replace(volume, made=True, dropped=dropped)
    over = [key for key, v in book.items() if v.doomed_at is not None and v.id in gone and newest]
    if not changed and not over:
        return state
    return replace(state, volumes=without_keys(with_entries(state.volumes, changed), over))


def ordered(state: State, host: HostName) -> tuple[tuple[VolumeOrder, ...], tuple[VolumeRemoval, ...]]:
    """What a host is told of its volumes: those to keep, and the tokens of those to take away."""
    kept, removed = [], []
    for volume in sorted(state.volumes_on(host).values(), key=lambda v: v.id):
        of_class = class_named(state.network.instances.storage_classes, volume.storage_class)
        if of_class is None:
            continue  # where it lies nobody knows any more: neither kept nor taken away, and told as that
        if volume.doomed_at is not None:
            removed.append(VolumeRemoval(id=volume.id, path=of_class.path))
            continue
        kept.append(
            VolumeOrder(
                id=volume.id, workload_id=volume.workload_id, instance=volume.instance, claim=volume.claim,
                size_bytes=volume.size_bytes, path=of_class.path, made=volume.made, snapshots=volume.snapshots,
                dropped=volume.dropped, restore=volume.restore,
            )
        )  # fmt: skip
    return tuple(kept), tuple(removed)


def phase_of(volume: Volume, seen: VolumeReport | None) -> str:
    """The API's word: PENDING until its host has made it, BOUND while an instance has it, UNBOUND else."""
    if not volume.made and seen is None:
        return "PENDING"
    return "BOUND" if seen is not None and seen.mounted else "UNBOUND"


def phase_of_claim(state: State, workload: WorkloadId, claim: str) -> str:
    """Of a claim: as the volumes of all instances that live are, and PENDING where some are not made yet."""
    lives = {(p.incarnation.host, p.incarnation.name) for p in state.incarnations_of(workload).values()}
    book = [v for v in state.volumes_of(workload).values() if v.claim == claim and (v.host, v.instance) in lives]
    reports = {host: {v.id: v for v in r.report.volumes} for host, _ in lives if (r := state.reports.get(host))}
    phases = {phase_of(v, reports.get(v.host, {}).get(v.id)) for v in book}
    return next((phase for phase in ("PENDING", "UNBOUND", "BOUND") if phase in phases), "PENDING")
