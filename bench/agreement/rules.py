"""Which rules of the model matter in the random worlds: each is broken on purpose, and tables or landings must change.

Comes in worlds, goes out per rule how many of them another model would answer otherwise. No router runs: what the real
ones agree with is the whole model, so a rule that changes a world is one that they have confirmed there. Pure.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anypop.lab import address, model
from anypop.lab.model import Modelled
from anypop.lab.topology import FAMILIES
from anypop.model.extended_communities import is_extended
from anypop.routing.actions import (
    CUSTOMER_PREFERENCE,
    PEER_PREFERENCE,
    PROVIDER_PREFERENCE,
    Action,
    Blackhole,
    ExportTo,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Prepend,
    SetMed,
    Where,
)
from anypop.routing.engine import reference
from anypop.routing.engine.reference import CUSTOMER, INSIDE, PEER, SIBLING, Held, Rules, Settled
from anypop.routing.engine.seeds import Policies, Seed
from bench.agreement.compare import landing, tables_of
from bench.agreement.worlds import PREFIXES, World

ENOUGH = 5  # worlds in which a rule must show itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The model without one rule: another class of rules, or other policies, or another family's links."""

    rules: type[Rules] = Rules
    policies: Callable[[Policies], Policies] = lambda policies: policies
    seeds: Callable[[Seed], Seed] = lambda seed: seed
    other_family: bool = False


def _blind(**same: Any) -> Broken:
    """Routes are chosen as if these fields were the same for all."""

    class Blind(Rules):
        def choose(self, site: int, routes: Sequence[Held]) -> Held | None:
            blank = [replace(r, **{key: value(r) if callable(value) else value for key, value in same.items()})
                     for r in routes]  # fmt: skip
            chosen = super().choose(site, blank)
            return None if chosen is None else routes[next(i for i, r in enumerate(blank) if r is chosen)]

    return Broken(rules=Blind)


def _without(*kinds: type[Action]) -> Broken:
    """Communities of these kinds mean nothing."""

    class Deaf(Rules):
        def actions(self, site: int, route: Held) -> list[Action]:
            return [action for action in super().actions(site, route) if not isinstance(action, kinds)]

    return Broken(rules=Deaf)


def _unread(ignored: Callable[[tuple[int, ...]], bool]) -> Broken:
    """These communities are passed on, and nobody acts on them."""

    class Unread(Rules):
        def words(self, route: Held) -> tuple[tuple[int, ...], ...]:
            return tuple(c for c in super().words(route) if not ignored(c))

    return Broken(rules=Unread)


def _to_all(meant: type[Neighbours] | type[int]) -> Broken:
    """An action towards some neighbours holds towards all."""

    class Blunt(Rules):
        def actions(self, site: int, route: Held) -> list[Action]:
            found = super().actions(site, route)
            return [
                replace(action, neighbour=Neighbours.ALL)
                if isinstance(action, NoExportTo | ExportTo | Prepend | SetMed) and isinstance(action.neighbour, meant)
                else action
                for action in found
            ]

    return Broken(rules=Blunt)


def _everywhere(placed: Callable[[Where], bool]) -> Broken:
    """Actions with such a place hold everywhere."""

    class Everywhere(Rules):
        def holds_here(self, where: Where, site: int, route: Held) -> bool:
            return placed(where) or super().holds_here(where, site, route)

    return Broken(rules=Everywhere)


class _TellsAll(Rules):
    def sent(self, sender: int, route: Held, site: int, receiver_is: str) -> Held | None:
        sent = super().sent(sender, replace(route, kind=CUSTOMER), site, receiver_is)
        return None if sent is None else replace(sent, kind=route.kind)


class _ServersDropMed(Rules):
    def sent(self, sender: int, route: Held, site: int, receiver_is: str) -> Held | None:
        server = int(self.internet.asn[sender]) in self.policies.servers
        return super().sent(sender, replace(route, med=None) if server else route, site, receiver_is)


class _PassesMedOn(Rules):
    def sent(self, sender: int, route: Held, site: int, receiver_is: str) -> Held | None:
        sent = super().sent(sender, route, site, receiver_is)
        return sent if sent is None or sent.med is not None else replace(sent, med=route.med)


class _GoesRound(Rules):
    def goes_round(self, to: int, route: Held) -> bool:
        return False


class _Reflects(Rules):
    def carried(self, sender: int, route: Held, site: int) -> bool:
        return route.sender != site and super().carried(sender, replace(route, external=True), site)


