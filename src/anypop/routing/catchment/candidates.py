"""Which changes could bring the strays of a cause home: a prediction, a cause and dictionaries in, `Proposal`s out.

To tell less where they land: withhold, prepend, scope by a community that some AS's dictionary has; for one session,
and for several to the same upstream. To tell more at home: announce plainly again, bring a session back, buy transit
from who decides or from those on the way, also where we only peer. Where a new PoP would stand. Scores nothing. Pure.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from anypop.model.announce import Mode, Scope
from anypop.model.cities import city_of_pop, distance_km
from anypop.model.names import CityCode
from anypop.model.network import UpstreamKind
from anypop.model.scopes import MOST_PREPENDS, with_communities
from anypop.model.sessions import Session
from anypop.routing.actions import Action, KeepInRegion, LocalPreference, Neighbours, NoExportTo, Region, Relation
from anypop.routing.catchment.predict import Prediction, distances
from anypop.routing.catchment.repairs import Change, Proposal
from anypop.routing.catchment.strays import Cause
from anypop.routing.engine.seeds import Policies
from anypop.routing.entries import Entry
from anypop.routing.internet.places import region_of

_PREPENDS = 3
_MOST_TOGETHER = 4  # so many sessions are changed by one repair only where they are all that there are
_MOST_RELATED = 4  # sessions of which some are changed together: 14 choices
_MOST_HOMES = 3  # PoPs in which a new upstream is tried
_APART_KM = 1000.0  # new PoPs nearer to each other, or to one that is there, say the same


def candidates(before: Prediction, cause: Cause, policies: Policies) -> Iterator[Proposal]:
    """Everything but pairs and new PoPs."""
    sessions = before.announcements.sessions
    upstreams = {sessions[i].asn for i in cause.sessions}
    # All that we announce to the same neighbours in the same region attracts the same strays once the first is gone.
    regions = {_region(sessions[i].pop) for i in cause.sessions}
    alike = [
        i
        for i, session in enumerate(sessions)
        if session.asn in upstreams
        and session.hears
        and session.pop != cause.nearest
        and _region(session.pop) in regions
    ]
    related = sorted(alike, key=lambda i: cause.sessions.index(i) if i in cause.sessions else len(sessions))
    some_of = [some for size in range(1, _MOST_TOGETHER) for some in combinations(related[:_MOST_RELATED], size)]
    for some in dict.fromkeys((*some_of, tuple(related))):
        alone = len(some) in (1, len(related))
        if some and (alone or set(cause.sessions) & set(some)):
            yield from less([sessions[i] for i in some], cause, policies, preferences=alone)
    yield from _more(before, cause)
    yield from _contracts(before, cause)


def less(
    chosen: Sequence[Session], cause: Cause, policies: Policies, *, preferences: bool = True
) -> Iterator[Proposal]:
    """These sessions hear less, all in the same way. `preferences`: also by what makes others prefer it less, after
    which everybody has to choose anew: that takes ten times as long to work out.
    """
    where = " and ".join(sorted({session.pop for session in chosen}))
    to = ", ".join(sorted({f"AS{session.asn}" for session in chosen}))
    yield Proposal(
        kind="withhold",
        title=f"withhold the announcement to {to} at {where}",
        changes=tuple(_change(session, replace(session.scope, mode=Mode.WITHHOLD)) for session in chosen),
    )
    most = max(session.scope.prepend for session in chosen)
    for count in range(1, min(_PREPENDS, MOST_PREPENDS - most) + 1):
        yield Proposal(
            kind="prepend",
            title=f"prepend {_times(count, more=most > 0)} to {to} at {where}",
            changes=tuple(_change(s, replace(s.scope, prepend=s.scope.prepend + count)) for s in chosen),
        )
    for entry, title in _scopes(cause, chosen, policies):
        if isinstance(entry.action, LocalPreference) and not preferences:
            continue
        yield Proposal(
            kind="scope",
            title=f"{title} by {entry.text} at {where}",
            changes=tuple(_change(s, with_communities(s.scope, [entry.value])) for s in chosen),
            note=_doubt_of(entry),
        )


def _times(count: int, *, more: bool) -> str:
    """`once`, `3 times more`."""
    words = {1: "once", 2: "twice"}.get(count, f"{count} times")
    return f"{words} more" if more else words


def _doubt_of(entry: Entry) -> str:
    """Why the real network may not do as a community asks; empty: it says itself that it does."""
    if entry.invented:
        return "invented for labs: the real network does not know it"
    if entry.is_well_known:
        return "a standard that many networks do not follow: ask this one"
    return "" if entry.verified else "not verified with the network"


def _scopes(cause: Cause, chosen: Sequence[Session], policies: Policies) -> Iterator[tuple[Entry, str]]:
    """Communities of the upstreams, or of the AS that decides, that could keep these announcements from it."""
    for asn in sorted({session.asn for session in chosen}):
        book = policies.dictionary(asn)
        wanted: list[tuple[Action, str]] = [
            (KeepInRegion(region=region), f"keep it in {region.says}")
            for region in {_region(s.pop) for s in chosen}
            if region
        ]
        if asn != cause.asn:
            wanted.append((NoExportTo(neighbour=cause.asn), f"ask AS{asn} not to send it to AS{cause.asn}"))
            wanted.append((NoExportTo(neighbour=Neighbours.PROVIDERS), f"ask AS{asn} not to send it to its providers"))
            wanted.append((NoExportTo(neighbour=Neighbours.PEERS), f"ask AS{asn} not to send it to its peers"))
        for action, title in wanted:
            entry = book.find(action)
            if entry is not None:
                yield entry, title
    for relation in (Relation.BELOW_PEER, Relation.AS_PEER, Relation.LOWEST):
        entry = policies.dictionary(cause.asn).find(LocalPreference(relation=relation))
        if entry is not None:
            yield entry, f"ask AS{cause.asn} to prefer it less ({relation.value})"
            return  # lower still moves nobody else home, and each costs a settlement of all preferences


def _more(before: Prediction, cause: Cause) -> Iterator[Proposal]:
    """What is told less than plainly at home, or not heard there."""
    sessions = [session for session in before.announcements.sessions if session.pop in cause.homes]
    plain = Scope()
    held = [session for session in sessions if session.scope != plain and not session.silent]
    groups = [[session] for session in held]
    for asn in sorted({session.asn for session in held}):
        groups.append([session for session in held if session.asn == asn])
    for chosen in groups:
        where = " and ".join(sorted({session.pop for session in chosen}))
        to = ", ".join(sorted({f"AS{session.asn}" for session in chosen}))
        yield Proposal(
            kind="announce",
            title=f"announce it plainly to {to} at {where}",
            changes=tuple(_change(session, plain) for session in chosen),
        )
    for session in sessions:
        if session.silent and session.scope.mode is Mode.ANNOUNCE:
            back = replace(_change(session, session.scope), back=True)
            yield Proposal(kind="bring back", title=back.says, changes=(back,), note=session.silent)


def _contracts(before: Prediction, cause: Cause) -> Iterator[Proposal]:
    """Transit at home from who decides, or from who is on the way."""
    sessions = before.announcements.sessions
    for pop in cause.homes[:_MOST_HOMES]:
        for asn in dict.fromkeys((cause.asn, *(hop.asn for hop in cause.why.hops))):
            there = [session for session in sessions if (session.asn, session.pop) == (asn, pop)]
            if not there:
                change = Change(pop=pop, upstream=f"as{asn}", asn=asn, scope=Scope(), added=True)
                yield Proposal(kind="add upstream", title=f"buy transit from AS{asn} in {pop}", changes=(change,))
            elif all(session.kind is not UpstreamKind.TRANSIT for session in there):
                change = replace(_change(there[0], there[0].scope), bought=True)
                title = f"buy transit from AS{asn} in {pop}, where it is a peer"
                yield Proposal(kind="peer to transit", title=title, changes=(change,))


def new_pops(before: Prediction, most: int) -> list[Proposal]:
    """So many cities in which most weight lands most kilometres away, each with transit from those of our upstreams
    that the graph has there. None where the graph knows no cities of theirs.
    """
    net, sessions = before.internet, before.announcements.sessions
    km = distances(net, before.pops).km
    here = np.flatnonzero((before.pop >= 0) & ~np.isnan(net.latitude))
    away = before.weight[here] * km[here, before.pop[here]]
    names, index = np.unique(np.array(net.city)[here], return_inverse=True)
    order: list[int] = np.argsort(-np.bincount(index, weights=away), kind="stable").tolist()
    upstreams = Counter(s.asn for s in sessions if s.kind is UpstreamKind.TRANSIT)
    cities_of = {asn: {net.city[site] for site in net.sites_of(asn)} for asn in upstreams}
    taken: list[str] = list(before.announcements.pops)
    found: list[Proposal] = []
    for name in (str(names[i]) for i in order):
        asns = [asn for asn, _ in upstreams.most_common() if name in cities_of[asn]][:2]
        if not asns or any(_km(name, other) < _APART_KM for other in taken):
            continue
        taken.append(name)
        for asn in asns:
            change = Change(pop=CityCode(name), upstream=f"as{asn}", asn=asn, scope=Scope(), added=True)
            title = f"open a PoP in {name} with transit from AS{asn}"
            found.append(Proposal(kind="add PoP", title=title, changes=(change,)))
        if len(found) >= most:
            break
    return found


def _km(a: str, b: str) -> float:
    here, there = city_of_pop(a), city_of_pop(b)
    return distance_km(here, there) if here is not None and there is not None else float("inf")


def _region(pop: str) -> Region | None:
    return region_of(city_of_pop(pop))


def _change(session: Session, scope: Scope) -> Change:
    return Change(pop=session.pop, upstream=session.upstream, asn=session.asn, scope=scope)
