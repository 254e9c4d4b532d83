"""Bytes that hosts send to each other through the backbone, for each month: backbone traffic costs money.

In: control's state, and reports that came in. Out: the state with what they add. The counters of a host only grow while
its tunnels stand, and are kept beside the sums: what is added is the difference to the last report that was counted,
stored with it in one transaction. So a report that comes twice, or late, adds nothing, and what was sent while control
was away is in the next one. A counter below the last one began anew, with the tunnel. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from anypop.control.state import State, Traffic, TunnelSums
from anypop.judge.verdict import Received
from anypop.model.names import HostName
from anypop.model.report import Report
from anypop.model.table import with_entries


def with_traffic(state: State, came: Mapping[HostName, Received], now: float) -> State:
    """The state after these reports. The month is control's own, in UTC: a host's clock may be wrong."""
    month = datetime.fromtimestamp(now, UTC).strftime("%Y-%m")
    added = {}
    for host, received in came.items():
        report, last = received.report, _last(state, host)
        if not report.tunnels or (last is not None and report.at < last.at):
            continue
        begun = _begun(last, month) if last is not None else Traffic(host=host, month=month, at=report.at)
        counted = _counted(begun, report)
        if last is None or (counted.month, counted.tunnels) != (last.month, last.tunnels):
            added[host, month] = counted
    return replace(state, traffic=with_entries(state.traffic, added)) if added else state


def _last(state: State, host: HostName) -> Traffic | None:
    """The newest month of a host."""
    return max(state.traffic_of(host).values(), key=lambda one: one.month, default=None)


def _begun(last: Traffic, month: str) -> Traffic:
    """The same month, or a new one, which begins at the counters of the last."""
    if last.month >= month:
        return last
    begun = tuple(replace(one, sent=0, received=0) for one in last.tunnels)
    return replace(last, month=month, tunnels=begun)


def _counted(traffic: Traffic, report: Report) -> Traffic:
    known = {one.peer: one for one in traffic.tunnels}
    for tunnel in report.tunnels:
        was = known.get(tunnel.host, TunnelSums(peer=tunnel.host))
        known[tunnel.host] = replace(
            was,
            sent=was.sent + _more(was.sent_counter, tunnel.sent_bytes),
            received=was.received + _more(was.received_counter, tunnel.received_bytes),
            sent_counter=tunnel.sent_bytes,
            received_counter=tunnel.received_bytes,
        )
    return replace(traffic, at=report.at, tunnels=tuple(known[peer] for peer in sorted(known)))


def _more(before: int, now: int) -> int:
    return now - before if now >= before else now


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What all hosts sent in a month: each byte is counted once, where it was sent."""

    month: str
    sent: int
    tunnels: tuple[tuple[HostName, HostName, int], ...]


def months(traffic: Iterable[Traffic]) -> list[Month]:
    """Newest first; in each, tunnels through which something was sent, the most first."""
    found: dict[str, list[tuple[HostName, HostName, int]]] = {}
    for one in traffic:
        if rows := [(one.host, t.peer, t.sent) for t in one.tunnels if t.sent]:
            found.setdefault(one.month, []).extend(rows)
    return [
        Month(month=month, sent=sum(s for _, _, s in rows), tunnels=tuple(sorted(rows, key=lambda r: (-r[2], r[:2]))))
        for month, rows in sorted(found.items(), reverse=True)
    ]