class _CarriesEverywhere(Rules):
    def carried(self, sender: int, route: Held, site: int) -> bool:
        return route.external and (65535, 65282) not in self.words(route)


class _IgnoresFootprints(Rules):
    def footprint(self, site: int) -> set[Any]:
        return set()


class _ReflectsNothing(Rules):
    def told_inside(self, sender: int, route: Held, site: int) -> bool:
        return route.external and super().told_inside(sender, route, site)


class _ReflectsAll(Rules):
    def told_inside(self, sender: int, route: Held, site: int) -> bool:
        both = {sender, site} <= self.reflectors and route.entered != site
        return both or super().told_inside(sender, route, site)


class _TellersAreBorders(Rules):
    def offer(self, site: int, sender: int, sender_is: str, route: Held) -> Held | None:
        offered = super().offer(site, sender, sender_is, route)
        if offered is None or sender_is != INSIDE:
            return offered
        return replace(offered, key=int(self.internet.key[sender]))


class _TellersAreExits(Rules):
    def offer(self, site: int, sender: int, sender_is: str, route: Held) -> Held | None:
        offered = super().offer(site, sender, sender_is, route)
        if offered is None or sender_is != INSIDE:
            return offered
        rows = self.internet.internal
        return replace(offered, metric=int(rows.km_of(site)[rows.of(site).tolist().index(sender)]))


class _MembersTellAll(Rules):
    def told_inside(self, sender: int, route: Held, site: int) -> bool:
        same = site in self.member and self.member[site] == self.member[sender] and route.entered != site
        return same or super().told_inside(sender, route, site)


class _MembersHandNothingOn(Rules):
    def told_inside(self, sender: int, route: Held, site: int) -> bool:
        return (route.external or site not in self.member) and super().told_inside(sender, route, site)


class _FromMember(Rules):
    """What a site makes of a route from another member of its confederation."""

    def offer(self, site: int, sender: int, sender_is: str, route: Held) -> Held | None:
        offered = super().offer(site, sender, sender_is, route)
        across = sender_is == INSIDE and self.member.get(site) != self.member.get(sender)
        return self.taken(site, offered) if offered is not None and across else offered

    def taken(self, site: int, offered: Held) -> Held:
        return offered


class _MembersAreOutside(_FromMember):
    def taken(self, site: int, offered: Held) -> Held:
        return replace(offered, external=True)


class _MembersCount(_FromMember):
    def taken(self, site: int, offered: Held) -> Held:
        return replace(offered, path=(offered.members[0], *offered.path))


class _MembersDropMed(_FromMember):
    def taken(self, site: int, offered: Held) -> Held:
        return replace(offered, med=None)


class _MembersArePeers(_FromMember):
    def taken(self, site: int, offered: Held) -> Held:
        return self.preferred(site, replace(offered, kind=PEER))


class _SiblingsArePeers(Rules):
    def offer(self, site: int, sender: int, sender_is: str, route: Held) -> Held | None:
        return super().offer(site, sender, PEER if sender_is == SIBLING else sender_is, route)


class _DropsNothing(Rules):
    def preferred(self, site: int, route: Held) -> Held:
        return replace(super().preferred(site, route), dropped=False)


class _DropsAndTells(Rules):
    def preferred(self, site: int, route: Held) -> Held:
        return replace(super().preferred(site, route), communities=route.communities)


class _StopsInside(Rules):
    """NO_EXPORT ends at the router that has it, and not at the border of the AS."""

    def told_inside(self, sender: int, route: Held, site: int) -> bool:
        return (65535, 65281) not in self.words(route) and super().told_inside(sender, route, site)


class _MembersGoRound(Rules):
    def told_inside(self, sender: int, route: Held, site: int) -> bool:
        across = site in self.member and self.member[sender] != self.member[site]
        return (sender, site) in self.joined if across else super().told_inside(sender, route, site)


class _HighestPreference(Rules):
    def preferred(self, site: int, route: Held) -> Held:
        asked = [
            action.on_scale
            for action in self.actions(site, route)
            if isinstance(action, LocalPreference) and self.holds_here(action.where, site, route)
        ]
        given = super().preferred(site, route)
        return replace(given, local_pref=max(asked)) if asked else given


class _HighestMed(Rules):
    def actions(self, site: int, route: Held) -> list[Action]:
        found = super().actions(site, route)
        meds = [action for action in found if isinstance(action, SetMed)]
        return [a for a in found if a not in meds or a is max(meds, key=lambda med: med.value)]


