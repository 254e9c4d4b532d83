"""What we announce, session by session: one neighbour of one PoP with the scope of what it hears.

The same list describes what is (rows of control, a plan file), what is asked for and what the doctor proposes. Comes
from the operator's network with its rules, or from rows; goes to the engines as seeds, and to people as differences.
Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

from anypop.model.announce import Mode, Scope, ScopeRule
from anypop.model.names import CityCode
from anypop.model.network import Network, UpstreamKind
from anypop.model.reasons import Reason
from anypop.model.scopes import scope_of, with_communities, without_communities

PLAIN = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One neighbour of one PoP. `asn`: the neighbour's. `upstream`: its name at that PoP. `silent`: why it hears
    nothing in spite of its scope (its session is down, nothing in the PoP serves); empty: it hears us, as far as
    anybody knows. `own`: the rule of the workload that is asked about, where others ask for more than that rule does
    (a workload in the same prefix, a drain); None: it is the scope.
    """

    pop: CityCode
    upstream: str
    asn: int
    kind: UpstreamKind = UpstreamKind.TRANSIT
    scope: Scope = PLAIN
    silent: str = ""
    own: Scope | None = None

    def ruled_by(self, rule: Scope) -> "Session":
        """The same once that is the workload's own rule: what others ask for stays."""
        if self.own is None:
            return replace(self, scope=rule)
        kept = without_communities(self.scope)
        theirs = with_communities(kept, [c for c in self.scope.every_community if c not in self.own.every_community])
        scope = with_communities(theirs, rule.every_community)
        others = self.scope.prepend if self.scope.prepend > self.own.prepend else 0
        withheld = rule.mode is Mode.WITHHOLD or self.withheld_by_others
        return replace(
            self,
            scope=replace(scope, prepend=max(rule.prepend, others), mode=Mode.WITHHOLD if withheld else Mode.ANNOUNCE),
            own=rule,
        )

    def rule_for(self, wanted: Scope) -> Scope | None:
        """The own rule by which this scope comes into effect; None: not by any, since others ask for more."""
        if self.own is None:
            return wanted
        gone = {*self.scope.every_community} - {*wanted.every_community}
        left = [c for c in self.own.every_community if c not in gone]
        come = [c for c in wanted.every_community if c not in self.scope.every_community]
        mode = wanted.mode if wanted.mode is not self.scope.mode else self.own.mode
        prepend = wanted.prepend if wanted.prepend != self.scope.prepend else self.own.prepend
        rule = replace(with_communities(without_communities(self.own), (*left, *come)), mode=mode, prepend=prepend)
        found = self.ruled_by(rule).scope
        same = {*found.every_community} == {*wanted.every_community}
        return rule if same and (found.mode, found.prepend) == (wanted.mode, wanted.prepend) else None

    @property
    def withheld_by_others(self) -> bool:
        """Whether it hears nothing although the own rule announces."""
        own = self.own
        return own is not None and self.scope.mode is Mode.WITHHOLD and own.mode is Mode.ANNOUNCE

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
        """The same with other rules of the workload's own for the sessions named by PoP and upstream; names of no
        session change nothing.
        """
        return replace(self, sessions=tuple(s.ruled_by(scopes[s.key]) if s.key in scopes else s for s in self.sessions))

    def session(self, pop: str, upstream: str) -> Session | None:
        """By PoP and the upstream's name."""
        index = self.find(pop, upstream)
        return None if index is None else self.sessions[index]

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
    """What control's rows of announcements say is in effect in the family that is predicted, with the rules of other
    workloads in the same prefix, and without what is surely not out there. Where nothing is out at all, as before the
    first instance is healthy, it is what will be.
    """
    kinds = {(pop.city, up.name): (up.asn, up.kind) for pop in network.pops for up in pop.upstreams}
    rows = of_predicted_family(rows)
    silent = _silent(rows)
    rules = {session.key: session.scope for session in ruled(rows)}
    found = []
    for session in _sessions(rows, ("effective", "scope")):
        asn, kind = kinds.get((session.pop, session.upstream), (session.asn, session.kind))
        own = rules.get(session.key)
        own = own if own != session.scope else None
        found.append(replace(session, asn=asn, kind=kind, silent=silent.get(session.key, ""), own=own))
    if not any(session.hears for session in found):
        found = [replace(session, silent="") for session in found]
    return Announcements(asn=network.asn, sessions=tuple(found))


def predicted_family(rows: Iterable[Mapping[str, Any]]) -> int:
    """What is predicted where both families are announced: IPv4, which has more networks."""
    return min((ip_network(str(row["prefix"])).version for row in rows), default=4)


def of_predicted_family(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without those of the other family: a session that is up in IPv6 alone brings nobody in IPv4."""
    family = predicted_family(rows)
    return [row for row in rows if ip_network(str(row["prefix"])).version == family]


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
