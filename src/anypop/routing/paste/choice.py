"""One router's choice among the routes of one block, by its maker's order of steps; and what its own words add to it.

In: routes and the row of `steps.ORDER`. Out: who is left, which step removed whom, and whether the text shows enough to
say so. The route that the router marked wins whatever the steps say; steps that speak against it are told. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anypop.model.route import Step
from anypop.routing.paste.pasted import PastedRoute, Unseen
from anypop.routing.paste.steps import NotShown, staying, step_of

_SKIPPABLE = (Step.AS_PATH_LENGTH, Step.MED, Step.NEAREST_EXIT, Step.OLDEST)  # what operators can switch off


@dataclass(slots=True, kw_only=True)
class Choice:
    """`best` None: there is no route, or the text does not show what decides among `left`. `lost`: the step that
    removed each route, by its line. `hidden`: the first step that the text does not show, where it came to that.
    `skipped`: steps that this router does not compare, by its own words.
    """

    best: PastedRoute | None = None
    runner_up: PastedRoute | None = None
    step: str = Step.ONLY_ROUTE
    lost: dict[int, str] = field(default_factory=dict)
    left: list[PastedRoute] = field(default_factory=list)
    against: list[str] = field(default_factory=list)
    hidden: str = ""
    skipped: list[str] = field(default_factory=list)


def choose(
    order: Sequence[str], unseen: Unseen, routes: Sequence[PastedRoute], chosen: PastedRoute | None = None
) -> Choice:
    """The best of `routes`. `chosen`: the router's own choice, where it is marked."""
    found = Choice(left=list(routes))
    gone: list[PastedRoute] = []
    for step in order:
        if len(found.left) < 2:
            break
        try:
            kept = staying(step, found.left, unseen, chosen)
        except NotShown:
            found.hidden = found.hidden or step
            if chosen is None:
                break
            kept = [chosen]
        if chosen is not None and not any(route is chosen for route in kept):
            found.against.append(step)
            continue
        gone = _remove(found, kept, step) or gone
    if len(found.left) > 1 and not found.hidden:
        # Nothing that is compared tells them apart.
        gone = _remove(found, [chosen if chosen is not None else found.left[0]], Step.NEIGHBOR_ADDRESS)
        found.hidden = "" if chosen is not None else Step.NEIGHBOR_ADDRESS
    if len(found.left) == 1:
        found.best = found.left[0]
        found.runner_up = _foremost(order, unseen, gone)
    return found


def _remove(found: Choice, kept: list[PastedRoute], step: str) -> list[PastedRoute]:
    """Those that go, of whom there may be none."""
    if len(kept) == len(found.left):
        return []
    here = set(map(id, kept))
    gone = [route for route in found.left if id(route) not in here]
    for route in gone:
        found.lost[route.line] = step
    if gone:
        found.step, found.left = step, kept
    return gone


def _foremost(order: Sequence[str], unseen: Unseen, routes: Sequence[PastedRoute]) -> PastedRoute | None:
    """The best of these alone; among equals the first."""
    left = list(routes)
    for step in order:
        if len(left) < 2:
            break
        try:
            left = staying(step, left, unseen, None)
        except NotShown:
            continue
    return left[0] if left else None


def in_its_own_words(
    order: Sequence[str], unseen: Unseen, routes: Sequence[PastedRoute], found: Choice, own: Mapping[int, str]
) -> Choice:
    """As `found`, with what the router says of its reason: a step that it leaves out, or one whose values are not in
    the text. `own`: its words by line, beside the best (FRR) or beside those that lost (Junos, EOS).
    """
    best = found.best
    if best is None or not found.lost:
        return found
    told = {step for line, word in own.items() if (step := step_of(word)) and line in {best.line, *found.lost}}
    ranks = {step: number for number, step in enumerate(order)}
    for step in sorted(told & ranks.keys(), key=lambda step: -ranks[step]):
        if step in found.lost.values() or found.step not in ranks or ranks[step] < ranks[found.step]:
            continue
        if found.hidden:
            lost = {line: step if by == found.hidden else by for line, by in found.lost.items()}
            return _with(found, step, lost)
        between = [s for s in order if ranks[found.step] <= ranks[s] < ranks[step]]
        if set(between) - {*_SKIPPABLE, Step.ROUTER_ID}:
            continue
        again = choose([s for s in order if s not in between or s not in _SKIPPABLE], unseen, routes, best)
        if again.step == step and not again.against:
            again.skipped = [s for s in between if s in _SKIPPABLE]
            return again
    return found


def _with(found: Choice, step: str, lost: dict[int, str]) -> Choice:
    return Choice(
        best=found.best,
        runner_up=found.runner_up,
        step=step,
        lost=lost,
        left=found.left,
        against=found.against,
    )
