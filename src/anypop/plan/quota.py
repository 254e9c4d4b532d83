"""Quotas: how much an account or a stack may declare, and what a declaration takes of it.

In: declared workloads and a quota. Out: what they take, and each limit that would be exceeded, with the numbers. Pure;
whose quota holds and when it is asked is control's.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace

from anypop.model.errors import Problem
from anypop.model.workload import Workload
from anypop.plan.life import at_most, taken
from anypop.plan.rooms import volume_bytes

# Of an account to which the operator set no other limit: covering prefixes are few, and one workload takes a whole one.
LOCAL_ONLY_BY_DEFAULT = 1
# The same of images of virtual machines: control keeps them on its own disk.
IMAGE_BYTES_BY_DEFAULT = 64 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The most that may be declared; None: no limit, but for `local_only` and `image_bytes` of an account, which
    then have `..._BY_DEFAULT`. CPU in thousandths of a core, memory in bytes. `cpu_millis` and `memory_bytes`: what
    instances are sure of (requests); `..._limit_...`: up to what they may go (limits), all together, and one alone.
    `stacks` is for accounts alone.
    """

    instances: int | None = None
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    cpu_limit_millis: int | None = None
    memory_limit_bytes: int | None = None
    instance_cpu_limit_millis: int | None = None
    instance_memory_limit_bytes: int | None = None
    anycast: int | None = None
    local_only: int | None = None
    volume_bytes: int | None = None
    image_bytes: int | None = None
    addresses: int | None = None
    workloads: int | None = None
    stacks: int | None = None
    # of each credential of the account; None: the default
    requests_per_second: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is declared. Workloads that are being deleted do not count, but in `local_only`: the prefix is taken until
    they are gone. `instance_...`: of the instance that may go furthest. `image_bytes` is counted by
    `control.machine_images`, and 0 elsewhere.
    """

    instances: int = 0
    cpu_millis: int = 0
    memory_bytes: int = 0
    cpu_limit_millis: int = 0
    memory_limit_bytes: int = 0
    instance_cpu_limit_millis: int = 0
    instance_memory_limit_bytes: int = 0
    anycast: int = 0
    local_only: int = 0
    volume_bytes: int = 0
    image_bytes: int = 0
    addresses: int = 0
    workloads: int = 0
    stacks: int = 0


_WORDS = {
    "instances": ("instances", 1.0),
    "cpu_millis": ("CPUs", 1000.0),
    "memory_bytes": ("GiB of memory", float(1 << 30)),
    "cpu_limit_millis": ("CPUs as the limits of all instances", 1000.0),
    "memory_limit_bytes": ("GiB of memory as the limits of all instances", float(1 << 30)),
    "instance_cpu_limit_millis": ("CPUs as the limit of one instance", 1000.0),
    "instance_memory_limit_bytes": ("GiB of memory as the limit of one instance", float(1 << 30)),
    "anycast": ("anycast addresses", 1.0),
    "local_only": ("workloads with a covering prefix of their own (local only)", 1.0),
    "addresses": ("addresses that last (allocations, and claims without one)", 1.0),
    "volume_bytes": ("GiB of volumes", float(1 << 30)),
    "image_bytes": ("GiB of images of virtual machines", float(1 << 30)),
    "workloads": ("workloads", 1.0),
    "stacks": ("stacks", 1.0),
}
_WAYS_OUT = {
    "local_only": "; declare it without local only, delete another (it counts until it is gone), or let the operator "
    "raise the limit (anypop quota set --local-only)",
}


_OF_INSTANCES = (
    "instances", "cpu_millis", "memory_bytes", "cpu_limit_millis", "memory_limit_bytes", "volume_bytes",
)  # fmt: skip
_OF_ONE = ("instance_cpu_limit_millis", "instance_memory_limit_bytes")


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
        for name, one in _of_one(workload).items():
            totals[name] = max(totals[name], one) if name in _OF_ONE else totals[name] + count * one
        totals["anycast"] += workload.anycast
        totals["workloads"] += 1
    return Usage(**totals)


def with_more(usage: Usage, workload: Workload, count: int) -> Usage:
    """The usage with so many more instances of a workload."""
    one = _of_one(workload)
    return replace(usage, **{name: getattr(usage, name) + count * one[name] for name in _OF_INSTANCES})


def _of_one(workload: Workload) -> dict[str, int]:
    """What one instance takes, and up to what it may go."""
    (own_cpu, own_memory), (cpu, memory) = taken(workload), at_most(workload)
    return {
        "instances": 1,
        "cpu_millis": own_cpu,
        "memory_bytes": own_memory,
        "cpu_limit_millis": cpu,
        "memory_limit_bytes": memory,
        "instance_cpu_limit_millis": cpu,
        "instance_memory_limit_bytes": memory,
        "volume_bytes": volume_bytes(workload),
    }


def with_ones_of(usage: Usage, changed: Usage) -> Usage:
    """The usage, with single instances as they are among those workloads that a change touches: who has been above a
    limit for long is no reason to let in somebody else.
    """
    return replace(usage, **{name: getattr(changed, name) for name in _OF_ONE})


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