class _NotBetweenMembers(Rules):
    """NO_EXPORT ends at the border of a member, and not of the confederation."""

    def told_inside(self, sender: int, route: Held, site: int) -> bool:
        across = site in self.member and self.member[sender] != self.member[site]
        return not (across and (65535, 65281) in self.words(route)) and super().told_inside(sender, route, site)


class _InsideAlone(Rules):
    def holds_here(self, where: Where, site: int, route: Held) -> bool:
        return super().holds_here(replace(where, outside=False), site, route)


class _EnteredHere(Rules):
    def holds_here(self, where: Where, site: int, route: Held) -> bool:
        return super().holds_here(where, site, replace(route, entered=site))


class _RefusesWhatIsDropped(Rules):
    def choose(self, site: int, routes: Sequence[Held]) -> Held | None:
        return super().choose(site, [route for route in routes if not route.dropped])


class _NoBooks(Rules):
    def meaning(self, asn: int, community: tuple[int, ...]) -> Action | None:
        entry = self.policies.common.lookup(community)
        return None if entry is None else entry.action


def _level(low: int, high: int) -> Broken:
    """Routes of these two classes are as good as each other."""

    class Level(Rules):
        def preferred(self, site: int, route: Held) -> Held:
            given = super().preferred(site, route)
            return replace(given, local_pref=high) if given.local_pref == low else given

    return Broken(rules=Level)


def _all(policies: Policies) -> frozenset[int]:
    return frozenset(policies.books)


RULES: Mapping[str, Broken] = {
    "the highest local preference wins": _blind(local_pref=0),
    "then the shortest path": _blind(path=lambda route: route.path[:1]),
    "then the lowest MED": _blind(med=None),
    "MED is compared among routes of one neighbour": Broken(policies=lambda p: replace(p, always_med=_all(p))),
    "some compare MED always": Broken(policies=lambda p: replace(p, always_med=frozenset())),
    "to some a missing MED is the worst": Broken(policies=lambda p: replace(p, worst_med=frozenset())),
    "to others a missing MED is the best": Broken(policies=lambda p: replace(p, worst_med=_all(p))),
    "MED is not passed on": Broken(rules=_PassesMedOn),
    "a route server passes MED on": Broken(rules=_ServersDropMed),
    "then what was learnt outside": _blind(external=lambda route: not route.external),
    "then the nearest exit": _blind(metric=0),
    "then the lowest router id": _blind(key=0),
    "a customer's route before a peer's": _level(PEER_PREFERENCE, CUSTOMER_PREFERENCE),
    "a peer's route before a provider's": _level(PROVIDER_PREFERENCE, PEER_PREFERENCE),
    "our own prepends": Broken(seeds=lambda seed: replace(seed, prepend=0)),
    "a peer's and a provider's routes go to customers alone": Broken(rules=_TellsAll),
    "a peer of ours takes our route as a peer's": Broken(seeds=lambda seed: replace(seed, customer=True)),
    "nobody takes a route with itself in the path": Broken(rules=_GoesRound),
    "what a router heard inside its AS it tells nobody there": Broken(rules=_Reflects),
    "a reflector tells what it heard inside its AS": Broken(rules=_ReflectsNothing),
    "to another reflector it tells only what clients told it": Broken(rules=_ReflectsAll),
    "clients of a reflector do not tell each other": Broken(policies=lambda p: replace(p, reflectors=frozenset())),
    "what is handed on inside is as far away as the border": Broken(rules=_TellersAreExits),
    "what is reflected has the router id of the border": Broken(rules=_TellersAreBorders),
    "then the fewest reflectors": _blind(clusters=0),
    "members of a confederation hear of each other along links alone": Broken(
        policies=lambda p: replace(p, members={})
    ),
    "inside a member what was heard there is told nobody": Broken(rules=_MembersTellAll),
    "to another member it tells what it heard inside": Broken(rules=_MembersHandNothingOn),
    "what a member tells is not from outside": Broken(rules=_MembersAreOutside),
    "members do not count in the length": Broken(rules=_MembersCount),
    "members pass MED on": Broken(rules=_MembersDropMed),
    "members pass the class on": Broken(rules=_MembersArePeers),
    "nobody in a confederation takes a route with its member in the way": Broken(rules=_MembersGoRound),
    "a sibling hands on what it has": Broken(rules=_SiblingsArePeers),
    "a route server tells its peers of each other, and is not in the path": Broken(
        policies=lambda p: replace(p, servers=frozenset())
    ),
    "a link may have one family alone": Broken(other_family=True),
    "networks have communities of their own": Broken(rules=_NoBooks),
    "communities are passed on": Broken(policies=lambda p: replace(p, strips=_all(p))),
    "some strip communities": Broken(policies=lambda p: replace(p, strips=frozenset())),
    "large communities": _unread(lambda community: len(community) == 3),
    "extended communities": _unread(is_extended),
    "not sent to": _without(NoExportTo),
    "sent in spite of that": _without(ExportTo),
    "prepended": _without(Prepend),
    "another local preference": _without(LocalPreference),
    "of several preferences the lowest": Broken(rules=_HighestPreference),
    "a MED is set": _without(SetMed),
    "of several MEDs the lowest": Broken(rules=_HighestMed),
    "kept in a region": _without(KeepInRegion),
    "kept in a region inside the AS too": Broken(rules=_CarriesEverywhere),
    "kept from who reaches beyond the region": Broken(rules=_IgnoresFootprints),
    "dropped": _without(Blackhole),
    "what is dropped does not arrive": Broken(rules=_DropsNothing),
    "what is dropped is chosen all the same": Broken(rules=_RefusesWhatIsDropped),
    "what is dropped goes to no other AS": Broken(rules=_DropsAndTells),
    "towards some neighbours": _to_all(Neighbours),
    "towards one neighbour": _to_all(int),
    "in some regions": _everywhere(lambda where: bool(where.regions)),
    "outside some regions": Broken(rules=_InsideAlone),
    "where it was announced, and not where it is": Broken(rules=_EnteredHere),
    "where it was announced": _everywhere(lambda where: where.announced),
    "NO_EXPORT": _unread(lambda community: community == (65535, 65281)),
    "NO_EXPORT ends at the border and not before": Broken(rules=_StopsInside),
    "NO_EXPORT ends at the border of the confederation": Broken(rules=_NotBetweenMembers),
    "NO_ADVERTISE": _unread(lambda community: community == (65535, 65282)),
    "NOPEER": _unread(lambda community: community == (65535, 65284)),
    "graceful shutdown": _unread(lambda community: community == (65535, 0)),
}


