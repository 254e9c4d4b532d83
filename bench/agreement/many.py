"""Worlds for several implementations at once: who runs which router, and what a world must be for that.

Networks of one city are FRR's, GoBGP's and OpenBGPD's in turn, all others BIRD's. What these three have no words for
here (a dictionary, siblings, a route server) stays with BIRD. Pure, but for the modules that it hands on.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from anypop.lab.address import LabPlan, Router
from anypop.lab.routers import RouterSession
from anypop.lab.topology import Habit, LinkKind
from anypop.model.announce import Prefix, Scope
from anypop.model.extended_communities import read
from anypop.model.route import Candidate
from bench.agreement import frr, gobgp, openbgpd
from bench.agreement.worlds import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """How a router is started in its namespace, with a folder of its own, and asked what it holds. `renew` begins a
    session anew (None: nothing is known for which that would be needed); `lacks`: habits that it has no words for.
    """

    name: str
    start: Callable[[Router, Sequence[RouterSession], frozenset[Habit], Path], None]
    held: Callable[[Router, Sequence[RouterSession], Sequence[Prefix], Path], Iterator[Candidate]]
    renew: Callable[[Router, RouterSession, int], None] | None = None
    lacks: frozenset[Habit] = frozenset()


FRR = Implementation(name="FRR", start=frr.start, held=frr.held)
GOBGP = Implementation(
    name="GoBGP",
    start=gobgp.start,
    held=gobgp.held,
    renew=gobgp.renew,
    lacks=frozenset({Habit.MISSING_MED_IS_WORST, Habit.STRIPS_COMMUNITIES}),
)
OPENBGPD = Implementation(
    name="OpenBGPD", start=openbgpd.start, held=openbgpd.held, lacks=frozenset({Habit.MISSING_MED_IS_WORST})
)
_IN_TURN = (FRR, GOBGP, OPENBGPD)

# Graceful shutdown: FRR gives 0 by itself, the lab's networks 50, the lowest of their scale. Blackhole: of hosts alone,
# in these three a matter of their kernels.
_LEFT_OUT = ((65535, 0), (65535, 666))
# Route target and route origin, of AS numbers of both lengths and of an address
_PASSED_ON = tuple(map(read, ("rt:64500:4200000000", "ro:64500:7", "rt:4200000001:9", "ro:192.0.2.1:5")))


def implementations(plan: LabPlan) -> dict[str, Implementation]:
    """The routers that are not BIRD's, by name."""
    turns = cycle(_IN_TURN)
    fit = [router for router in plan.routers if _fits(plan, router.asn)]
    return {router.name: next(turns) for router in sorted(fit, key=lambda router: router.asn)}


def _fits(plan: LabPlan, asn: int) -> bool:
    system = plan.topology.find(asn)
    kinds = {link.kind for link in plan.topology.links if asn in (link.a, link.b)}
    return (
        system is not None
        and len(system.cities) == 1
        and Habit.ROUTE_SERVER not in system.habits
        and LinkKind.SIBLING not in kinds
        and system.communities == asn
    )


def fitted(world: World) -> World:
    """The world with networks of one city that know no communities but the well-known ones, and no packets, which
    neither GoBGP nor OpenBGPD forwards here.
    """
    document = copy.deepcopy(dict(world.document))
    document["vantages"] = []
    others = [s for s in document["ases"] if len(s["cities"]) == 1 and str(Habit.ROUTE_SERVER) not in s["habits"]]
    for system, program in zip(sorted(others, key=lambda system: int(system["asn"])), cycle(_IN_TURN), strict=False):
        system.pop("communities", None)
        system["habits"] = [habit for habit in system["habits"] if habit not in program.lacks]
        if program is GOBGP:  # which compares MEDs of different neighbours always, or none
            system["habits"] = [str(Habit.COMPARES_MED_ALWAYS)]
    for link in document["links"]:
        if link["relationship"] == str(LinkKind.SIBLING) and {link["a"], link["b"]} & {s["asn"] for s in others}:
            link["relationship"] = str(LinkKind.PEER)
    scopes = tuple(
        {session: _fitted(scope, k, number) for number, (session, scope) in enumerate(told.items())}
        for k, told in enumerate(world.scopes)
    )
    return World(seed=world.seed, document=document, scopes=scopes)


def _fitted(scope: Scope, k: int, number: int) -> Scope:
    """Without what these have no words for, and with extended communities that nobody acts on: all are to pass on
    every kind that they have a name for.
    """
    more = (_PASSED_ON[(k + number + i) % len(_PASSED_ON)] for i in (0, 1))
    return replace(
        scope,
        communities=tuple(c for c in scope.communities if c not in _LEFT_OUT),
        extended_communities=tuple(sorted({*scope.extended_communities, *more})),
    )
