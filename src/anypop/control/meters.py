"""What is metered: each instance that runs, each anycast address that is held, each prefix of one's own, each volume.

In: the state before a step, the draft of the next one, which hosts have reported. Out: the draft with the meters that
stand then. A meter begins when a host first tells that an instance runs, and ends when the instance is told to go: what
never ran costs nothing, and a slot whose instance is being replaced counts once. An address counts from the step in
which it is given to that in which it is released; a volume from when its host first tells that it is there until it is
told to go. Of an external address that is kept the time counts in which no instance has it, under its own id. Pure; the
store writes when each begins and ends. Its cost follows what changed.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from anypop.model.allocation import AddressClass, Allocation
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.report import Phase
from anypop.model.table import differing, grouped, with_entries, without_keys
from anypop.plan.price import amounts_of

if TYPE_CHECKING:
    from anypop.control.state import State
    from anypop.judge.verdict import Received

Item = Literal["instance", "anycast", "prefix", "volume", "address"]
MeterKey = tuple[WorkloadId, Item, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One that runs. `name`: of the instance; of a volume its id, host and storage class, with blanks between. The
    amounts are what an instance asks for, and `memory_bytes` the size of a volume; its price follows from them and the
    price book of each moment. `slug` is kept for when the workload is gone.
    """

    workload_id: WorkloadId
    stack_id: StackId
    account_id: str
    slug: str
    item: Item
    name: str = ""
    cpu_millis: int = 0
    memory_bytes: int = 0
    begun_at: float

    @property
    def key(self) -> MeterKey:
        return self.workload_id, self.item, self.name


_RUNNING = Phase.RUNNING  # asked of each instance of each report


def with_meters(before: "State", draft: "State", news: Collection[HostName], now: float, *, begins: bool) -> "State":
    """`begins`: control has just started, so everything is looked at once."""
    running = _Running(draft.reports)
    if begins:
        workloads = {*draft.workloads, *(key[0] for key in draft.meters), *map(WorkloadId, draft.allocations)}
    else:
        workloads = differing(before.anycast, draft.anycast) | set(_addresses_touched(before, draft))
        for uid in differing(before.incarnations, draft.incarnations):
            placed = draft.incarnations.get(uid) or before.incarnations[uid]
            workloads.add(placed.incarnation.workload_id)
        for key in differing(before.volumes, draft.volumes):
            workloads.add((draft.volumes.get(key) or before.volumes[key]).workload_id)
        earlier = _Running(before.reports)
        for uid in (uid for host in news for uid in running.on(host) - earlier.on(host)):
            if (known := draft.incarnations.get(uid)) is not None:
                workloads.add(known.incarnation.workload_id)
    begun: dict[MeterKey, Meter] = {}
    ended: list[MeterKey] = []
    for workload in workloads:
        have = grouped(draft.meters, "workload", workload)
        wanted = {meter.key: meter for meter in _wanted(draft, workload, have, running, now)}
        begun |= {key: meter for key, meter in wanted.items() if key not in have or have[key] != meter}
        ended += [key for key in have if key not in wanted]
    if not begun and not ended:
        return draft
    return replace(draft, meters=with_entries(without_keys(draft.meters, ended), begun))


class _Running:
    """The incarnations that a host last told to run."""

    def __init__(self, reports: Mapping[HostName, "Received"]) -> None:
        self._reports = reports
        self._found: dict[HostName, frozenset[str]] = {}

    def on(self, host: HostName) -> frozenset[str]:
        if host not in self._found:
            received = self._reports.get(host)
            told = received.report.instances if received is not None else ()
            self._found[host] = frozenset({i.uid for i in told if i.phase is _RUNNING})
        return self._found[host]


def is_idle(state: "State", allocation: Allocation) -> bool:
    """Whether an external address is kept that no instance has."""
    if allocation.place is None or allocation.spec.kind is not AddressClass.UNICAST:
        return False
    claims = grouped(state.claims, "allocation", allocation.id).values()
    return all(claim.holder is None for claim in claims)


def _addresses_touched(before: "State", draft: "State") -> Iterable[WorkloadId]:
    yield from map(WorkloadId, differing(before.allocations, draft.allocations))
    for key in differing(before.claims, draft.claims):
        for state in (before, draft):
            if (claim := state.claims.get(key)) is not None and claim.allocation_id:
                yield WorkloadId(claim.allocation_id)


def _wanted(
    draft: "State", workload: WorkloadId, have: Mapping[MeterKey, Meter], running: _Running, now: float
) -> Iterable[Meter]:
    if (allocation := draft.allocations.get(workload)) is not None:
        if is_idle(draft, allocation):
            yield have.get((workload, "address", "")) or Meter(
                workload_id=workload, stack_id=allocation.stack_id, account_id=allocation.account_id,
                slug=allocation.slug, item="address", begun_at=now,
            )  # fmt: skip
        return
    declared = draft.workloads.get(workload)
    if declared is None:
        return
    about = declared.workload
    plain = Meter(
        workload_id=workload, stack_id=about.stack_id, account_id=about.account_id, slug=about.slug, item="instance",
        begun_at=now,
    )  # fmt: skip
    newest: dict[str, int] = {}
    amounts: dict[str, tuple[int, int]] = {}
    slots = set()
    for uid, placed in draft.incarnations_of(workload).items():
        life = placed.incarnation
        slots.add(life.name)
        if uid in running.on(life.host) and life.life >= newest.get(life.name, 0):
            newest[life.name] = life.life
            amounts[life.name] = amounts_of((draft.revision(workload, life.revision) or declared.newest).workload)
    for name in sorted(slots):
        standing = have.get((workload, "instance", name))
        if name in amounts:
            cpu, memory = amounts[name]
            if standing is not None and (standing.cpu_millis, standing.memory_bytes) == (cpu, memory):
                yield standing
            else:
                yield replace(plain, name=name, cpu_millis=cpu, memory_bytes=memory)
        elif standing is not None:
            yield standing  # its instance is on its way: the slot is kept for it
    for volume in draft.volumes_of(workload).values():
        if volume.made and volume.doomed_at is None:
            wanted = replace(
                plain, item="volume", memory_bytes=volume.size_bytes,
                name=f"{volume.id} {volume.host} {volume.storage_class}",
            )  # fmt: skip
            standing = have.get(wanted.key)
            yield standing if standing is not None and standing.memory_bytes == volume.size_bytes else wanted
    if workload in draft.anycast:
        yield have.get((workload, "anycast", "")) or replace(plain, item="anycast")
        if about.local_only:
            yield have.get((workload, "prefix", "")) or replace(plain, item="prefix")
