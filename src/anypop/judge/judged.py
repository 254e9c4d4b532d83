"""A judgement as it is kept to be made again: what everyone reads of it, and what the judge remembers piece by piece.

In: what `rejudge` has worked out. Out: verdicts by host, prefix and workload in tables that know what differs; the
judge's memory, of which control stores the pieces that change; and what a plan must answer to be judged by
(`Standing`). It decides nothing. Pure.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, get_origin

from anypop.judge.memory import Bad, History, Leave
from anypop.judge.verdict import FRESH_S, Silent, answering
from anypop.model.announce import Address, Prefix
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.order import Grant
from anypop.model.plan import Homes, HostPlan, HostVerdict, PrefixVerdict
from anypop.model.table import Table

Gates = Mapping[Prefix, frozenset[WorkloadId]]

_PARTS = 8  # of a second: a group of hosts that reported together stays small on a platform of a thousand
_BY_SECOND: Mapping[str, Any] = {"second": lambda _, at: int(at * _PARTS) / _PARTS}
_BY_HOST: Mapping[str, Any] = {"host": lambda key, _: key[0]}


class Standing(Protocol):
    """A plan as the judge asks for it."""

    @property
    def hosts(self) -> Mapping[HostName, HostPlan]: ...
    @property
    def covering(self) -> Collection[Prefix]: ...
    def homes_of(self, workload: WorkloadId) -> Homes: ...
    def lives_on(self, host: HostName) -> Mapping[str, WorkloadId]: ...
    def owner_of(self, address: Address) -> WorkloadId | None: ...
    def tellers(self, prefix: Prefix) -> Collection[HostName]: ...
    def has_address(self, workload: WorkloadId) -> bool: ...
    def prefixes_of(self, workload: WorkloadId) -> Collection[Prefix]: ...
    @property
    def carried(self) -> frozenset[Prefix]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixMemory:
    """What is remembered of one prefix; see `History`."""

    leaves: tuple[Leave, ...] = ()
    good: tuple[HostName, ...] = ()
    bad: tuple[Bad, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.leaves or self.good or self.bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadMemory:
    """What is remembered of one workload; see `History`. `nowhere`: since when it works in none of its PoPs; `mute`:
    since when in which family. Bounded by the PoPs where it stands, and forgotten with it.
    """

    served: frozenset[CityCode] = frozenset()
    unserved: tuple[tuple[CityCode, float], ...] = ()
    nowhere: float | None = None
    spoke: frozenset[int] = frozenset()
    mute: tuple[tuple[int, float], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.served or self.unserved or self.spoke or self.mute) or self.nowhere is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The judge's memory, piece by piece. Control stores the pieces that change, hands them back and never looks
    inside.
    """

    prefixes: Table[Prefix, PrefixMemory] = field(default_factory=Table)
    workloads: Table[WorkloadId, WorkloadMemory] = field(default_factory=Table)

    def settled(self) -> "Memory":
        return Memory(prefixes=self.prefixes.settled(), workloads=self.workloads.settled())

    def whole(self) -> History:
        """All of it, as the judge keeps it; each part sorted."""
        pieces = [self.prefixes[p] for p in sorted(self.prefixes, key=order_of)]
        return History(
            leaves=tuple(leave for piece in pieces for leave in sorted(piece.leaves, key=lambda v: v.host)),
            good=tuple((host, p) for p in sorted(self.prefixes, key=order_of) for host in self.prefixes[p].good),
            bad=tuple(bad for piece in pieces for bad in piece.bad),
            served=tuple(sorted((city, w) for w, piece in self.workloads.items() for city in piece.served)),
            unserved=tuple(
                sorted((city, w, since) for w, piece in self.workloads.items() for city, since in piece.unserved)
            ),
            nowhere=tuple(
                sorted((w, piece.nowhere) for w, piece in self.workloads.items() if piece.nowhere is not None)
            ),
            spoke=tuple(sorted((w, version) for w, piece in self.workloads.items() for version in piece.spoke)),
            mute=tuple(sorted((w, version, at) for w, piece in self.workloads.items() for version, at in piece.mute)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a fresh report says that the judge asks for: of the anycast prefixes that its host is to announce (`told`:
    all that it speaks of; `shut`: what it neither serves nor carries of each), and of its instances.
    """

    announcing: frozenset[Prefix]
    wanting: frozenset[Prefix]
    vacant: frozenset[Prefix]
    healthy: frozenset[WorkloadId]
    obeyed: int
    silent: Silent = frozenset()
    told: frozenset[Prefix] = frozenset()
    shut: frozenset[tuple[Prefix, Address]] = frozenset()


def well_at(view: View, prefix: Prefix, gates: Gates, plan: Standing) -> frozenset[WorkloadId]:
    """Who is well at a host, as far as a prefix is concerned: see the judge. `gates`: of that host."""
    if prefix not in plan.carried:
        return answering(view.healthy, view.silent, prefix.version)
    if prefix not in view.told:
        return frozenset()
    shut = {plan.owner_of(address) for told, address in view.shut if told == prefix}
    return gates.get(prefix, frozenset()) - shut


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A judgement that can be made again. `hosts`, `prefixes`, `idle`, `newcomers`, `late` and `mute` are for everyone
    to read (see `Verdict`); the rest is what judging keeps.

    `fresh` and `silent`: when the last report of each host came, by whether it may be believed. `due`: prefixes and
    workloads of which something else is to be said later although nothing happens, and when. `pending`: prefixes of
    which this judgement remembered something anew. `carried`: the prefixes that were carried when it was made;
    `asking`: those of them that some host wants to withdraw, so that what the others say next counts.
    """

    hosts: Table[HostName, HostVerdict] = field(default_factory=Table)
    prefixes: Table[Prefix, PrefixVerdict] = field(default_factory=Table)
    idle: Table[WorkloadId, None] = field(default_factory=Table)
    newcomers: Table[WorkloadId, frozenset[CityCode]] = field(default_factory=Table)
    late: Table[WorkloadId, frozenset[CityCode]] = field(default_factory=Table)
    mute: Table[WorkloadId, frozenset[int]] = field(default_factory=Table)
    fresh: Table[HostName, float] = field(default_factory=lambda: Table({}, _BY_SECOND))
    silent: Table[HostName, float] = field(default_factory=Table)
    gates: Table[HostName, Gates] = field(default_factory=Table)
    views: Table[HostName, View] = field(default_factory=Table)
    grants: Table[Prefix, Mapping[HostName, Grant]] = field(default_factory=Table)
    leaving: Table[tuple[HostName, Prefix], None] = field(default_factory=lambda: Table({}, _BY_HOST))
    due: Table[Prefix | WorkloadId, float] = field(default_factory=lambda: Table({}, _BY_SECOND))
    pending: frozenset[Prefix] = frozenset()
    carried: frozenset[Prefix] = frozenset()
    asking: frozenset[Prefix] = frozenset()

    def settled(self) -> "Judged":
        """The same judgement as the beginning of the next step: see `Table.settled`."""
        touched: dict[str, Any] = {
            name: table.settled() for name in _TABLES if (table := getattr(self, name)).is_touched
        }
        return replace(self, **touched) if touched else self

    def next_stale(self) -> float | None:
        """The moment after which the next report may no longer be believed."""
        first = min(self.fresh.group_names("second"), default=None)
        return None if first is None else min(self.fresh.group("second", first).values()) + FRESH_S


_TABLES = tuple(f.name for f in fields(Judged) if get_origin(f.type) is Table)


def order_of(prefix: Prefix) -> tuple[int, Prefix]:
    """IPv4 first."""
    return prefix.version, prefix
