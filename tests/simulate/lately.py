"""Whom a group of next hops led to a moment ago.

In: the changes of groups, by steps and by the death watch. Out: for an address, the members that there are and those
that there were when a step that takes its time was decided: nobody could know then that they would die meanwhile. It
stands between the fake host of the unit tests, whose steps take no time, and the simulated machine.
"""

from collections import defaultdict

from anypop.agent.decide.elements import Member
from anypop.model.announce import Address
from tests.agent_world import FakeHost
from tests.simulate.world import BEGAN, World

DECIDED_S = 0.1  # the longest step of a speaker takes 0.03 s


class RecentHost(FakeHost):
    """`left`: when each member was taken out of the group of an address."""

    def __init__(self, world: World) -> None:
        super().__init__(now=BEGAN)
        self.world = world
        self.left = defaultdict[Address, dict[Member, float]](dict)

    def led_by(self, address: Address) -> tuple[Member, ...]:
        lately = (m for m, at in self.left[address].items() if self.world.now - at < DECIDED_S)
        return (*super().led_by(address), *lately)

    def _keep(self, address: Address, members: tuple[Member, ...]) -> None:
        if address in self.routed:
            there = {m.who for m in members}
            gone = (m for m in self.groups.get(address, ()) if m.who not in there)
            self.left[address] |= dict.fromkeys(gone, self.world.now)
        super()._keep(address, members)
