"""Judging again, only what changed: the same verdict as `verdict.judge` gives, at the cost of the difference.

In: the judgement and the memory that stand, the plan as it is now, which hosts have reported anew, and the time.
Out: both as they are now. It repeats for the hosts, prefixes and workloads concerned what the judge does for all,
with the judge's own functions; a property test holds the two equal over random histories. Pure. What a judgement
itself remembers anew is looked at once more by the next one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from anypop.judge.judged import (
    Gates,
    Judged,
    Memory,
    PrefixMemory,
    Standing,
    View,
    WorkloadMemory,
    order_of,
    well_at,
)
from anypop.judge.memory import Bad, Leave, still_out
from anypop.judge.verdict import (
    CARRY_PATIENCE_S,
    FRESH_S,
    START_GRACE_S,
    WINDOW_S,
    Received,
    cause,
    is_fresh,
    is_heard,
    judge_prefix,
    silent_in,
    silent_nowhere,
    speaking,
    why,
)
from anypop.model.announce import Address, Mode, Prefix
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.order import Grant
from anypop.model.plan import HostVerdict
from anypop.model.report import Report
from anypop.model.table import differing

_MARGIN_S = 0.001  # what is looked at too early is looked at once more; too late would be wrong


def listened(before: Judged, reports: Mapping[HostName, Received], news: Iterable[HostName], now: float) -> Judged:
    """The judgement after `news`: the hosts whose last report is another one, or none any more. Only who may be
    believed is looked at.
    """
    fresh, silent = before.fresh, before.silent
    came = {host: received.at for host in news if (received := reports.get(host)) is not None}
    lost = [host for host in news if host not in reports]
    fresh, silent = fresh.put(came).drop(lost), silent.drop((*came, *lost))
    over = [
        host
        for second in fresh.group_names("second")
        if second <= now - FRESH_S
        for host in fresh.group("second", second)
        if not is_fresh(reports[host], now)
    ]
    silent, fresh = silent.put({host: fresh[host] for host in over}), fresh.drop(over)
    return replace(before, fresh=fresh, silent=silent)


def rejudge(
    before: Judged,
    heard: Judged,
    memory: Memory,
    plan: Standing,
    reports: Mapping[HostName, Received],
    *,
    news: Iterable[HostName],
    hosts: Iterable[HostName],
    workloads: Iterable[WorkloadId],
    generation_of: Callable[[HostName], int],
    now: float,
) -> tuple[Judged, Memory]:
    """`heard`: `before`, after it `listened` to `news`. `hosts` and `workloads`: of which the plan has changed; all of
    them where there was no judgement before. `generation_of`: the newest order made for a host, sent or not.
    """
    again = _Rejudging(before, heard, memory, plan, reports=reports, now=now)
    turned = differing(before.fresh, heard.fresh)
    turned = {host for host in turned if (host in before.fresh) != (host in heard.fresh)}
    again.look(hosts={*hosts}, reported={*news, *turned}, turned=turned)
    again.workloads_of({*workloads})
    again.prefixes_of(generation_of)
    again.hosts_of({*hosts, *news, *turned})
    return again.result()


class _Rejudging:
    """One judgement in the making."""

    def __init__(
        self,
        before: Judged,
        heard: Judged,
        memory: Memory,
        plan: Standing,
        *,
        reports: Mapping[HostName, Received],
        now: float,
    ) -> None:
        self.before = before
        self.heard = heard
        self.memory = memory
        self.plan = plan
        self.reports = reports
        self.now = now
        self.dirty_prefixes: set[Prefix] = set(before.pending | (before.carried ^ plan.carried))
        self.dirty_workloads: set[WorkloadId] = set()
        # whose gates are, by their identity: hosts that announce the same prefix wait for the same ones
        self.owners: dict[int, tuple[tuple[Address, ...], frozenset[WorkloadId]]] = {}
        for second in before.due.group_names("second"):
            if second <= now + _MARGIN_S:
                for what, at in before.due.group("second", second).items():
                    if at <= now + _MARGIN_S:
                        self._mark(what)

    def _mark(self, what: Prefix | WorkloadId) -> None:
        if isinstance(what, str):
            self.dirty_workloads.add(what)
        else:
            self.dirty_prefixes.add(what)

    def look(self, *, hosts: set[HostName], reported: set[HostName], turned: set[HostName]) -> None:
        """What the plan wants of these hosts, and what their reports say; and what is to be judged again for it."""
        gates: dict[HostName, Gates] = {}
        if not self.before.hosts:
            self.dirty_prefixes |= self.memory.prefixes.keys()
            self.dirty_workloads |= self.memory.workloads.keys()
        for host in hosts:
            if host not in self.plan.hosts:
                self.dirty_prefixes |= {prefix for _, prefix in self.before.leaving.group("host", host)}
            gates[host] = self._gates(host)
            was = self.before.gates.get(host, {})
            self.dirty_prefixes |= {p for p in {*was, *gates[host]} if was.get(p) != gates[host].get(p)}
        self.gates = self.before.gates.put({h: g for h, g in gates.items() if g}).drop(
            [h for h, g in gates.items() if not g]
        )
        views: dict[HostName, View] = {}
        gone: list[HostName] = []
        for host in hosts | reported:
            seen = self._view(host) if host in self.heard.fresh and host in self.plan.hosts else None
            known = self.before.views.get(host)
            if seen is None:
                gone.append(host)
            else:
                views[host] = seen
            self._compare(host, known, seen)
            # what it can carry, and since when it has said so, matters only while somebody asks
            self.dirty_prefixes |= self.before.asking & {*self.gates.get(host, {})}
            if host in turned:
                self.dirty_workloads |= {*self.plan.lives_on(host).values()}
        self.views = self.before.views.put(views).drop(gone)

    def _compare(self, host: HostName, was: View | None, now: View | None) -> None:
        nothing = View(announcing=frozenset(), wanting=frozenset(), vacant=frozenset(), healthy=frozenset(), obeyed=0)
        old, new = was or nothing, now or nothing
        if old == new:
            return
        self.dirty_prefixes |= (old.announcing ^ new.announcing) | (old.wanting ^ new.wanting)
        self.dirty_prefixes |= old.vacant ^ new.vacant
        flipped = old.healthy ^ new.healthy
        self.dirty_workloads |= flipped
        hushed = {workload for workload, _ in old.silent ^ new.silent}
        self.dirty_workloads |= hushed
        flipped |= hushed
        if flipped:
            self.dirty_prefixes |= {p for p, gates in self.gates.get(host, {}).items() if gates & flipped}
        if old.obeyed != new.obeyed:
            self.dirty_prefixes |= {prefix for _, prefix in self.before.leaving.group("host", host)}

    def _gates(self, host: HostName) -> Gates:
        """The anycast prefixes that a host is to announce, and whose addresses each holds there."""
        found: dict[Prefix, frozenset[WorkloadId]] = {}
        part = self.plan.hosts.get(host)
        for told in part.announcements if part is not None else ():
            if told.scope.mode is Mode.ANNOUNCE and told.prefix not in found and told.prefix in self.plan.covering:
                known = self.owners.get(id(told.gates))
                if known is None:
                    owners = (self.plan.owner_of(gate) for gate in told.gates)
                    whose = frozenset(owner for owner in owners if owner is not None)
                    known = self.owners[id(told.gates)] = told.gates, whose
                found[told.prefix] = known[1]
        return found

    def _view(self, host: HostName) -> View:
        report: Report = self.reports[host].report
        entitled = self.gates.get(host, {})
        told = {p.prefix: p for p in report.prefixes if p.prefix in entitled}
        lives = self.plan.lives_on(host)
        return View(
            announcing=frozenset(prefix for prefix, p in told.items() if is_heard(p, report)),
            wanting=frozenset(prefix for prefix, p in told.items() if p.wants_withdraw),
            vacant=frozenset(prefix for prefix, p in told.items() if p.wants_withdraw and p.vacant),
            healthy=frozenset(lives[i.uid] for i in report.instances if i.healthy and i.uid in lives),
            obeyed=report.generation,
            silent=silent_in(report, lives),
            told=frozenset(told) & self.plan.carried,
            shut=frozenset((prefix, a) for prefix, p in told.items() for a in p.shut),
        )

    def workloads_of(self, planned: set[WorkloadId]) -> None:
        """Who has worked where, and who works nowhere."""
        memories: dict[WorkloadId, WorkloadMemory] = {}
        idle: dict[WorkloadId, None] = {}
        newcomers: dict[WorkloadId, frozenset[CityCode]] = {}
        late: dict[WorkloadId, frozenset[CityCode]] = {}
        mute: dict[WorkloadId, frozenset[int]] = {}
        self.due = self.before.due
        due: dict[Prefix | WorkloadId, float] = {}
        dirty = self.dirty_workloads | planned
        for workload in dirty:
            was = self.memory.workloads.get(workload, _NOTHING)
            homes = self.plan.homes_of(workload)
            heard = [host for host in homes.hosts if host in self.views]
            well = [host for host in heard if workload in self.views[host].healthy]
            stands = homes.pops if self.plan.has_address(workload) else frozenset()
            served = stands & (was.served | {self.plan.hosts[host].pop for host in well})
            known, told = dict(was.unserved), {self.plan.hosts[host].pop for host in heard}
            unserved = {pop: known.get(pop, self.now) for pop in stands - served if pop in known or pop in told}
            nowhere = None
            if homes.hosts and not well and (was.nowhere is not None or len(heard) == len(homes.hosts)):
                nowhere = was.nowhere if was.nowhere is not None else self.now
            if served != was.served:
                self.dirty_prefixes |= {
                    p for host in homes.hosts for p, gates in self.gates.get(host, {}).items() if workload in gates
                }
                self.dirty_prefixes |= self.plan.carried & {*self.plan.prefixes_of(workload)}
            spoke, silent = speaking(
                was.spoke,
                dict(was.mute),
                [self.views[host].silent for host in well],
                workload=workload,
                stands=bool(stands),
                all_heard=len(heard) == len(homes.hosts),
                now=self.now,
            )
            if (nowhere is None) != (was.nowhere is None) or silent.keys() != dict(was.mute).keys():
                self.dirty_prefixes |= self.plan.carried & {*self.plan.prefixes_of(workload)}
            memories[workload] = WorkloadMemory(
                served=served, unserved=tuple(sorted(unserved.items())), nowhere=nowhere,
                spoke=spoke, mute=tuple(sorted(silent.items())),
            )  # fmt: skip
            if quiet := silent_nowhere(served=bool(served), spoke=spoke, mute=silent.items(), now=self.now):
                mute[workload] = quiet
            if nowhere is not None and self.now - nowhere > START_GRACE_S:
                idle[workload] = None
            if stands - served:
                newcomers[workload] = stands - served
            if over := frozenset(pop for pop, since in unserved.items() if self.now - since > START_GRACE_S):
                late[workload] = over
            begun = (*unserved.values(), *silent.values(), *([nowhere] if nowhere is not None else []))
            if waits := [at + START_GRACE_S for at in begun if self.now - at <= START_GRACE_S]:
                due[workload] = min(waits)
        self.due = self.before.due.drop(dirty - due.keys()).put(due)
        self.idle = self.before.idle.drop(dirty - idle.keys()).put(idle)
        self.newcomers = self.before.newcomers.drop(dirty - newcomers.keys()).put(newcomers)
        self.late = self.before.late.drop(dirty - late.keys()).put(late)
        self.mute = self.before.mute.drop(dirty - mute.keys()).put(mute)
        kept = {w: m for w, m in memories.items() if m}
        self.workload_memory = self.memory.workloads.put(kept).drop(memories.keys() - kept.keys())

    def prefixes_of(self, generation_of: Callable[[HostName], int]) -> None:
        """The governor's answers for the prefixes concerned."""
        memory, verdicts, grants, due = self.memory.prefixes, self.before.prefixes, self.before.grants, self.due
        leaving, asking = self.before.leaving, set(self.before.asking & self.plan.carried)
        self.regranted: set[HostName] = set()
        for prefix in self.dirty_prefixes:
            was = memory.get(prefix, PrefixMemory())
            entitled = sorted(h for h in self.plan.tellers(prefix) if prefix in self.gates.get(h, {}))
            seen = {host: view for host in entitled if (view := self.views.get(host)) is not None}
            announcing = frozenset(host for host, view in seen.items() if prefix in view.announcing)
            good = tuple(h for h in sorted(announcing) if prefix not in seen[h].wanting)
            since = {b.host: b.since for b in was.bad}
            fallen = {*was.good, *since} - {*good}
            bad = tuple(Bad(host=h, prefix=prefix, since=since.get(h, self.now)) for h in entitled if h in fallen)
            leaves = self._still_out(prefix, was.leaves, {*good}, {*entitled}, generation_of)
            answered: Mapping[HostName, Grant] = {}
            asks = prefix in self.plan.carried and any(prefix in view.wanting for view in seen.values())
            (asking.add if asks else asking.discard)(prefix)
            if entitled:
                found = judge_prefix(
                    prefix,
                    entitled={host: self.plan.hosts[host].pop for host in entitled},
                    announcing=announcing,
                    wanting=[host for host, view in seen.items() if prefix in view.wanting],
                    vacant=[host for host, view in seen.items() if prefix in view.vacant],
                    leaves=leaves,
                    since={b.host: b.since for b in bad},
                    cause=self._cause(prefix),
                    heard_at=self.heard.fresh.__getitem__ if prefix in self.plan.carried else None,
                    now=self.now,
                )
                leaves, answered = found.leaves, found.grants
                verdicts = verdicts.put({prefix: found.verdict})
            else:
                verdicts = verdicts.drop([prefix])
            before = grants.get(prefix, {})
            self.regranted |= {host for host in {*before, *answered} if before.get(host) != answered.get(host)}
            grants = grants.put({prefix: answered}) if answered else grants.drop([prefix])
            leaving = leaving.drop([(v.host, prefix) for v in was.leaves]).put({(v.host, prefix): None for v in leaves})
            kept = PrefixMemory(leaves=leaves, good=good, bad=bad)
            memory = memory.put({prefix: kept}) if kept else memory.drop([prefix])
            waits = (CARRY_PATIENCE_S, START_GRACE_S, WINDOW_S)
            later = [b.since + after for b in bad for after in waits if self.now - b.since <= after]
            due = due.put({prefix: min(later)}) if later else due.drop([prefix])
        self.pending = frozenset(p for p in self.dirty_prefixes if memory.get(p) != self.memory.prefixes.get(p))
        self.asking = frozenset(asking)
        self.prefix_memory, self.prefixes, self.grants, self.due, self.leaving = memory, verdicts, grants, due, leaving

    def _still_out(
        self,
        prefix: Prefix,
        leaves: tuple[Leave, ...],
        good: set[HostName],
        entitled: set[HostName],
        generation_of: Callable[[HostName], int],
    ) -> tuple[Leave, ...]:
        holders = [v.host for v in leaves]
        return still_out(
            tuple(v for v in leaves if v.host in self.plan.hosts),
            recovered=lambda where: where[0] in good or where[0] not in entitled,
            obeyed={host: view.obeyed for host in holders if (view := self.views.get(host)) is not None},
            generations={host: generation_of(host) for host in holders},
        )

    def _cause(self, prefix: Prefix) -> Callable[[HostName, frozenset[HostName], float, bool], Any]:
        carried = prefix in self.plan.carried

        def has_served(pop: CityCode, workload: WorkloadId) -> bool:
            served = self.workload_memory.get(workload, _NOTHING).served
            return bool(served) if carried else pop in served

        def of(host: HostName, others: frozenset[HostName], waiting_s: float, vacant: bool) -> Any:
            pop = self.plan.hosts[host].pop
            return cause(
                self.gates[host][prefix],
                self._well(host, prefix),
                others=(self._alive(self._well(other, prefix), prefix.version) for other in others),
                has_served=lambda w: has_served(pop, w),
                waiting_s=waiting_s,
                vacant=vacant,
            )

        return of

    def _well(self, host: HostName, prefix: Prefix) -> frozenset[WorkloadId]:
        view = self.views.get(host)
        if view is None:
            return frozenset()
        return well_at(view, prefix, self.gates.get(host, {}), self.plan)

    def _alive(self, workloads: frozenset[WorkloadId], version: int) -> frozenset[WorkloadId]:
        """Without those that work nowhere, or answer nowhere in this family: nobody carries them, also who is not asked
        for them any more.
        """
        known = ((w, self.workload_memory.get(w, _NOTHING)) for w in workloads)
        return frozenset(w for w, m in known if m.nowhere is None and version not in dict(m.mute))

    def hosts_of(self, concerned: set[HostName]) -> None:
        """The verdicts of the hosts concerned."""
        verdicts: dict[HostName, HostVerdict] = {}
        gone = [host for host in concerned if host not in self.plan.hosts]
        for host in concerned | self.regranted:
            if (part := self.plan.hosts.get(host)) is None:
                continue
            trusted = host in self.heard.fresh
            answers = [self.grants.get(p, {}).get(host) for p in sorted(self.gates.get(host, {}), key=order_of)]
            verdicts[host] = HostVerdict(
                pop=part.pop,
                host=host,
                trusted=trusted,
                reason=why(part, self.reports.get(host), trusted),
                grants=tuple(grant for grant in answers if grant is not None),
            )
        self.hosts = self.before.hosts.put(verdicts).drop(gone)

    def result(self) -> tuple[Judged, Memory]:
        judged = replace(
            self.heard,
            hosts=self.hosts,
            prefixes=self.prefixes,
            idle=self.idle,
            newcomers=self.newcomers,
            late=self.late,
            mute=self.mute,
            gates=self.gates,
            views=self.views,
            grants=self.grants,
            leaving=self.leaving,
            due=self.due,
            pending=self.pending,
            carried=self.plan.carried,
            asking=self.asking,
        )
        return judged, Memory(prefixes=self.prefix_memory, workloads=self.workload_memory)


_NOTHING = WorkloadMemory()
