"""Why a router chose what it chose, and what that means for us: the routes of one prefix in, an `Explained` out.

The decision process is `routing.decision`'s with the rules of the router's maker; before it stands what each maker
compares first (weight, preference). The router's own choice is explained as it is: where the rules would have chosen
otherwise, `disagrees` says so. Pure.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Step
from anypop.routing.decision import BIRD, VENDOR, Decision, Rules, decide
from anypop.routing.paste.pasted import Pasted, PastedRoute, Style

RULES: Mapping[Style, Rules] = {Style.JUNOS: VENDOR, Style.BIRD: BIRD, Style.FRR: VENDOR, Style.IOS: VENDOR}
BEFORE_BGP: Mapping[Style, str] = {
    Style.JUNOS: "preference",
    Style.BIRD: "preference",
    Style.FRR: "weight",
    Style.IOS: "weight",
}
MOST_PREPENDS = 10  # nobody sends more and means it

# The makers' own words for a reason: FRR's beside the best route (`show bgp PREFIX`), Junos's beside the others (`show
# route detail`).
_WORDS: Mapping[str, str] = {
    "Weight": "weight",
    "Local Pref": Step.LOCAL_PREFERENCE,
    "AS Path": Step.AS_PATH_LENGTH,
    "Origin": Step.ORIGIN,
    "MED": Step.MED,
    "Peer Type": Step.EBGP_OVER_IBGP,
    "IGP Metric": Step.NEAREST_EXIT,
    "Older Path": Step.OLDEST,
    "Router ID": Step.ROUTER_ID,
    "Neighbor IP": Step.NEIGHBOR_ADDRESS,
    "Route Preference": "preference",
    "Local Preference": Step.LOCAL_PREFERENCE,
    "AS path": Step.AS_PATH_LENGTH,
    "Interior > Exterior > Exterior via Interior": Step.EBGP_OVER_IBGP,
    "IGP metric": Step.NEAREST_EXIT,
    "Active preferred": Step.OLDEST,
    "Update source": Step.NEIGHBOR_ADDRESS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one route. `eliminated_by`: the step that removed it, or why it takes no part; empty for the best.
    `upstream`: the neighbour of ours that it came through (None: unknown, or we are the router's own neighbour);
    `prepends`: how often our number stands there more than once.
    """

    route: PastedRoute
    eliminated_by: str = ""
    upstream: int | None = None
    prepends: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What this router would do if we announced less to one upstream: `instead` when we withheld it there (None: no
    route is left), and the fewest `prepends` there that make it choose another upstream (None: no number does).
    `guess`: among equal routes the one heard first wins, and the text does not say which that is.
    """

    upstream: int
    instead: Candidate | None
    instead_upstream: int | None
    prepends: int | None
    guess: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One prefix. `asn`: us (given, or the origin that all paths share; None: they have none in common). `step`: what
    removed `runner_up`, the last rival. `marked`: the text says which route is best. `outcomes`: the best first, then
    the others as they stand in the text.
    """

    style: Style
    prefix: Prefix | None
    asn: int | None
    best: Candidate | None
    runner_up: Candidate | None
    step: str
    marked: bool
    outcomes: tuple[Outcome, ...]
    disagrees: tuple[str, ...] = ()
    move: Move | None = None


def explain(pasted: Pasted, *, asn: int | None = None) -> tuple[Explained, ...]:
    """Each prefix of a paste, in the order of the text. `asn`: our AS; without it, the origin of the paths."""
    by_prefix: dict[Prefix, list[PastedRoute]] = {}
    for route in pasted.routes:
        by_prefix.setdefault(route.candidate.prefix, []).append(route)
    return tuple(
        _explain(pasted.style, prefix if pasted.prefix_known else None, routes, asn)
        for prefix, routes in by_prefix.items()
    )


def _explain(style: Style, prefix: Prefix | None, routes: Sequence[PastedRoute], asn: int | None) -> Explained:
    marked = next((route for route in routes if route.candidate.best), None)
    ours = asn if asn is not None else _common_origin(routes)
    lost = {route.line: route.unusable for route in routes if route.unusable and route is not marked}
    left = [route for route in routes if route.line not in lost]
    disagrees: list[str] = []
    usable, left = left, _foremost(left)
    if marked is not None and marked not in left:
        disagrees.append(f"by {BEFORE_BGP[style]} another route would win")
        left = usable
    kept = {route.line for route in left}
    lost |= {route.line: BEFORE_BGP[style] for route in usable if route.line not in kept}
    decision = _decide(style, left, marked)
    lost |= {_line(out.candidate): out.step.value for out in decision.eliminated}
    by_line = {route.line: route for route in routes}
    best = by_line[_line(decision.best)] if decision.best is not None else None
    rival = by_line[_line(decision.runner_up)] if decision.runner_up is not None else None
    step: str = decision.step.value
    if rival is None and BEFORE_BGP[style] in lost.values():
        step = BEFORE_BGP[style]
        rival = next(route for route in routes if lost.get(route.line) == step)
    disagrees += [f"by {against.value} another route would win" for against in decision.against]
    disagrees += _unlike_its_words(style, step, best, routes, lost)
    outcomes = [_outcome(route, "" if route is best else lost.get(route.line, ""), ours) for route in routes]
    outcomes.sort(key=lambda outcome: outcome.route is not best)
    return Explained(
        style=style,
        prefix=prefix,
        asn=ours,
        best=best.candidate if best is not None else None,
        runner_up=rival.candidate if rival is not None else None,
        step=step,
        marked=marked is not None,
        outcomes=tuple(outcomes),
        disagrees=tuple(disagrees),
        move=_move(style, usable, best, ours) if best is not None and ours is not None else None,
    )


