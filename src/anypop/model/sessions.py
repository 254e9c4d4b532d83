"""What we announce, session by session: one neighbour of one PoP with the scope of what it hears, for both families.

The same list describes what is (rows of control, a plan file), what is asked for and what the doctor proposes. Comes
from the operator's network with its rules, or from rows; goes to the engines as seeds, and to people as differences.
Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anypop.model.announce import Mode, Scope, ScopeRule
from anypop.model.names import CityCode
from anypop.model.network import Network, UpstreamKind
from anypop.model.reasons import Reason
from anypop.model.scopes import scope_of

PLAIN = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One neighbour of one PoP. `asn`: the neighbour's. `upstream`: its name at that PoP. `silent`: why it hears
    nothing in spite of its scope (its session is down, nothing in the PoP serves); empty: it hears us, as far as
    anybody knows.
    """

    pop: CityCode
    upstream: str
    asn: int
    kind: UpstreamKind = UpstreamKind.TRANSIT
    scope: Scope = PLAIN
    silent: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.pop, self.upstream

    @property
    def hears(self) -> bool:
        """Whether it really has our announcement."""
        return self.scope.mode is Mode.ANNOUNCE and not self.silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcements:
    """What we announce: our AS and all our sessions, withheld ones included."""

    asn: int
    sessions: tuple[Session, ...]

    @property
    def pops(self) -> tuple[CityCode, ...]:
        """The PoPs that announce to somebody, in order; also those that nobody hears at the moment: who should land
        there lands too far away.
        """
        return tuple(sorted({session.pop for session in self.sessions if session.scope.mode is Mode.ANNOUNCE}))

    def changed(self, index: int, scope: Scope) -> "Announcements":
        """The same with another scope for one session."""
        sessions = list(self.sessions)
        sessions[index] = replace(sessions[index], scope=scope)
        return replace(self, sessions=tuple(sessions))

    def with_scopes(self, scopes: Mapping[tuple[str, str], Scope]) -> "Announcements":
        """The same with other scopes for the sessions named by PoP and upstream; names of no session change nothing."""
        return replace(self, sessions=tuple(replace(s, scope=scopes.get(s.key, s.scope)) for s in self.sessions))

    def find(self, pop: str, upstream: str) -> int | None:
        """The index of a session by PoP and the upstream's name."""
        return next((i for i, s in enumerate(self.sessions) if s.key == (pop, upstream)), None)


def from_network(network: Network, rules: Sequence[ScopeRule] = ()) -> Announcements:
    """What a workload with these scope rules announces from every PoP."""
    scopes = {(rule.pop, rule.upstream): rule.scope for rule in rules}
    return Announcements(
        asn=network.asn,
        sessions=tuple(
            Session(
                pop=pop.city, upstream=up.name, asn=up.asn, kind=up.kind, scope=scopes.get((pop.city, up.name), PLAIN)
            )
            for pop in network.pops
            for up in pop.upstreams
        ),
    )


def of_rows(network: Network, rows: Sequence[Mapping[str, Any]]) -> Announcements:
    """What control's rows of announcements say is in effect, with the rules of other workloads in the same prefix, and
    without what is surely not out there. Where nothing is out at all, as before the first instance is healthy, it is
    what will be.
    """
    kinds = {(pop.city, up.name): (up.asn, up.kind) for pop in network.pops for up in pop.upstreams}
    silent = _silent(rows)
    found = []
    for session in _sessions(rows, ("effective", "scope")):
        asn, kind = kinds.get((session.pop, session.upstream), (session.asn, session.kind))
        found.append(replace(session, asn=asn, kind=kind, silent=silent.get(session.key, "")))
    if not any(session.hears for session in found):
        found = [replace(session, silent="") for session in found]
    return Announcements(asn=network.asn, sessions=tuple(found))


# By these a prefix is surely not heard. Who has not reported, or is not believed, may well be announcing: hosts go on
# without control.
_SURELY_NOT_OUT = frozenset(
    {
        Reason.SESSION_DOWN,
        Reason.FLAP_COOLDOWN,
        Reason.NOT_CARRIED,
        Reason.NO_HEALTHY_INSTANCE,
        Reason.FAMILY_SILENT,
        Reason.GRANTED,
        Reason.OLDER_AGENT,
    }
)


def _silent(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Why an upstream hears none of the prefixes, by PoP and its name."""
    heard: set[tuple[str, str]] = set()
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        key = str(row["pop"]), str(row["upstream"])
        if row.get("reason") in _SURELY_NOT_OUT and not row.get("announced", True):
            reason = Reason(row["reason"])
            found.setdefault(key, str(row.get("says") or reason.says))
        else:
            heard.add(key)
    return {key: says for key, says in found.items() if key not in heard}


def ruled(rows: Iterable[Mapping[str, Any]]) -> list[Session]:
    """The sessions in control's rows of announcements, with the scope of this workload's own rule."""
    return _sessions(rows, ("scope",))


def _sessions(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> list[Session]:
    """One for each PoP and upstream, in the order of the rows. `names`: of the field that holds the scope, the first
    that is there.
    """
    found: dict[tuple[str, str], Session] = {}
    for row in rows:
        scope = scope_of(next((row[name] for name in names if row.get(name)), {}))
        session = Session(
            pop=CityCode(str(row["pop"])), upstream=str(row["upstream"]), asn=int(row.get("asn") or 0), scope=scope
        )
        found.setdefault(session.key, session)
    return list(found.values())
