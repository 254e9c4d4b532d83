"""Following a route from router to router, as packets do: views of routers in, where it ends out.

A `RouterView` is what one router holds for one address, told by a running daemon or made by the model. Each router
sends by its own best route, so an alternative is followed by the *neighbour's* best from its first hop on. Loops,
black holes and missing routes are answers, not errors. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from anypop.model.names import CityCode
from anypop.model.route import Candidate, Relationship
from anypop.routing.decision import Decision, Rules, decide_as_marked


class End(StrEnum):
    """How following a route ended. The value is the phrase people read."""

    LANDED = "landed"
    NO_ROUTE = "no route"
    LOOP = "loop"
    BLACK_HOLE = "black hole"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterView:
    """One router and its routes towards one address.

    `pop`: the router is ours, in that PoP: traffic that comes here has arrived. `addresses`: its own, as text, any
    family: they tie a candidate's next hop to the router it means.
    """

    router: str
    asn: int
    city: CityCode
    pop: CityCode | None = None
    addresses: frozenset[str] = frozenset()
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """Where a route leads: `routers` and `cities` passed after the one that holds it, the last one included; `pop`
    when it landed.
    """

    end: End
    pop: CityCode | None = None
    routers: tuple[str, ...] = ()
    cities: tuple[CityCode, ...] = ()


class KnownRoutes:
    """The views of one address, with the answers that follow from them kept once worked out."""

    def __init__(self, views: Mapping[str, RouterView], rules: Rules) -> None:
        self.views = views
        self._rules = rules
        self._owner = {address: name for name, view in views.items() for address in view.addresses}
        self._decisions: dict[str, Decision] = {}

    def decision(self, router: str) -> Decision:
        """What the router chose, with reasons."""
        if router not in self._decisions:
            self._decisions[router] = decide_as_marked(self.views[router].candidates, rules=self._rules)
        return self._decisions[router]

    def next_router(self, candidate: Candidate) -> str | None:
        """The router that a candidate's next hop means; None when no view has that address."""
        return self._owner.get(candidate.next_hop) or self._owner.get(candidate.neighbor)

    def landing(self, router: str, candidate: Candidate) -> Landing:
        """Where traffic of `router` would end if it used `candidate`."""
        routers: list[str] = []
        seen = {router}
        current: Candidate | None = candidate
        end = End.NO_ROUTE
        while current is not None:
            following = self.next_router(current)
            if following is None or (following == router and not routers):
                end = End.BLACK_HOLE
                break
            routers.append(following)
            if self.views[following].pop is not None:
                end = End.LANDED
                break
            if following in seen:
                end = End.LOOP
                break
            seen.add(following)
            current = self.decision(following).best
        return Landing(
            end=end,
            pop=self.views[routers[-1]].pop if end is End.LANDED else None,
            routers=tuple(routers),
            cities=tuple(self.views[name].city for name in routers),
        )

    def at_border(self, router: str, candidate: Candidate) -> Candidate:
        """`candidate` with the city where its AS learnt it and, for an internal route, the relationship that the
        border router has it by.
        """
        view = self.views[router]
        if candidate.ebgp:
            return candidate if candidate.learnt_at else replace(candidate, learnt_at=view.city)
        name = self.next_router(candidate)
        border = self.views.get(name) if name is not None else None
        if border is None or border.asn != view.asn or name == router:
            return candidate
        known = candidate.relationship
        if known in (None, Relationship.INTERNAL):
            same = (c.relationship for c in border.candidates if c.ebgp and c.as_path == candidate.as_path)
            known = next(same, None) or known
        return replace(candidate, learnt_at=candidate.learnt_at or border.city, relationship=known)
