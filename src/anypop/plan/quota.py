"""Quotas: how much an account or a stack may declare, and what a declaration takes of it.

In: declared workloads and a quota. Out: what they take, and each limit that would be exceeded, with the numbers. Pure;
whose quota holds and when it is asked is control's.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace

from anypop.model.errors import Problem
from anypop.model.workload import Workload
from anypop.plan.rooms import needs_of, volume_bytes

# Of an account to which the operator set no other limit: covering prefixes are few, and one workload takes a whole one.
LOCAL_ONLY_BY_DEFAULT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The most that may be declared; None: no limit, but for `local_only` of an account, which then has
    `LOCAL_ONLY_BY_DEFAULT`. CPU in thousandths of a core, memory in bytes. `stacks` is for accounts alone.
    """

    instances: int | None = None
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    anycast: int | None = None
    local_only: int | None = None
    volume_bytes: int | None = None
    addresses: int | None = None
    workloads: int | None = None
    stacks: int | None = None
    # of each credential of the account; None: the default
    requests_per_second: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is declared. Workloads that are being deleted do not count, but in `local_only`: the prefix is taken until
    they are gone.
    """

    instances: int = 0
    cpu_millis: int = 0
    memory_bytes: int = 0
    anycast: int = 0
    local_only: int = 0
    volume_bytes: int = 0
    addresses: int = 0
    workloads: int = 0
    stacks: int = 0


_WORDS = {
    "instances": ("instances", 1.0),
    "cpu_millis": ("CPUs", 1000.0),
    "memory_bytes": ("GiB of memory", float(1 << 30)),
    "anycast": ("anycast addresses", 1.0),
    "local_only": ("workloads with a covering prefix of their own (local only)", 1.0),
    "addresses": ("addresses that last (allocations, and claims without one)", 1.0),
    "volume_bytes": ("GiB of volumes", float(1 << 30)),
    "workloads": ("workloads", 1.0),
    "stacks": ("stacks", 1.0),
}
_WAYS_OUT = {
    "local_only": "; declare it without local only, delete another (it counts until it is gone), or let the operator "
    "raise the limit (anypop quota set --local-only)",
}


_OF_INSTANCES = ("instances", "cpu_millis", "memory_bytes", "volume_bytes")


def declared_count(workload: Workload) -> int:
    """How many instances a workload has at least."""
    return sum(target.replicas * len(set(target.cities)) for target in workload.targets)


def usage_of(
    workloads: Iterable[Workload], *, stacks: int = 0, count_of: Callable[[Workload], int] = declared_count
) -> Usage:
    """What these workloads take together. `count_of`: how many instances each has."""
    totals = dict.fromkeys((f.name for f in fields(Usage)), 0) | {"stacks": stacks}
    for workload in workloads:
        totals["local_only"] += workload.anycast and workload.local_only
        if workload.deleting:
            continue
        count = count_of(workload)
        needs = needs_of(workload)
        totals["instances"] += count
        totals["cpu_millis"] += count * needs.cpu_millis
        totals["memory_bytes"] += count * needs.memory_bytes
        totals["volume_bytes"] += count * volume_bytes(workload)
        totals["anycast"] += workload.anycast
        totals["workloads"] += 1
    return Usage(**totals)


def with_more(usage: Usage, workload: Workload, count: int) -> Usage:
    """The usage with so many more instances of a workload."""
    needs = needs_of(workload)
    return replace(
        usage,
        instances=usage.instances + count,
        cpu_millis=usage.cpu_millis + count * needs.cpu_millis,
        memory_bytes=usage.memory_bytes + count * needs.memory_bytes,
        volume_bytes=usage.volume_bytes + count * volume_bytes(workload),
    )


def counts_instances(quota: Quota) -> bool:
    """Whether it limits anything that an instance takes."""
    return any(getattr(quota, name) is not None for name in _OF_INSTANCES)


def room_for(workload: Workload, quota: Quota, usage: Usage) -> int | None:
    """How many more instances of a workload fit below a quota; None: any number."""
    one = with_more(Usage(), workload, 1)
    found = [
        max(0, limit - getattr(usage, name)) // need
        for name in _OF_INSTANCES
        if (limit := getattr(quota, name)) is not None and (need := getattr(one, name)) > 0
    ]
    return min(found, default=None)


def grows(quota: Quota, before: Usage, after: Usage) -> bool:
    """Whether more is taken of anything that has a limit. Asked of what was changed alone, it says whether all has to
    be counted.
    """
    return any(getattr(quota, name) is not None and getattr(after, name) > getattr(before, name) for name in _WORDS)


def excess(subject: str, quota: Quota, before: Usage, after: Usage) -> Iterator[Problem]:
    """Each limit of `subject` that `after` exceeds and that `before` did not exceed as far: what shrinks is never
    refused.
    """
    for name, (words, unit) in _WORDS.items():
        limit, was, now = getattr(quota, name), getattr(before, name), getattr(after, name)
        if limit is not None and now > limit and now > was:
            message = (
                f"{now / unit:g} {words} would be declared; the quota of {subject} is {limit / unit:g}, {was / unit:g} "
                f"are used{_WAYS_OUT.get(name, '')}"
            )
            yield Problem(path=subject, message=message)
