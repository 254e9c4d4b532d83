"""What to change so that strays come home: causes in, repairs out, each scored on the whole graph, the best first.

For each cause it tries to withhold, to prepend, to scope by a community that some AS's dictionary has, and to add an
upstream: for one session, for all sessions to the same upstream that attract the strays. `mended` and `harmed` count
networks everywhere, not only where the cause was. It proposes; applying is the ordinary plan's business.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from anypop.model.announce import Mode, Scope
from anypop.model.cities import find_city
from anypop.model.names import CityCode
from anypop.model.scopes import community_text, with_communities
from anypop.model.sessions import Announcements, Session
from anypop.routing.actions import (
    Action,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Region,
    Relation,
)
from anypop.routing.catchment.predict import Distances, Prediction, distances, judged, predict
from anypop.routing.catchment.sessions import seeds_of
from anypop.routing.catchment.strays import FAR_KM, Cause, Strays, far, find_strays, networks
from anypop.routing.engine.propagate import Engine
from anypop.routing.entries import Entry
from anypop.routing.internet.places import region_of
from anypop.routing.internet.sites import Int64

_MOST_PREPENDS = 3
_MOST_TOGETHER = 4  # sessions changed by one repair
_MOST_HOMES = 3  # PoPs in which a new upstream is tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One session with its new scope. `added`: the session does not exist yet."""

    pop: CityCode
    upstream: str
    asn: int
    scope: Scope
    added: bool = False

    @property
    def says(self) -> str:
        """The exact change, as the command line takes it."""
        if self.added:
            return f"buy transit from AS{self.asn} in {self.pop}"
        place = f"anypop announce scope {self.pop} {self.upstream}"
        if self.scope.mode is Mode.WITHHOLD:
            return f"{place} --withhold"
        parts = [f"--prepend {self.scope.prepend}"] if self.scope.prepend else []
        parts += [f"--community {community_text(c)}" for c in self.scope.every_community]
        return " ".join([place, *parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A proposal with its effect on the whole graph, in networks and in weight.

    `cured`: strays of the cause at hand that come home. `mended`: strays that land near home afterwards. `harmed`:
    networks that become strays, or strays that go further still. `unsure`: networks that it moves, or not, by ties
    the model cannot see through. `gain_km`: how much shorter the mean way beyond the nearest PoP becomes.
    """

    kind: str
    title: str
    changes: tuple[Change, ...]
    cured: int
    mended: int
    harmed: int
    unsure: int
    mended_weight: float
    harmed_weight: float
    gain_km: float
    note: str = ""

    @property
    def score(self) -> float:
        """What it mends less what it harms, by weight."""
        return self.mended_weight - self.harmed_weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The doctor's report: the state, the causes, and for each cause its repairs, the best first."""

    prediction: Prediction
    strays: Strays
    repairs: tuple[tuple[Repair, ...], ...]


def diagnose(
    engine: Engine,
    announcements: Announcements,
    *,
    weights: Mapping[int, float] | None = None,
    far_km: float = FAR_KM,
    most_causes: int = 5,
    asn: int | None = None,
) -> Diagnosis:
    """Find strays, group them by cause, and try repairs for the worst causes; with `asn` for those that this AS
    decides.

    Compares model with model: what was measured holds for the present announcements alone and is left out. Raises
    `Invalid` for sessions that do not fit the graph.
    """
    before = predict(engine, announcements, weights=weights)
    strays = find_strays(engine, before, far_km=far_km, most=most_causes, asn=asn)
    judge = _Judge(engine, before, far_km)
    return Diagnosis(
        prediction=before,
        strays=strays,
        repairs=tuple(judge.repairs(cause, sites) for cause, sites in zip(strays.causes, strays.sites, strict=True)),
    )


_Proposal = tuple[str, str, tuple[Change, ...], str]  # kind, title, changes, note


class _Judge:
    """Scores proposals against one prediction."""

    def __init__(self, engine: Engine, before: Prediction, far_km: float) -> None:
        self.engine = engine
        self.before = before
        self.far_km = far_km
        self.was_far = far(before, far_km)
        self.known: Distances = distances(before.internet, before.pops)

    def repairs(self, cause: Cause, sites: Int64) -> tuple[Repair, ...]:
        tried: dict[tuple[Change, ...], Repair] = {}
        for proposal in self._proposals(cause):
            if proposal[2] not in tried:
                tried[proposal[2]] = self._scored(proposal, sites)
        # The best first; among equals the smaller change, and configuration before contracts.
        return tuple(
            sorted(
                tried.values(),
                key=lambda r: (
                    -round(r.score, 9),
                    r.changes[0].added,
                    len(r.changes),
                    r.harmed,
                    _EASE[r.kind],
                    r.unsure,
                ),
            )
        )

    def _scored(self, proposal: _Proposal, sites: Int64) -> Repair:
        kind, title, changes, note = proposal
        after = judged(
            self.engine.run(seeds_of(self.engine.internet, self._applied(changes))),
            self._applied(changes),
            weight=self.before.weight,
            pins={},
            homes=self.before.announcements.pops,
            known=self.known,
        )
        is_far = far(after, self.far_km)
        lost = (after.pop < 0) & (self.before.pop >= 0)
        mended = self.was_far & ~is_far & (after.pop >= 0)
        worse = after.extra_km > np.nan_to_num(self.before.extra_km) + self.far_km / 2
        harmed = lost | (is_far & ~self.was_far) | (is_far & self.was_far & worse)
        moved = after.pop != self.before.pop
        unsure = (moved | self.was_far) & (after.level == 2) & (moved | (self.before.level == 2))
        net = self.before.internet
        return Repair(
            kind=kind,
            title=title,
            changes=changes,
            cured=networks(net, sites[mended[sites]]),
            mended=networks(net, mended),
            harmed=networks(net, harmed),
            unsure=networks(net, unsure),
            mended_weight=float(self.before.weight[mended].sum()),
            harmed_weight=float(self.before.weight[harmed].sum()),
            gain_km=self.before.mean_extra_km - after.mean_extra_km,
            note=note,
        )

    def _applied(self, changes: tuple[Change, ...]) -> Announcements:
        result = self.before.announcements
        for change in changes:
            index = result.find(change.pop, change.upstream)
            if index is None:
                added = Session(pop=change.pop, upstream=change.upstream, asn=change.asn, scope=change.scope)
                result = replace(result, sessions=(*result.sessions, added))
            else:
                result = result.changed(index, change.scope)
        return result

    def _proposals(self, cause: Cause) -> Iterator[_Proposal]:
        sessions = self.before.announcements.sessions
        upstreams = {sessions[i].asn for i in cause.sessions}
        # All that we announce to the same neighbours in the same region attracts the same strays once the first is
        # gone.
        regions = {_region(sessions[i].pop) for i in cause.sessions}
        related = [
            i
            for i, session in enumerate(sessions)
            if session.asn in upstreams
            and session.scope.mode is Mode.ANNOUNCE
            and session.pop != cause.nearest
            and _region(session.pop) in regions
        ]
        for size in range(1, min(len(related), _MOST_TOGETHER) + 1):
            for some in combinations(related, size):
                if 1 < size < len(related) and not set(cause.sessions) & set(some):
                    continue
                chosen = [sessions[i] for i in some]
                where = " and ".join(sorted({session.pop for session in chosen}))
                to = ", ".join(sorted({f"AS{session.asn}" for session in chosen}))
                withheld = tuple(_change(session, replace(session.scope, mode=Mode.WITHHOLD)) for session in chosen)
                yield "withhold", f"withhold the announcement to {to} at {where}", withheld, ""
                for count in range(1, _MOST_PREPENDS + 1):
                    longer = tuple(
                        _change(session, replace(session.scope, prepend=session.scope.prepend + count))
                        for session in chosen
                    )
                    yield "prepend", f"prepend {count} times to {to} at {where}", longer, ""
                for entry, title in self._scopes(cause, chosen):
                    scoped = tuple(
                        _change(session, with_communities(session.scope, [entry.value])) for session in chosen
                    )
                    note = (
                        "invented for labs: the real network does not know it"
                        if entry.invented
                        else ""
                        if entry.verified
                        else "not verified with the network"
                    )
                    yield "scope", f"{title} by {entry.text} at {where}", scoped, note
        for pop in cause.homes[:_MOST_HOMES]:
            for asn in dict.fromkeys((cause.asn, *(hop.asn for hop in cause.why.hops))):
                if not any(s.asn == asn and s.pop == pop for s in sessions):
                    change = Change(pop=pop, upstream=f"as{asn}", asn=asn, scope=Scope(), added=True)
                    yield "add upstream", f"buy transit from AS{asn} in {pop}", (change,), ""

    def _scopes(self, cause: Cause, chosen: list[Session]) -> Iterator[tuple[Entry, str]]:
        """Communities of the upstreams, or of the AS that decides, that could keep these announcements from it."""
        for asn in sorted({session.asn for session in chosen}):
            book = self.engine.policies.dictionary(asn)
            wanted: list[tuple[Action, str]] = [
                (KeepInRegion(region=region), f"keep it in {region.says}")
                for region in {_region(s.pop) for s in chosen}
                if region
            ]
            if asn != cause.asn:
                wanted.append((NoExportTo(neighbour=cause.asn), f"ask AS{asn} not to send it to AS{cause.asn}"))
                wanted.append(
                    (NoExportTo(neighbour=Neighbours.PROVIDERS), f"ask AS{asn} not to send it to its providers")
                )
                wanted.append((NoExportTo(neighbour=Neighbours.PEERS), f"ask AS{asn} not to send it to its peers"))
            for action, title in wanted:
                entry = book.find(action)
                if entry is not None:
                    yield entry, title
        for relation in (Relation.BELOW_PEER, Relation.AS_PEER, Relation.LOWEST):
            entry = self.engine.policies.dictionary(cause.asn).find(LocalPreference(relation=relation))
            if entry is not None:
                yield entry, f"ask AS{cause.asn} to prefer it less ({relation.value})"


_EASE = {"scope": 0, "withhold": 1, "prepend": 2, "add upstream": 3}


def _region(pop: str) -> Region | None:
    return region_of(find_city(pop))


def _change(session: Session, scope: Scope) -> Change:
    return Change(pop=session.pop, upstream=session.upstream, asn=session.asn, scope=scope)
