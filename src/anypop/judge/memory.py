"""What the judge remembers between two judgements: leaves given, and since when what is bad.

In: the memory, and how things stand now. Out: the new memory. Control stores it beside its orders, hands it back and
never looks inside: a leave that was forgotten could be given twice.
"""

from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass

from anypop.model.announce import Prefix
from anypop.model.names import CityCode, HostName, WorkloadId

Where = tuple[HostName, Prefix]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """A leave to withdraw that is out. `revoked_after`: the newest order that may still hold it; it counts until its
    host obeys a newer one. None: it still stands.
    """

    host: HostName
    prefix: Prefix
    revoked_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A host that announced a prefix in good health and does so no longer, `since` (control's clock, seconds)."""

    host: HostName
    prefix: Prefix
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The judge's memory. `good`: hosts that announced the prefix in good health when last looked at. `served`:
    workloads that have been healthy in a PoP since they have an anycast address, for as long as they stand there.
    `unserved`: those of which a PoP has told, never as healthy, and since when. `nowhere`: those that work in none of
    their PoPs, and since when (control's clock, seconds). `spoke`: in which families they have answered anywhere;
    `mute`: in which they answer nowhere although they work, and since when.
    """

    leaves: tuple[Leave, ...] = ()
    good: tuple[tuple[HostName, Prefix], ...] = ()
    bad: tuple[Bad, ...] = ()
    served: tuple[tuple[CityCode, WorkloadId], ...] = ()
    unserved: tuple[tuple[CityCode, WorkloadId, float], ...] = ()
    nowhere: tuple[tuple[WorkloadId, float], ...] = ()
    spoke: tuple[tuple[WorkloadId, int], ...] = ()
    mute: tuple[tuple[WorkloadId, int, float], ...] = ()


def still_out(
    leaves: tuple[Leave, ...],
    *,
    recovered: Callable[[Where], bool],
    obeyed: Mapping[HostName, int],
    generations: Mapping[HostName, int],
) -> tuple[Leave, ...]:
    """Leaves after a look at the reports: one is revoked when its host has recovered (or is no longer entitled), and
    gone when the host says that it obeys an order made after that. `obeyed`: generations in fresh reports.
    """
    kept = []
    for leave in leaves:
        where = (leave.host, leave.prefix)
        if leave.revoked_after is None:
            revoked_after = generations.get(leave.host, 0) if recovered(where) else None
            kept.append(Leave(host=leave.host, prefix=leave.prefix, revoked_after=revoked_after))
        elif obeyed.get(leave.host, 0) <= leave.revoked_after:
            kept.append(leave)
    return tuple(kept)


def turned(history: History, *, good: Set[Where], entitled: Collection[Where], now: float) -> tuple[Bad, ...]:
    """What is bad after having been good, with the moment it turned, in the order of `entitled`. What is no longer
    entitled is not bad, it is over.
    """
    since = {(b.host, b.prefix): b.since for b in history.bad}
    fallen = (set(history.good) | since.keys()) - good
    return (
        tuple(Bad(host=w[0], prefix=w[1], since=since.get(w, now)) for w in entitled if w in fallen) if fallen else ()
    )
