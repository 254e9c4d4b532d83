"""What the model says and what the routers say about one world, side by side: the verdict on a topology.

Comes in a running world, goes out a `Verdict`. For each of four announcements and both families, at every router: all
routes that it holds (from whom, with which AS path, local preference, MED and communities) and which of them is best,
by the reference engine; the best one by the compiled engine too; and the PoP where a real packet of every vantage
arrives, along the model's best routes. What agrees must stay so for a second.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice, permutations
from random import Random

from anypop.lab import model, routers
from anypop.lab.model import Modelled
from anypop.lab.policy import MARKS
from anypop.lab.routers import RouterSession
from anypop.lab.topology import FAMILIES
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError
from anypop.model.route import Candidate
from anypop.routing.engine import reference
from anypop.routing.engine.propagate import Engine, Outcome
from anypop.routing.engine.reference import Held, Settled
from anypop.routing.engine.seeds import Seed
from bench.agreement.running import Running
from bench.agreement.worlds import PREFIXES

# Routers that still learn change something at least every few seconds: BIRD tries a session again after 1 s, Babel
# speaks each second.
QUIET_S = 8.0
OTHERS_QUIET_S = 35.0  # OpenBGPD tries again 30 s after two ends met half-way
LONGEST_S = 60.0
MOST_ORDERS = 4
MOST_RENEWED = 20
ANEW_S = 0.5  # a session that begins anew needs a second at least
PAUSE_S = 1.0  # news of one announcement crosses any of these internets in a tenth of that

# Sender (a router or `pop-lhr`), AS path, local preference, MED (0: none), communities in order without the marks of
# the AS that holds the route
Said = tuple[str, tuple[int, ...], int, int, tuple[tuple[int, ...], ...]]
Told = Mapping[tuple[int, int], "Prediction"]  # by announcement and family
Graphs = Mapping[int, Modelled]  # by family: some links have one alone
Table = tuple[frozenset[Said], Said | None]  # all that a router holds, and its best


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`differences` is empty when all agree. `led`: how many of the announcements have several stable ends (RFC 4264:
    it matters what was announced first), where routers found another one than the model and came to the model's own
    when told in another order. `compared`: how many tables of routers were laid side by side. `renewed`: sessions that
    had to begin anew, since an implementation with a known fault had left an older route there.
    """

    differences: tuple[str, ...]
    led: int = 0
    compared: int = 0
    renewed: int = 0

    @property
    def agree(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One announcement in the model. `tables`: per router."""

    seeds: tuple[Seed, ...]
    settled: Settled
    outcome: Outcome
    tables: Mapping[str, Table]


def predict(graph: Modelled, running: Running, k: int) -> Prediction:
    """Both engines' answers to the k-th announcement."""
    seeds = graph.seeds(running.world.scope(k))
    settled = reference.settle(graph.internet, seeds, graph.policies)
    tables = tables_of(graph, seeds, settled)
    outcome = Engine(graph.internet, graph.policies).run(seeds)
    return Prediction(seeds=seeds, settled=settled, outcome=outcome, tables=tables)


def tables_of(graph: Modelled, seeds: tuple[Seed, ...], settled: Settled) -> dict[str, Table]:
    """What every router holds by the model, as it is compared."""
    return {
        name: (
            frozenset(_said(graph, seeds, route) for route in settled.holds[site]),
            _best(graph, seeds, settled.best[site]),
        )
        for site, name in enumerate(graph.routers)
    }


def compare(running: Running) -> Verdict:
    """Wait until the routers say what the model says, or until they are quiet and say something else. WorldError where
    they do and lost a session meanwhile: on a machine that is too busy for BFD's 3 s, that is not BGP's doing.
    """
    since = running.since()
    graphs = {family: model.modelled(running.plan, family) for family in FAMILIES}
    told = {(k, family): predict(graph, running, k) for k in range(PREFIXES) for family, graph in graphs.items()}
    tables = _watch(running, told)
    renewed = 0
    while (left := _left_behind(running, told, tables)) and renewed < MOST_RENEWED:
        for teller, session, family in left:
            _renew(running, teller, session, family)
        renewed += len(left)
        tables = _watch(running, told)
    found = {
        (k, family): {name: table[running.prefix(k, family)] for name, table in tables.items()} for k, family in told
    }
    alike = {at: prediction for at, prediction in told.items() if found[at] == prediction.tables}
    # Before anything is led: that announces a prefix anew, in both families.
    differences = _arrivals(graphs, running, alike)
    led = 0
    for (k, family), prediction in told.items():
        graph = graphs[family]
        where = f"announcement {k}, IPv{family}"
        differences += [f"{where}: {line}" for line in _engines(graph, prediction)]
        if (k, family) in alike:
            continue
        end = _another_end(graph, prediction, found[k, family])
        if end and _lead(graph, running, prediction, k, family):
            led += 1
            differences += _arrivals(graphs, running, {(k, family): prediction})
            continue
        remark = " (an end of the model too, but BIRD was not led to the model's own)" if end else ""
        differences += [f"{where}: {line}{remark}" for line in _unlike(prediction.tables, found[k, family])]
    if not differences and not led:
        differences += _changes(running, tables)
    now = running.since()
    if differences and not renewed and any(abs(now[session] - moment) > ANEW_S for session, moment in since.items()):
        raise WorldError("the routers of the comparison", f"lost a session by themselves; {differences[0]}")
    return Verdict(
        differences=tuple(differences),
        led=led,
        compared=sum(len(prediction.tables) for prediction in told.values()),
        renewed=renewed,
    )


def _left_behind(
    running: Running, told: Told, tables: Mapping[str, Mapping[Prefix, Table]]
) -> set[tuple[str, RouterSession, int]]:
    """Where a router kept an older route of one whose program has the fault that `gobgp` tells of: who told it, over
    which session, in which family. What is kept is more than the model has, and who keeps it stands in the path of the
    teller's best route.
    """
    found = set()
    for router in running.plan.routers:
        if (program := running.others.get(router.name)) is None or program.renew is None:
            continue
        for session in routers.sessions(running.plan, router):
            for k, family in told if not session.pop else ():
                prefix = running.prefix(k, family)
                kept, _ = tables[session.router][prefix]
                _, best = tables[router.name][prefix]
                more = kept - told[k, family].tables[session.router][0]
                if best is not None and session.asn in best[1] and any(sender == router.name for sender, *_ in more):
                    found.add((router.name, session, family))
    return found


def _renew(running: Running, name: str, session: RouterSession, family: int) -> None:
    renew = running.others[name].renew
    assert renew is not None, name
    renew(next(router for router in running.plan.routers if router.name == name), session, family)


def _changes(running: Running, before: Mapping[str, Mapping[Prefix, Table]]) -> list[str]:
    """What a router says otherwise within a second in which nobody did anything."""
    senders = {router.name: _senders(running, router.name) for router in running.plan.routers}
    until = time.monotonic() + PAUSE_S
    while time.monotonic() < until:
        time.sleep(PAUSE_S / 4)
        moved = [name for name, to in senders.items() if _read(running, name, to) != before[name]]
        if moved:
            return [f"{name}: agreed with the model, but did not stay so" for name in moved]
    return []


def _lead(graph: Modelled, running: Running, told: Prediction, k: int, family: int) -> bool:
    """Withdraw the k-th prefix and announce it again, session by session, in orders that lead to the model's end in the
    model; where these are few, some more than once, since milliseconds decide too. True: in this family the routers
    came to it too.
    """
    for order in islice(cycle(islice(_orders(graph, told), MOST_ORDERS)), MOST_ORDERS):
        sessions = [(str(told.seeds[i].pop), told.seeds[i].upstream) for i in order]
        for count in range(len(sessions) + 1):
            running.announce(k, sessions[:count])
            found = _rest(running, k)
        if {name: found[name][running.prefix(k, family)] for name in graph.routers} == told.tables:
            return True
    return False


def _orders(graph: Modelled, told: Prediction) -> Iterator[tuple[int, ...]]:
    """Orders of the seeds that end where all at once do: every site chooses again after each until nothing changes."""
    rules = reference.Rules(graph.internet, graph.policies)
    dice = Random(len(told.seeds))
    numbers = range(len(told.seeds))
    orders = (
        permutations(numbers) if len(numbers) <= 4 else (tuple(dice.sample(numbers, len(numbers))) for _ in range(60))
    )
    for order in orders:
        best: list[Held | None] = [None] * len(graph.routers)
        for count in range(1, len(order) + 1):
            seeds = [replace(seed, announced=i in order[:count]) for i, seed in enumerate(told.seeds)]
            for _ in range(2 * len(best)):
                before = list(best)
                for site in range(len(best)):
                    best[site] = rules.choose(site, tuple(rules.offers(site, best, seeds)))
                if before == best:
                    break
        if best == list(told.settled.best):
            yield order


def _rest(running: Running, k: int) -> dict[str, dict[Prefix, Table]]:
    """What all routers hold for the k-th prefix once nothing has changed for a while."""
    senders = {router.name: _senders(running, router.name) for router in running.plan.routers}
    began = changed = time.monotonic()
    before: dict[str, dict[Prefix, Table]] = {}
    while time.monotonic() - changed < PAUSE_S:
        found = {
            name: {p: table for p, table in _read(running, name, to).items() if p in running.prefixes(k)}
            for name, to in senders.items()
        }
        if found != before:
            before, changed = found, time.monotonic()
        if time.monotonic() - began > LONGEST_S:
            raise WorldError("the routers of the comparison", f"still change their minds after {LONGEST_S:g} s")
        time.sleep(0.1)
    return before


def _watch(running: Running, told: Told) -> dict[str, dict[Prefix, Table]]:
    """What all routers hold when they say what is wanted, all of them at once, or when they have been quiet for
    long.
    """
    wanted = {
        name: {running.prefix(k, family): prediction.tables[name] for (k, family), prediction in told.items()}
        for name in next(iter(told.values())).tables
    }
    senders = {router.name: _senders(running, router.name) for router in running.plan.routers}
    quiet_s = OTHERS_QUIET_S if running.others else QUIET_S
    began = changed = time.monotonic()
    found: dict[str, dict[Prefix, Table]] = {}
    pending = set(wanted)
    while True:
        for name in sorted(pending):
            now = _read(running, name, senders[name])
            if now != found.get(name):
                found[name], changed = now, time.monotonic()
        pending = {name for name in pending if found[name] != wanted[name]}
        if not pending:  # each was right at its moment; are they all, now?
            found = {name: _read(running, name, senders[name]) for name in wanted}
            pending = {name for name in wanted if found[name] != wanted[name]}
            if not pending:
                return found
        if time.monotonic() - changed > quiet_s:
            return {name: _read(running, name, senders[name]) for name in wanted}
        if time.monotonic() - began > LONGEST_S + quiet_s:
            raise WorldError("the routers of the comparison", f"still change their minds after {LONGEST_S:g} s")
        time.sleep(0.1)


def _senders(running: Running, name: str) -> dict[str, str]:
    router = next(r for r in running.plan.routers if r.name == name)
    return {f"{s.name}_v{family}": s.router for s in routers.sessions(running.plan, router) for family in s.families}


def _read(running: Running, name: str, senders: Mapping[str, str]) -> dict[Prefix, Table]:
    asn = next(router.asn for router in running.plan.routers if router.name == name)
    tables: dict[Prefix, Table] = {}
    for prefix, routes in running.held(name).items():
        said = [(heard(asn, senders[route.protocol], route), route.best) for route in routes]
        tables[prefix] = frozenset(route for route, _ in said), next((route for route, best in said if best), None)
    return tables


def heard(asn: int, sender: str, route: Candidate) -> Said:
    """A route in a router of AS `asn`, as it is compared."""
    large = [c for c in route.large_communities if c[0] != asn or c[1] not in MARKS]
    return (
        sender,
        route.as_path,
        route.local_pref,
        route.med,
        tuple(sorted({*route.communities, *large, *route.extended_communities})),
    )


def _sender(graph: Modelled, seeds: tuple[Seed, ...], route: Held) -> str:
    return graph.routers[route.sender] if route.sender >= 0 else f"pop-{seeds[route.seed].pop.lower()}"


def _said(graph: Modelled, seeds: tuple[Seed, ...], route: Held) -> Said:
    return (
        _sender(graph, seeds, route),
        route.path,
        route.local_pref,
        route.med or 0,
        tuple(sorted(set(route.communities))),
    )


def _best(graph: Modelled, seeds: tuple[Seed, ...], route: Held | None) -> Said | None:
    return None if route is None else _said(graph, seeds, route)


def _engines(graph: Modelled, told: Prediction) -> list[str]:
    """Where the compiled engine's best route is not the reference engine's."""
    lines = []
    if told.outcome.stable != told.settled.stable:
        lines.append(
            f"stable by the reference engine: {told.settled.stable}, by the compiled one: {told.outcome.stable}"
        )
    senders = told.outcome.sender.tolist()
    for site, best in enumerate(told.settled.best):
        slow = None if best is None else (best.path, best.sender if best.sender >= 0 else -1 - best.seed)
        fast = (told.outcome.path(site), senders[site]) if told.outcome.path(site) else None
        if slow != fast:
            lines.append(f"{graph.routers[site]}: the reference engine says {slow}, the compiled one {fast}")
    if (
        lines
        and told.settled.stable
        and reference.at_rest(graph.internet, told.seeds, _choices(told.outcome, told.seeds), graph.policies)
    ):
        return []  # several stable ends: each found one
    return lines


def _choices(outcome: Outcome, seeds: Sequence[Seed]) -> list[int]:
    """What `at_rest` reads: a site without a route has a number below every seed's."""
    senders: list[int] = outcome.sender.tolist()
    return [sender if outcome.path(site) else -1 - len(seeds) for site, sender in enumerate(senders)]


def _another_end(graph: Modelled, told: Prediction, found: Mapping[str, Table]) -> bool:
    """Whether the routers chose otherwise than the model, and the model, given their choices, has every table as
    they do and would stay.
    """
    if all(found[name][1] == best for name, (_, best) in told.tables.items()):
        return False
    rules = reference.Rules(graph.internet, graph.policies)
    best: list[Held | None] = [None] * len(graph.routers)
    for _ in graph.routers:  # a route is as far away as there are routers, at most
        for site, name in enumerate(graph.routers):
            if best[site] is None and found[name][1] is not None:
                offers = rules.offers(site, best, told.seeds)
                best[site] = next(
                    (route for route in offers if _said(graph, told.seeds, route) == found[name][1]), None
                )
    for site, name in enumerate(graph.routers):
        offered = tuple(rules.offers(site, best, told.seeds))
        held = frozenset(_said(graph, told.seeds, route) for route in offered)
        if rules.choose(site, offered) != best[site] or (held, _best(graph, told.seeds, best[site])) != found[name]:
            return False
    return True


def _unlike(wanted: Mapping[str, Table], found: Mapping[str, Table]) -> list[str]:
    lines = []
    for name, (held, best) in wanted.items():
        here, chosen = found[name]
        if best != chosen:
            lines.append(f"{name}: best in the model {_spelled(best)}, in BIRD {_spelled(chosen)}")
        lines += [f"{name}: only the model holds {_spelled(route)}" for route in sorted(held - here)]
        lines += [f"{name}: only BIRD holds {_spelled(route)}" for route in sorted(here - held)]
    return lines


def _spelled(route: Said | None) -> str:
    if route is None:
        return "none"
    sender, path, preference, med, communities = route
    said = " ".join(":".join(map(str, community)) for community in communities)
    return f"{' '.join(map(str, path))} from {sender} with local preference {preference}, MED {med}, [{said}]"


def landing(graph: Modelled, seeds: Sequence[Seed], settled: Settled, site: int) -> str:
    """The PoP where a packet that enters at a site arrives in the model; "" for none."""
    senders = [
        i if best is None or best.dropped else best.sender if best.sender >= 0 else -1 - best.seed
        for i, best in enumerate(settled.best)
    ]
    seed = graph.landing(senders, site)
    return "" if seed is None else str(seeds[seed].pop)


def _arrivals(graphs: Graphs, running: Running, told: Told) -> list[str]:
    found = running.landings(running.plan.vantages)
    lines = []
    for (k, family), prediction in told.items():
        for vantage in running.plan.vantages:
            site = graphs[family].site(vantage.router)
            expected = landing(graphs[family], prediction.seeds, prediction.settled, site)
            there = found[vantage.name, running.prefix(k, family)]
            if expected != there:
                lines.append(
                    f"announcement {k}, IPv{family}: vantage {vantage.name} behind {vantage.router} reaches"
                    f" {there or 'no PoP'}, in the model {expected or 'no PoP'}"
                )
    return lines
