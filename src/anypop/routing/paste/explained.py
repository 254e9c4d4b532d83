"""Why a router chose what it chose, and what that means for us: the routes of a paste in, an `Explained` for each block
out.

The comparison is `choice`'s by the maker's own order (`steps`). The router's own choice is explained as it is: where
the steps would have chosen otherwise, `disagrees` says so. What the text lacks is in `notes`, and where the best is
among what it lacks no route is crowned. Pure.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from anypop.model.announce import Prefix
from anypop.model.route import Candidate, Step
from anypop.routing.paste.choice import Choice, choose, in_its_own_words
from anypop.routing.paste.pasted import INTERNAL, Block, Pasted, PastedRoute, Style, Unseen
from anypop.routing.paste.steps import ORDER, age_of, staying, step_of

MOST_PREPENDS = 10  # nobody sends more and means it


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
    """One decision. `asn`: us (given, or the origin that all paths share; None: they have none in common). `step`: what
    removed `runner_up`, the last rival; empty where no route is crowned. `marked`: the text says which route is best.
    `sure`: the values that decided are in the text. `notes`: what the text lacks, or what could not be read; with one,
    `whole` tells whether all routes are here. `outcomes`: the best first, then the others as they stand in the text.
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
    table: str = ""
    subject: str = ""
    notes: tuple[str, ...] = ()
    sure: bool = True
    whole: bool = True


def explain(pasted: Pasted, *, asn: int | None = None) -> tuple[Explained, ...]:
    """Each block of a paste, in the order of the text. `asn`: our AS; without it, the origin of the paths."""
    by_block: dict[tuple[int, Prefix], list[PastedRoute]] = {}
    for route in pasted.routes:
        by_block.setdefault((route.block, route.candidate.prefix), []).append(route)
    said = _problems(pasted, by_block)
    marks = any(route.candidate.best for route in pasted.routes)
    return tuple(
        _explain(
            pasted, pasted.blocks[number] if number < len(pasted.blocks) else Block(), routes, asn, said[i], marks=marks
        )
        for i, ((number, _), routes) in enumerate(by_block.items())
    )


def _problems(pasted: Pasted, blocks: Mapping[tuple[int, Prefix], Sequence[PastedRoute]]) -> list[list[str]]:
    """What could not be read, at the block whose lines it stands among; what stands before all, at the first."""
    starts = [routes[0].line for routes in blocks.values()]
    said: list[list[str]] = [[] for _ in starts]
    for problem in pasted.problems:
        line = int(problem.path.removeprefix("line "))
        said[max(0, bisect_right(starts, line) - 1)].append(f"{problem.path}: {problem.message}")
    return said


def _explain(
    pasted: Pasted,
    block: Block,
    routes: Sequence[PastedRoute],
    asn: int | None,
    problems: Sequence[str],
    *,
    marks: bool,
) -> Explained:
    style = pasted.style
    order = ORDER[style]
    ours = asn if asn is not None else _common_origin(routes)
    marked, notes, whole = _marked(style, block, routes)
    if order and marked is None and not notes and whole:
        whole = not marks
        notes.append(
            "no route is marked as the best here, though others of the text are: the best may be missing"
            if marks
            else "no route is marked as the best"
        )
    lost = {route.line: route.unusable for route in routes if route.unusable and route is not marked}
    left = [route for route in routes if route.line not in lost]
    crowned = order and (marked is not None or (whole and not any(r.candidate.best for r in routes)))
    found = choose(order, pasted.unseen, left, marked) if crowned else Choice(left=left)
    if marked is not None:
        own = {route.line: route.reason for route in routes if route.reason}
        found = in_its_own_words(order, pasted.unseen, left, found, own)
    best = found.best
    if crowned and best is None and left:
        notes.append(
            f"no route is marked as best, and what decides between {len(found.left)} of them ({found.hidden}) is not "
            "in the text"
        )
    lost |= found.lost if best is not None else {}
    doubts = _doubts(routes, late=found.best is None or _late(order, found.step))
    outcomes = [_outcome(route, "" if route is best else lost.get(route.line, ""), ours) for route in routes]
    outcomes.sort(key=lambda outcome: outcome.route is not best)
    disagrees = [f"by {step} another route would win" for step in found.against]
    disagrees += [f"this router does not compare by {step}, as its own reason shows" for step in found.skipped]
    disagrees += _unlike_its_words(style, found.step, best, routes, lost)
    return Explained(
        style=style,
        prefix=routes[0].candidate.prefix if pasted.prefix_known and not block.subject else None,
        asn=ours,
        best=best.candidate if best is not None else None,
        runner_up=found.runner_up.candidate if found.runner_up is not None else None,
        step=found.step if best is not None else "",
        marked=marked is not None,
        outcomes=tuple(outcomes),
        disagrees=tuple(disagrees),
        move=_move(style, pasted.unseen, left, best, ours)
        if best is not None and ours is not None and whole and not problems
        else None,
        table=block.table,
        subject=block.subject,
        notes=(*notes, *problems, *doubts, *block.notes),
        sure=best is not None and not found.hidden,
        whole=whole and not problems,
    )


def _late(order: Sequence[str], step: str) -> bool:
    """Whether what is internal plays a part in a choice: at its step, or behind it."""
    return step in order and Step.EBGP_OVER_IBGP in order and order.index(step) >= order.index(Step.EBGP_OVER_IBGP)


def _doubts(routes: Sequence[PastedRoute], *, late: bool) -> list[str]:
    """Each doubt once, with the lines of the routes that it is about."""
    lines: dict[str, list[int]] = {}
    for route in routes:
        for doubt in route.doubts if late else (d for d in route.doubts if not d.startswith(INTERNAL)):
            lines.setdefault(doubt, []).append(route.line)
    return [
        f"line{'s' if len(those) > 1 else ''} {', '.join(map(str, those[:10]))}"
        f"{' and more' if len(those) > 10 else ''}: {doubt}"
        for doubt, those in lines.items()
    ]