def worlds_changed(
    worlds: Iterable[World], rules: Collection[str] = tuple(RULES), enough: int = ENOUGH
) -> dict[str, int]:
    """Per rule the number of worlds that are otherwise without it, counted up to `enough`."""
    found = dict.fromkeys(rules, 0)
    for world in worlds:
        left = [rule for rule in rules if found[rule] < enough]
        if not left:
            break
        changed = _changed(world, left)
        found |= {rule: found[rule] + 1 for rule in changed}
    return found


def _changed(world: World, rules: Collection[str]) -> set[str]:
    """The rules without which this world is another."""
    plan = address.plan(world.topology, "none")
    graphs = {family: model.modelled(plan, family) for family in FAMILIES}
    changed: set[str] = set()
    for k in reversed(range(PREFIXES)):  # the plain one last
        for family, graph in graphs.items():
            seeds = graph.seeds(world.scope(k))
            right = reference.settle(graph.internet, seeds, graph.policies)
            answer = _answer(graph, seeds, right)
            for rule in rules:
                broken = RULES[rule]
                if rule in changed or (broken.other_family and family == FAMILIES[0]):
                    continue
                other = graphs[FAMILIES[0]] if broken.other_family else graph
                model_without = broken.rules(other.internet, broken.policies(other.policies))
                told = tuple(map(broken.seeds, seeds))
                if not _rests(model_without, told, right) and answer != _answer(
                    other, told, reference.settled(model_without, told)
                ):
                    changed.add(rule)
    return changed


def _rests(rules: Rules, seeds: tuple[Seed, ...], settled: Settled) -> bool:
    """Whether nobody would hold or choose anything else: sooner found than another end."""
    return all(
        (offered := tuple(rules.offers(site, settled.best, seeds))) == settled.holds[site]
        and rules.choose(site, offered) == settled.best[site]
        for site in range(len(settled.best))
    )


def _answer(graph: Modelled, seeds: tuple[Seed, ...], settled: Settled) -> tuple[object, ...]:
    """Tables, and where packets of vantages arrive."""
    landings = [landing(graph, seeds, settled, graph.site(vantage.router)) for vantage in graph.plan.vantages]
    return tables_of(graph, seeds, settled), tuple(landings)
