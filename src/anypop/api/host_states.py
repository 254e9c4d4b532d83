"""A host as it was ordered, and as its last report shows it.

In: control's state. Out: plain data of one host, which lists of PoPs and of hosts show. What follows from its report,
its instances and its drains is worked out again only where one of these is another one than the last time: whoever
looks at a hundred hosts pays for those that changed. It decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anypop.control.drain_facts import drain_words, drains_over, is_drained
from anypop.control.state import Placed, State, Tombstone
from anypop.judge.instances import counted
from anypop.judge.verdict import Received, is_fresh
from anypop.model import codec
from anypop.model.drain import Drain
from anypop.model.names import CityCode, HostName
from anypop.model.network import Capacity, Host
from anypop.model.plan import HostVerdict
from anypop.model.reasons import Reason
from anypop.model.report import PrefixReport
from anypop.plan.rooms import needs_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    """All that a host's data are made from, but for the time. `fresh`: its report may be believed."""

    host: Host
    received: Received | None
    fresh: bool
    verdict: HostVerdict | None
    generation: int
    drains: tuple[Drain, ...]
    placed: Mapping[str, Placed]
    leaving: Mapping[str, Tombstone]

    def is_as(self, other: "_Basis") -> bool:
        """Big things are the same where they are one object: nothing in control's state is changed in place."""
        return (
            self.received is other.received
            and self.placed is other.placed
            and self.leaving is other.leaving
            and (self.host is other.host or self.host == other.host)
            and (self.fresh, self.verdict, self.generation, self.drains)
            == (other.fresh, other.verdict, other.generation, other.drains)
        )


class HostStates:
    """Of one control."""

    def __init__(self) -> None:
        self._made: dict[HostName, tuple[_Basis, dict[str, Any]]] = {}
        self._taken: dict[HostName, tuple[Mapping[str, Placed], Capacity]] = {}
        self.made = 0  # how often something was worked out

    def of(self, state: State, pop: CityCode, host: Host, now: float) -> dict[str, Any]:
        """Its outermost is the caller's own; what is inside is not to be changed."""
        received = state.reports.get(host.name)
        issued = state.orders.get(host.name)
        basis = _Basis(
            host=host,
            received=received,
            fresh=is_fresh(received, now),
            verdict=state.verdict.hosts.get(host.name),
            generation=issued.order.generation if issued is not None else 0,
            drains=tuple(drains_over(state, pop, host.name)),
            placed=state.incarnations_on(host.name),
            leaving=state.tombstones_on(host.name),
        )
        known = self._made.get(host.name)
        if known is None or not known[0].is_as(basis):
            known = self._made[host.name] = basis, _told(basis, now)
            self.made += 1
        return known[1] | {
            "report_age_s": round(now - received.at, 3) if received is not None else None,
            "agent_age_s": _age(received, now),
        }

    def taken(self, state: State, host: HostName) -> Capacity:
        """What its instances take of it."""
        placed = state.incarnations_on(host)
        known = self._taken.get(host)
        if known is None or known[0] is not placed:
            known = self._taken[host] = placed, _taken(state, placed)
        return known[1]


def _told(basis: _Basis, now: float) -> dict[str, Any]:
    host, verdict, drains = basis.host, basis.verdict, basis.drains
    trusted = verdict is not None and verdict.trusted
    reason = verdict.reason if verdict is not None else Reason.NO_REPORT
    drained = trusted and is_drained(drains)
    reason = Reason.DRAINED if drained else reason
    report = basis.received.report if basis.received is not None else None
    placed = [(p.incarnation.name, p.incarnation.uid) for p in basis.placed.values()]
    leaving = [(t.incarnation.name, t.incarnation.uid) for t in basis.leaving.values()]
    seen = counted(placed, leaving, basis.received, now=now)
    asns = {u.name: u.asn for u in host.upstreams}
    sessions = (
        [{**codec.to_data(s), "asn": asns.get(s.upstream)} for s in report.sessions] if report is not None else []
    )
    return {
        "host": host.name,
        "trusted": trusted,
        "verdict": "unknown" if not trusted else "drained" if drained else "trusted",
        "reason": reason.value,
        "says": reason.says,
        **({"drain": drain_words(drains)} if drains else {}),
        "generation": basis.generation,
        "obeyed": report.generation if report is not None else 0,
        "refused": report.refused.value if report is not None and report.refused is not None else None,
        "sessions": [{**s, "state": s["state"] if trusted else "unknown"} for s in sessions],
        "prefixes": [_prefix_data(p, trusted) for p in report.prefixes] if report is not None else [],
        "instances": {
            "total": seen.total,
            "healthy": seen.healthy,
            "phases": dict(sorted(seen.phases.items())),
        },
    }


def _taken(state: State, placed: Mapping[str, Placed]) -> Capacity:
    cpu = memory = disk = 0
    for one in placed.values():
        life = one.incarnation
        if (revision := state.revision(life.workload_id, life.revision)) is not None:
            needs = needs_of(revision.workload)
            cpu, memory, disk = cpu + needs.cpu_millis, memory + needs.memory_bytes, disk + needs.disk_bytes
    return Capacity(cpu_millis=cpu, memory_bytes=memory, disk_bytes=disk)


def _age(received: Received | None, now: float) -> float | None:
    """How old the agent's process is: by its own clock until its last report, by ours since then."""
    if received is None or received.report.began is None:
        return None
    return round(received.report.at - received.report.began + now - received.at, 3)


def tunnels_data(state: State, host: HostName) -> dict[str, Any]:
    """A host's tunnels by its last report; nothing where it has none. One that is not to be believed proves nothing:
    then none is up.
    """
    verdict = state.verdict.hosts.get(host)
    trusted = verdict is not None and verdict.trusted
    received = state.reports.get(host)
    tunnels = received.report.tunnels if received is not None else ()
    return {"tunnels": [{**codec.to_data(t), "up": t.up and trusted} for t in tunnels]} if tunnels else {}


def _prefix_data(prefix: PrefixReport, trusted: bool) -> dict[str, Any]:
    """Without the single addresses in it: they may be another account's. How it is told and what comes in for it is
    told of drains, to whom they concern.
    """
    hidden = ("shut", "exported", "arrived")
    told = {key: value for key, value in codec.to_data(prefix).items() if key not in hidden}
    return {**told, "trusted": trusted, "says": prefix.reason.says}
