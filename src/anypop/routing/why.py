"""The answer to "why does it land there?": the types that `explain` fills, `sentences` puts into words and every face
shows.

Frozen, and carried as JSON by `model.codec`. Decides nothing.
"""

from dataclasses import dataclass

from anypop.model.backbone import Onward
from anypop.model.names import CityCode
from anypop.model.route import Candidate, Step
from anypop.routing.follow import End, Landing


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One route that a router holds, what became of it, and where it leads. `eliminated_by` None: it is the best."""

    candidate: Candidate
    eliminated_by: Step | None
    lands: Landing


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One router on the way. `step` decided between `best` and `runner_up`; ONLY_ROUTE when there was nothing to
    decide.

    `options` has the best first, then the others, the latest removed first. `unexplained`: steps of the decision
    process that the router's own choice goes against (it runs other rules than assumed).
    """

    router: str
    asn: int
    city: CityCode
    options: tuple[Option, ...]
    best: Candidate | None
    step: Step
    runner_up: Candidate | None
    unexplained: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """The announcement of ours that attracted the traffic: from `pop` to the neighbour `upstream_asn`, whose session
    is called `upstream` there (empty when the network's description was not given).
    """

    pop: CityCode
    upstream_asn: int
    upstream: str = ""
    router: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The whole answer for one vantage.

    `landed` None: the traffic does not arrive, `end` says how. `decided_at_as`, `decided_in` and `decided_by`: AS,
    city and step that rejected `rejected`, a route to the `nearest` PoP; all None when it landed there, or when no
    router on the way holds such a route. `rtt_ms`: round trip along the cities of the chosen way; `nearest_rtt_ms`:
    along the rejected route, or straight to the nearest PoP. `caused_by`: our announcement. `sentences`: the same for
    people, the most important first. `onward`: how the hosts of that PoP pass it on, where hosts carry for each other.
    """

    vantage: str
    start: str
    end: End
    landed: CityCode | None
    nearest: CityCode | None
    hops: tuple[Hop, ...]
    decided_at_as: int | None = None
    decided_in: CityCode | None = None
    decided_by: Step | None = None
    chosen: Candidate | None = None
    rejected: Candidate | None = None
    caused_by: Announced | None = None
    rtt_ms: float = 0.0
    nearest_rtt_ms: float = 0.0
    extra_ms: float = 0.0
    sentences: tuple[str, ...] = ()
    onward: tuple[Onward, ...] = ()

    @property
    def candidates(self) -> tuple[Option, ...]:
        """What the vantage's own router could choose from."""
        return self.hops[0].options if self.hops else ()
