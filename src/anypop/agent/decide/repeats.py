"""Steps that are asked for again although they were done: what succeeded and changed nothing is done less and less
often. Pure.

In: the steps that a pass is about to take, those of earlier passes, the time. Out: for each lane what it was last
asked for, how often in a row, and until when the very same is not done again. A lane that is asked for something else,
or for nothing, begins anew: a fault that comes back after it was mended is mended at once.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from anypop.agent.decide.back_off import BackOff
from anypop.agent.decide.steps import Step

# The first repetition is made at once: the look that asked for it may have been older than the step. Ten seconds at
# most, since somebody else may undo all the time what we do, and what is wrong meanwhile is his doing for ten seconds.
REPEAT = BackOff(first_s=0.2, longest_s=10)
TOLD_FROM = 3  # repetitions from which it is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a lane was last asked for; `times` it was asked for again since; not once more before `until`."""

    steps: tuple[Step, ...]
    times: int
    until: float


def by_lane(steps: Iterable[Step]) -> dict[str, tuple[Step, ...]]:
    """The steps of each lane, in their order."""
    found: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        found[step.lane].append(step)
    return {lane: tuple(own) for lane, own in found.items()}


def rested(steps: list[Step], asked: Mapping[str, Asked], now: float) -> list[Step]:
    """Without the lanes that are asked once more for just what they have done, and rest from it."""
    resting = {lane for lane, last in asked.items() if now < last.until}
    if not resting:
        return steps
    own = by_lane(s for s in steps if s.lane in resting)
    same = {lane for lane, these in own.items() if these == asked[lane].steps}
    return [s for s in steps if s.lane not in same] if same else steps


def asked_for(
    steps: Iterable[Step], asked: Mapping[str, Asked], busy: Collection[str], now: float
) -> Mapping[str, Asked]:
    """After a pass that takes `steps`. `busy`: lanes that still work on what they were asked for earlier."""
    now_asked = by_lane(steps)
    if not now_asked and not asked:
        return asked
    found = {lane: last for lane, last in asked.items() if lane in busy or now < last.until}
    for lane, own in now_asked.items():
        last = asked.get(lane)
        if last is None or last.steps != own:
            found[lane] = Asked(steps=own, times=0, until=now)
        else:
            found[lane] = Asked(steps=own, times=last.times + 1, until=now + REPEAT.wait_s(last.times))
    return found
