"""The steps of a simulated agent under way: lanes go on beside each other, within a lane one step follows the other.

In: the steps of a pass. Out: each one's effect on the host after the time that it takes, and its being noted. The agent
may die right after an effect; a new order drops what a lane has not begun.
"""

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from anypop.agent.decide import images, memory
from anypop.agent.decide.images import ImageBook
from anypop.agent.decide.steps import (
    ROUTER,
    AddLink,
    BeginDrain,
    CreateContainer,
    EndDrain,
    MakeNamespace,
    PowerOff,
    PullImage,
    RemoveContainer,
    SendMachine,
    SetSpeaker,
    StartContainer,
    Step,
)
from tests.simulate import invariants
from tests.simulate.described import described

if TYPE_CHECKING:
    from tests.simulate.agent import Agent

_HANGS_S = 15.0


class Lanes:
    """Of one life of an agent. `busy`: the step that each lane is at; `orders`: how many it has obeyed meanwhile."""

    def __init__(self, agent: "Agent") -> None:
        self.agent = agent
        self.busy: dict[str, Step] = {}
        self.orders = 0

    def run(self, steps: list[Step]) -> None:
        for lane, own in groupby(sorted(steps, key=lambda s: s.lane), key=lambda s: s.lane):
            mine = list(own)
            if lane == ROUTER:
                well = all(self._does(step) for step in mine)
                if self.agent.alive:
                    self._ended(lane, well=well)
                else:
                    return
            else:
                self._next(lane, mine, self.orders)

    def _next(self, lane: str, steps: list[Step], orders: int) -> None:
        self.busy[lane] = steps[0]

        def do() -> None:
            if orders != self.orders:
                self._ended(lane, well=True)
                return
            well = self._does(steps[0])
            if not self.agent.alive:
                return
            if well and len(steps) > 1:
                self._next(lane, steps[1:], orders)
            else:
                self._ended(lane, well=well)

        self.agent.later(self._takes_s(steps[0]), do)

    def _ended(self, lane: str, *, well: bool) -> None:
        self.busy.pop(lane, None)
        if well:
            self.agent.host.memory = memory.lane_succeeded(lane, self.agent.host.memory)
        self.agent.wake()

    def _does(self, step: Step) -> bool:
        """One step: its effect, then its being noted. False where it failed, or where the agent died of it."""
        host = self.agent.host
        refusal = host.refusal(step)
        if refusal is not None:
            self.agent.world.tell(host.name, f"{type(step).__name__} fails", refusal.why)
            host.memory = memory.step_failed(step, str(refusal), host.memory, host.clock())
            return False
        invariants.at_step(self.agent, step)
        life = self.agent.life
        with invariants.refused_by_the_kernel():
            host.effect(step)
        if self.agent.world.story is not None:
            self.agent.world.tell(host.name, described(step))
        if self.agent.dies_after is not None:
            self.agent.dies_after -= 1
            if self.agent.dies_after <= 0:
                self.agent.dies_after = None
                self.agent.killed(f"right after {type(step).__name__}")
        if self.agent.life != life:
            return False
        host.memory = memory.step_done(step, host.memory, host.clock())
        if isinstance(step, PullImage):
            self.keep(images.fetched(host.memory.book, {step.image}))
        self.keep(host.memory.book)
        if isinstance(step, SetSpeaker):
            self.agent.look_at_speaker()
        return True

    def keep(self, book: ImageBook) -> None:
        if book is not self.agent.host.memory.book:
            self.agent.host.memory = replace(self.agent.host.memory, book=book)
        if book != self.agent.book and not self.agent.host.disk_full:
            self.agent.book = book

    def _takes_s(self, step: Step) -> float:
        between = self.agent.world.between
        match step:
            case PullImage():
                return between(0.05, 2.0)
            case PowerOff() | SendMachine():
                return between(0.1, 3.0)
            case CreateContainer() | StartContainer() | RemoveContainer():
                return _HANGS_S if self.agent.host.runtime_hangs else between(0.02, 0.3)
            case BeginDrain() | EndDrain() | MakeNamespace() | AddLink():
                return 0.005
            case _:
                return between(0.002, 0.03)
