"""What stacks have used and what it cost in a span of time, kept up while it lasts: what has changed is summed anew.

In: control's state, the meters' rows in the store, the time. Out: sums by workload and PoP, and which workloads cost
most. Of each stack that somebody has asked about its sums are held, beside the meters that they were made of; where
those of a workload are others now, its rows are read again and its part of the sums is replaced. As sums are exact,
that is what adding up everything gives. A span that is over, as last month, is added up whenever it is asked for.
Nothing is written.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from functools import partial
from heapq import nsmallest
from threading import Lock

from anypop.control.costs import EXACT, Books, PopOf, Sums, WorkloadSums, put_in, summed, take_out, total
from anypop.control.meters import Meter, MeterKey
from anypop.control.state import State
from anypop.control.usage import Metering, Period, cut
from anypop.model.allocation import Allocation
from anypop.model.table import differing
from anypop.plan.price import PriceBook

_MANY = 500  # workloads: where so many have changed, a whole stack is read as quickly
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`until`: the moment that figures are to be made for. `count`: of workloads, `workloads` those that were asked
    for.
    """

    until: float
    pops: Mapping[str | None, Sums]
    count: int
    workloads: list[WorkloadSums]


@dataclass(slots=True, kw_only=True)
class _Stack:
    """Of one. `meters`, `allocations`: those that the sums were made of; `unsure`: workloads some of whose moments were
    not past then.
    """

    meters: Mapping[MeterKey, Meter] = field(default_factory=dict)
    allocations: Mapping[str, Allocation] = field(default_factory=dict)
    workloads: dict[str, WorkloadSums] = field(default_factory=dict)
    pops: dict[str | None, Sums] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)

    def replace(self, gone: Iterable[str], new: Iterable[WorkloadSums]) -> None:
        with localcontext(EXACT):
            for name in gone:
                if (old := self.workloads.pop(name, None)) is not None:
                    for pop, sums in old.pops.items():
                        take_out(self.pops[pop], sums)
                        if not self.pops[pop]:
                            del self.pops[pop]
            for one in new:
                self.workloads[one.workload_id] = one
                for pop, sums in one.pops.items():
                    put_in(self.pops.setdefault(pop, {}), sums)


class KeptSums:
    """See the module. One span is kept: the one that was asked for last. `clock`: seconds since the epoch; `by_pop`
    False: all of a workload is one sum, of no PoP. Blocking; any thread may ask. Raises `WorldError`.
    """

    def __init__(self, metering: Metering, clock: Callable[[], float], *, by_pop: bool = True) -> None:
        self._metering, self._clock, self._by_pop = metering, clock, by_pop
        self._lock = Lock()
        self._stacks: dict[str, _Stack] = {}
        self._read_at = 0.0
        self._made_for: tuple[float, Books, Mapping[str, str]] = (0.0, (), {})

    def told(
        self, state: State, stacks: Collection[str], *, since: float, ends: float, fallback: PriceBook, dearest: int = 0
    ) -> Told:
        """Of the time from `since` to `ends`. `dearest`: of so many workloads; 0: of all. `fallback`: the book where
        none was ever written down.
        """
        if self._clock() >= ends:
            return _told(self._over(state, stacks, since, ends, fallback), ends, dearest)
        with self._lock:
            now = min(self._clock(), ends)
            books, cities = self._metering.books(fallback), self._cities(state)
            # the clock was set back, or was so when the newest book came into force
            if now < self._read_at or books[-1][0] >= self._read_at or self._made_for != (since, books, cities):
                self._stacks.clear()
            self._read_at, self._made_for = now, (since, books, cities)
            for stack in stacks:
                self._keep_up(state, stack, now, ends)
            return _told([self._stacks[stack] for stack in stacks], now, dearest)

    def _keep_up(self, state: State, name: str, now: float, ends: float) -> None:
        since, books, cities = self._made_for
        kept = self._stacks.get(name)
        touched: set[str] | None = None
        if kept is not None:
            touched = {*kept.unsure, *(key[0] for key in differing(kept.meters, state.meters))}
            touched |= {str(one) for one in differing(kept.allocations, state.allocations)}
        if kept is None or touched is None or len(touched) > _MANY:
            kept, touched = _Stack(), None
        if touched is None or touched:
            rows = self._metering.rows(stack=name, since=since, workloads=touched)
            periods = [cut(row, since=since, until=now) for row in rows if row["begun_at"] < now]
            pop_of = self._pop_of(state, cities)
            kept.replace(touched or (), summed(periods, books, ends=ends, goes_on=True, pop_of=pop_of))
            kept.unsure = {
                r["workload_id"] for r in rows if max(r["begun_at"], since) >= now or (r["ended_at"] or 0.0) > now
            }
        kept.meters, kept.allocations = state.meters, state.allocations
        self._stacks[name] = kept

    def _over(
        self, state: State, stacks: Collection[str], since: float, ends: float, fallback: PriceBook
    ) -> list[_Stack]:
        periods, books = self._metering.periods(stacks=stacks, since=since, until=ends, fallback=fallback)
        whole = _Stack()
        pop_of = self._pop_of(state, self._cities(state))
        whole.replace((), summed(periods, books, ends=ends, goes_on=False, pop_of=pop_of))
        return [whole]

    def _cities(self, state: State) -> dict[str, str]:
        """Of each host."""
        return {str(host.name): str(pop.city) for pop, host in state.network.hosts()} if self._by_pop else {}

    def _pop_of(self, state: State, cities: Mapping[str, str]) -> PopOf:
        return partial(_pop_of, state, cities) if self._by_pop else lambda _: None


def _told(stacks: list[_Stack], until: float, dearest: int) -> Told:
    pops = {pop: total(s.pops[pop] for s in stacks if pop in s.pops) for pop in {p for s in stacks for p in s.pops}}
    every = [one for stack in stacks for one in stack.workloads.values()]
    if not dearest:
        every.sort(key=lambda one: (one.stack_id, one.slug, one.workload_id))
        return Told(until=until, pops=pops, count=len(every), workloads=every)
    whole: dict[str, Decimal] = {}
    with localcontext(EXACT):
        for one in every:
            for currency, amount in one.whole.items():
                whole[currency] = whole.get(currency, _NOTHING) + amount
        most = max(sorted(whole), key=lambda currency: whole[currency], default="")  # in which most is paid
        shown = nsmallest(
            dearest, every, key=lambda one: (-one.whole.get(most, _NOTHING), one.stack_id, one.slug, one.workload_id)
        )
    return Told(until=until, pops=pops, count=len(every), workloads=shown)


def _pop_of(state: State, cities: Mapping[str, str], one: Period) -> str | None:
    """Where it is, by its name: of an instance its city, of a volume its host's."""
    match one.item:
        case "instance":
            parts = one.name.rsplit("-", 2)
            return parts[1].upper() if len(parts) == 3 else None
        case "volume":
            return cities.get(one.name.split(" ")[1])
        case "address":
            kept = state.allocations.get(one.workload_id)
            return cities.get(kept.place.host) if kept is not None and kept.place is not None else None
    return None