def _marked(style: Style, block: Block, routes: Sequence[PastedRoute]) -> tuple[PastedRoute | None, list[str], bool]:
    """The route that the router calls the best, if it is here and can be read; what to say first; whether all routes
    are here.
    """
    notes: list[str] = []
    marked = [route for route in routes if route.candidate.best]
    if len(marked) > 1 and all(replace(r, line=0) == replace(marked[0], line=0) for r in marked[1:]):
        marked = marked[:1]
    twice = len(routes) - len({(r.candidate, r.precedence, r.cluster_list) for r in routes}) if len(routes) > 1 else 0
    if twice:
        notes.append(f"{twice} of the routes stand{'s' if twice == 1 else ''} in the text twice")
    whole = block.total is None or block.total == len(routes)
    if not whole:
        less = block.total is not None and block.total > len(routes)
        notes.append(
            f"the text has {len(routes)} of {block.total} routes"
            if less
            else f"the router says that it has {block.total} routes, and the text has {len(routes)}: some of them may "
            "belong elsewhere"
        )
    if len(marked) > 1:
        notes.append(f"{len(marked)} routes are marked as best: the text is of several routers, or of several times")
        return None, notes, False
    best = marked[0] if marked else None
    if block.best is not None:
        there = routes[block.best - 1] if whole and 0 < block.best <= len(routes) else None
        if block.best == 0 and best is None:
            notes.append(f"{style.says} says that none of them is the best")
            return None, notes, False
        if best is None and there is not None:
            best = there
        elif best is None:
            notes.append(f"the best, number {block.best}, is not among them: no route is called the best here")
            return None, notes, False
        elif there is not None and there is not best:
            notes.append(f"the router calls number {block.best} the best, and the text marks another one")
            return None, notes, False
    elif not whole and best is None:
        notes.append("none of them is marked as the best: no route is called the best here")
    if best is not None and best.broken:
        notes.append(f"the best route, at line {best.line}, cannot be read: no other is called the best in its place")
        return None, notes, False
    return best, notes, whole


def _unlike_its_words(
    style: Style, step: str, best: PastedRoute | None, routes: Sequence[PastedRoute], lost: Mapping[int, str]
) -> list[str]:
    """Where ages, or the router's own word for its reason, say something else than the step that decided."""
    if best is None:
        return []
    found = []
    age = age_of(best)
    if step == Step.OLDEST and age is not None:
        rivals = [
            (their, route.candidate)
            for route in routes
            if lost.get(route.line) == Step.OLDEST and (their := age_of(route)) is not None and their > age
        ]
        older = max(rivals, key=lambda pair: pair[0], default=None)
        if older is not None:
            c = older[1]
            ages = (
                f"it has been there for {duration(c.age_s)}, the best for {duration(best.candidate.age_s)}"
                if c.age_s is not None
                else f"it came {duration(older[0] - age)} before the best"
            )
            found.append(
                f"by age alone {path_text(c)} would win: {ages}; {style.says} does not change from the external route "
                "that is active already, so the best became active when something else spoke for it"
            )
    steps = {*lost.values(), step}
    for route in routes:
        its = step_of(route.reason) if route.reason else None
        if its is None or (its in steps if route is best else its == lost.get(route.line, its)):
            continue
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


def _move(style: Style, unseen: Unseen, usable: Sequence[PastedRoute], best: PastedRoute, asn: int) -> Move | None:
    upstream, _ = through(best.candidate.as_path, asn)
    if upstream is None:
        return None
    order = ORDER[style]
    others = [route for route in usable if through(route.candidate.as_path, asn)[0] != upstream]
    without = choose(order, unseen, others)
    instead = without.best or (without.left[0] if without.left else None)
    fewest = None
    for count in _worth_trying(order, unseen, usable, upstream, asn):
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
        again = choose(order, unseen, held)
        winners = [again.best] if again.best is not None else again.left
        if winners and all(through(route.candidate.as_path, asn)[0] != upstream for route in winners):
            fewest = count
            break
    return Move(
        upstream=upstream,
        instead=instead.candidate if instead is not None else None,
        instead_upstream=through(instead.candidate.as_path, asn)[0] if instead is not None else None,
        prepends=fewest,
        guess=bool(without.hidden),
    )


def _worth_trying(
    order: Sequence[str], unseen: Unseen, usable: Sequence[PastedRoute], upstream: int, asn: int
) -> range:
    """The numbers of prepends that could change anything: none where something before the length of paths decides; else
    the one that makes our paths through `upstream` as long as the shortest other one, and the next.
    """
    left = list(usable)
    for step in order[: order.index(Step.AS_PATH_LENGTH)]:
        left = staying(step, left, unseen, None) if len(left) > 1 else left
    ways: dict[bool, list[int]] = {True: [], False: []}
    for route in left:
        path = route.candidate.as_path
        ways[through(path, asn)[0] == upstream].append(len(path))
    if not ways[True] or not ways[False]:
        return range(0)
    first = max(1, min(ways[False]) - min(ways[True]))
    return range(first, min(first + 1, MOST_PREPENDS) + 1)


def upstreams(explained: Explained) -> Counter[int]:
    """How many of the routes came through each upstream of ours; a copy beside the route that is used is none."""
    return Counter(
        outcome.upstream
        for outcome in explained.outcomes
        if outcome.upstream is not None and not outcome.route.copy and not outcome.route.broken
    )


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
