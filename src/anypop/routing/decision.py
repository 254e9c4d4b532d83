"""The BGP decision process: which of the routes a router holds is best, and which step removed each of the others.

Candidates in (from a running BIRD, a pasted `show route` or the model), a `Decision` with reasons out. RFC 4271
section 9.1.2.2, with local preference before it (9.1.1) and the practice of vendors as options. Pure; candidates with
a loop in their path must have been dropped before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from anypop.model.route import Candidate, Origin, Step

_ORIGIN_RANK = {Origin.IGP: 0, Origin.EGP: 1, Origin.INCOMPLETE: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What routers differ in. The defaults are BIRD 2's; `VENDOR` is what Junos and IOS do unless told otherwise.

    `always_compare_med`: compare MED between different neighbour ASes too. `prefer_oldest`: among external routes the
    longest known one, when the ages of all are known. `compare_path_length`: some networks switch it off.
    """

    compare_path_length: bool = True
    always_compare_med: bool = False
    prefer_oldest: bool = False


BIRD = Rules()
VENDOR = Rules(prefer_oldest=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eliminated:
    """A candidate that lost, and the step that removed it."""

    candidate: Candidate
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the process chose. `step` removed `runner_up`, the last rival; with a single candidate it is ONLY_ROUTE
    and there is none.

    `eliminated` is in the order of removal. `best` None: there was no candidate. `against`: steps that would have
    removed the route which the router itself had marked as best; not empty means that the router does not run these
    rules.
    """

    best: Candidate | None
    runner_up: Candidate | None
    step: Step
    eliminated: tuple[Eliminated, ...] = ()
    against: tuple[Step, ...] = ()


def decide(candidates: Sequence[Candidate], *, rules: Rules = BIRD, chosen: Candidate | None = None) -> Decision:
    """The best of `candidates` and why.

    `chosen`: the router's own choice, where it is known. It then wins whatever the rules say, and a step that would
    have removed it is skipped and noted in `against`: the answer explains the router as it is.
    """
    left = list(candidates)
    lost: list[Eliminated] = []
    against: list[Step] = []
    for step, keep in _steps(rules):
        if len(left) < 2:
            break
        kept = keep(left)
        if chosen is not None and chosen not in kept:
            against.append(step)
            continue
        # By identity: to compare each with each would cost the square of their number.
        staying = set(map(id, kept))
        lost += [Eliminated(candidate=candidate, step=step) for candidate in left if id(candidate) not in staying]
        left = kept
    if len(left) > 1:
        # Nothing above tells them apart: as if the session with the lowest address had won, in the order given.
        winner = chosen if chosen is not None else left[0]
        lost += [
            Eliminated(candidate=candidate, step=Step.NEIGHBOR_ADDRESS) for candidate in left if candidate is not winner
        ]
        left = [winner]
    if not left:
        return Decision(best=None, runner_up=None, step=Step.ONLY_ROUTE)
    if not lost:
        return Decision(best=left[0], runner_up=None, step=Step.ONLY_ROUTE)
    last_step = lost[-1].step
    rivals = [out.candidate for out in lost if out.step is last_step]
    return Decision(
        best=left[0], runner_up=_foremost(rivals, rules), step=last_step, eliminated=tuple(lost), against=tuple(against)
    )


def _foremost(candidates: Sequence[Candidate], rules: Rules) -> Candidate:
    """The best of these alone, of which there is at least one; among equals the first."""
    left = list(candidates)
    for _, keep in _steps(rules):
        left = keep(left) if len(left) > 1 else left
    return left[0]


def decide_as_marked(candidates: Sequence[Candidate], *, rules: Rules = BIRD) -> Decision:
    """As `decide`, with the candidate that the router marked as best (if any) as its choice."""
    return decide(candidates, rules=rules, chosen=next((c for c in candidates if c.best), None))


_Keep = Callable[[list[Candidate]], list[Candidate]]


def _steps(rules: Rules) -> list[tuple[Step, _Keep]]:
    steps: list[tuple[Step, _Keep]] = [(Step.LOCAL_PREFERENCE, lambda left: _lowest(left, lambda c: -c.local_pref))]
    if rules.compare_path_length:
        steps.append((Step.AS_PATH_LENGTH, lambda left: _lowest(left, lambda c: len(c.as_path))))
    steps.append((Step.ORIGIN, lambda left: _lowest(left, lambda c: _ORIGIN_RANK[c.origin])))
    if rules.always_compare_med:
        steps.append((Step.MED, lambda left: _lowest(left, lambda c: c.med)))
    else:
        steps.append((Step.MED, _lowest_med_of_each_neighbour))
    steps.append((Step.EBGP_OVER_IBGP, lambda left: _lowest(left, lambda c: not c.ebgp)))
    steps.append((Step.NEAREST_EXIT, lambda left: _lowest(left, lambda c: c.igp_metric)))
    if rules.prefer_oldest:
        steps.append((Step.OLDEST, _oldest_if_external))
    steps.append((Step.ROUTER_ID, lambda left: _lowest_known_address(left, lambda c: c.router_id)))
    steps.append((Step.NEIGHBOR_ADDRESS, lambda left: _lowest_known_address(left, lambda c: c.neighbor)))
    return steps


def _lowest(left: list[Candidate], key: Callable[[Candidate], int]) -> list[Candidate]:
    bound = min(key(candidate) for candidate in left)
    return [candidate for candidate in left if key(candidate) == bound]


def _lowest_med_of_each_neighbour(left: list[Candidate]) -> list[Candidate]:
    """RFC 4271 9.1.2.2 c: a route goes when another from the same neighbour AS has a lower MED. A route of our own
    has no neighbour AS.
    """
    bounds: dict[int | None, int] = {}
    for candidate in left:
        neighbour = _neighbour_as(candidate)
        bounds[neighbour] = min(candidate.med, bounds.get(neighbour, candidate.med))
    return [candidate for candidate in left if candidate.med == bounds[_neighbour_as(candidate)]]


def _neighbour_as(candidate: Candidate) -> int | None:
    return candidate.as_path[0] if candidate.as_path else None


def _oldest_if_external(left: list[Candidate]) -> list[Candidate]:
    ages = [candidate.age_s for candidate in left if candidate.ebgp and candidate.age_s is not None]
    if len(ages) < len(left):
        return left
    oldest = max(ages)
    return [candidate for candidate in left if candidate.age_s == oldest]


def _lowest_known_address(left: list[Candidate], address: Callable[[Candidate], str]) -> list[Candidate]:
    """The lowest address wins, compared as a number; a step that lacks the address of even one candidate decides
    nothing.
    """
    if not all(address(candidate) for candidate in left):
        return left
    ranks = [rank(address(candidate)) for candidate in left]
    bound = min(ranks)
    return [candidate for candidate, rank in zip(left, ranks, strict=True) if rank == bound]


def rank(text: str) -> tuple[int, int, str]:
    """How addresses compare: IPv4 before IPv6 before names (routers of the model have names in their place)."""
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return 9, 0, text
    return parsed.version, int(parsed), text
