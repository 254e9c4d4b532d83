"""What `show protocols all` says, as session reports. Pure.

In: BIRD's text, the names of our sessions, and those that BIRD could not be told of. Out: one `SessionReport` for each
session that is in it or was left out.
"""

import re
from collections.abc import Iterator, Mapping

from anypop.agent.act.bgp.session_times import seconds
from anypop.model.names import HostName
from anypop.model.report import SessionReport, TunnelReport

_HEAD = re.compile(r"^(\S+)\s+BGP\s+\S+\s+(\S+)\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S*\s*(.*)$")
_STATE = re.compile(r"^\s+BGP state:\s+(\S+)")
_ROUTES = re.compile(r"^\s+Routes:\s+(\d+) imported,.*?(\d+) exported")
_LONGEST = 300  # of what is told about one session
_LIMIT = "Route limit exceeded"
_ERROR = re.compile(r"^\s+Last error:\s+(.*\S)")


_TIMERS = re.compile(r" timer *:.*")
REFUSED = "refused"  # the state of a session that was left out of BIRD's configuration


def without_timers(told: str) -> str:
    """What is the same as long as nothing happens."""
    return _TIMERS.sub("", told)


def read_sessions(
    told: str, names: Mapping[str, tuple[str, int]], left: Mapping[str, str] | None = None
) -> tuple[SessionReport, ...]:
    """`names`: BIRD's protocol name to (upstream, family). `left`: why a session was left out, by name. In the order of
    `names`.
    """
    found = {
        name: SessionReport(upstream=names[name][0], family=names[name][1], state=REFUSED, error=why[:_LONGEST])
        for name, why in (left or {}).items()
        if name in names
    }
    found |= dict(_sessions(told, names))
    return tuple(found[name] for name in names if name in found)


def read_tunnels(told: str, names: Mapping[str, HostName]) -> tuple[TunnelReport, ...]:
    """The sessions with other hosts. `names`: BIRD's protocol name to the host. One that BIRD does not know is down."""
    found = {s.upstream: s for s in dict(_sessions(told, {name: (host, 0) for name, host in names.items()})).values()}
    return tuple(
        TunnelReport(host=host, up=(s := found.get(host)) is not None and s.state == "established",
                     since=s.since if s is not None else None)
        for host in names.values()
    )  # fmt: skip


def is_shut(told: str, name: str) -> bool:
    """Whether BIRD has shut a session because its neighbour told more than it may."""
    found = re.search(rf"^{re.escape(name)}\s.*", told, re.MULTILINE)
    head = _HEAD.match(found[0]) if found is not None else None
    return head is not None and head[2] == "down" and _LIMIT in head[4]


def _sessions(told: str, names: Mapping[str, tuple[str, int]]) -> Iterator[tuple[str, SessionReport]]:
    name, since, block = "", None, list[str]()
    for line in [*told.splitlines(), "end"]:
        if line and not line[0].isspace():
            if name in names:
                yield name, _session(names[name], since, block)
            head = _HEAD.match(line)
            name, since, block = (head[1], seconds(head[3]), []) if head else ("", None, [])
        else:
            block.append(line)


def _session(key: tuple[str, int], since: float | None, block: list[str]) -> SessionReport:
    found = {rule: next((m for line in block if (m := rule.match(line))), None) for rule in (_STATE, _ROUTES, _ERROR)}
    state, routes, error = found[_STATE], found[_ROUTES], found[_ERROR]
    return SessionReport(
        upstream=key[0], family=key[1], state=state[1].lower() if state else "down", since=since,
        imported=int(routes[1]) if routes else 0, exported=int(routes[2]) if routes else 0,
        error=error[1] if error else "",
    )  # fmt: skip