def _foremost(routes: Sequence[PastedRoute]) -> list[PastedRoute]:
    """Those with the greatest weight, or the best preference."""
    first = max((route.precedence for route in routes), default=0)
    return [route for route in routes if route.precedence == first]


def _decide(style: Style, routes: Sequence[PastedRoute], marked: PastedRoute | None) -> Decision:
    """`decide`, where makers that prefer the oldest external route are taken to keep the one that is active, as they
    do: an age in the text counts only where no route is marked. Where router ids are missing, the marked route is taken
    to have the lowest: no other step can have chosen it. Candidates carry their line in place of a protocol, so that
    equal ones are two.
    """
    held = []
    nameless = marked is not None and not all(route.candidate.router_id for route in routes)
    for route in routes:
        age, router_id = route.candidate.age_s, route.candidate.router_id
        if marked is not None and RULES[style].prefer_oldest:
            age = inf if route is marked else age or 0.0
        if nameless:
            router_id = "0.0.0.0" if route is marked else "255.255.255.255"
        held.append(replace(route.candidate, protocol=str(route.line), age_s=age, router_id=router_id))
    chosen = next((c for c in held if marked is not None and c.protocol == str(marked.line)), None)
    return decide(held, rules=RULES[style], chosen=chosen)


def _line(candidate: Candidate) -> int:
    return int(candidate.protocol)


def _unlike_its_words(
    style: Style, step: str, best: PastedRoute | None, routes: Sequence[PastedRoute], lost: Mapping[int, str]
) -> list[str]:
    """Where ages, or the router's own word for its reason, say something else than the step that decided."""
    if best is None:
        return []
    found = []
    if step == Step.OLDEST and best.candidate.age_s is not None:
        rivals = [
            route.candidate
            for route in routes
            if lost.get(route.line) == Step.OLDEST and route.candidate.age_s is not None
        ]
        older = max(
            (c for c in rivals if (c.age_s or 0.0) > best.candidate.age_s), key=lambda c: c.age_s or 0.0, default=None
        )
        if older is not None:
            found.append(
                f"by age alone {path_text(older)} would win: it has been there for {duration(older.age_s)}, the best "
                "for"
                f" {duration(best.candidate.age_s)}; {style.says} does not change from the external route that is "
                "active already,"
                " so the best became active when something else spoke for it"
            )
    for route in routes:
        decided = step if route is best else lost.get(route.line, "")
        if _WORDS.get(route.reason, decided) != decided:
            found.append(f"{style.says} itself names another reason at line {route.line}: {route.reason}")
    return found


def _common_origin(routes: Sequence[PastedRoute]) -> int | None:
    origins = {route.candidate.as_path[-1] for route in routes if route.candidate.as_path}
    return origins.pop() if len(origins) == 1 else None


def through(path: Sequence[int], asn: int | None) -> tuple[int | None, int]:
    """The AS that stands before ours in a path, and how often ours is repeated there. None: we are not its origin,
    or its only AS.
    """
    if asn is None or not path or path[-1] != asn:
        return None, 0
    repeated = next((i for i, number in enumerate(reversed(path)) if number != asn), len(path))
    return (path[-1 - repeated] if repeated < len(path) else None), repeated - 1


def _outcome(route: PastedRoute, eliminated_by: str, asn: int | None) -> Outcome:
    upstream, prepends = through(route.candidate.as_path, asn)
    return Outcome(route=route, eliminated_by=eliminated_by, upstream=upstream, prepends=prepends)


def _move(style: Style, usable: Sequence[PastedRoute], best: PastedRoute, asn: int) -> Move | None:
    upstream, _ = through(best.candidate.as_path, asn)
    if upstream is None:
        return None
    others = [route for route in usable if through(route.candidate.as_path, asn)[0] != upstream]
    decision = _decide(style, _foremost(others), None)
    instead = decision.best
    ages_known = all(route.candidate.age_s is not None for route in others)
    fewest = None
    for count in range(1, MOST_PREPENDS + 1) if others else ():
        longer = [
            replace(
                route,
                candidate=replace(route.candidate, as_path=(*route.candidate.as_path, *(asn,) * count), best=False),
            )
            if through(route.candidate.as_path, asn)[0] == upstream
            else route
            for route in usable
        ]
        kept = next(route for route in longer if route.line == best.line)
        # It stays active as long as nothing before "oldest" speaks against it: asked without a choice, but as if it
        # were the oldest.
        held = [
            replace(
                route, candidate=replace(route.candidate, age_s=inf if route is kept else route.candidate.age_s or 0.0)
            )
            for route in longer
        ]
        winner = _decide(style, _foremost(held), None).best
        if winner is not None and through(winner.as_path, asn)[0] != upstream:
            fewest = count
            break
    return Move(
        upstream=upstream,
        instead=instead,
        instead_upstream=through(instead.as_path, asn)[0] if instead is not None else None,
        prepends=fewest,
        guess=RULES[style].prefer_oldest
        and not ages_known
        and decision.step in (Step.ROUTER_ID, Step.NEIGHBOR_ADDRESS),
    )


def upstreams(explained: Explained) -> Counter[int]:
    """How many of the routes came through each upstream of ours."""
    return Counter(outcome.upstream for outcome in explained.outcomes if outcome.upstream is not None)


def path_text(candidate: Candidate) -> str:
    return " ".join(map(str, candidate.as_path)) or "a route of its own"


def duration(seconds: float | None) -> str:
    """`3.6 d`, `24 h`, `14 d`: two digits are enough to compare."""
    if seconds is None:
        return "an unknown time"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 100 else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
