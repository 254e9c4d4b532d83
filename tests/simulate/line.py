"""Between a simulated agent and control: what `agent.control_client` does with polls and posts, over a wire that fails.

In: orders of control, reports of the agent. Out: each to the other side, after tries and rests as the real ones are.
"""

from typing import TYPE_CHECKING

from anypop.agent.control_client import COALESCE_S, HEARTBEAT_S, WAIT_S
from anypop.agent.decide.back_off import BackOff
from anypop.model.order import Order

if TYPE_CHECKING:
    from tests.simulate.agent import Agent

_REST = BackOff(first_s=0.1, longest_s=5)
_LATE_S = WAIT_S + 10  # then a poll without an answer is given up
_POST_S = 10.0


class ControlLine:
    """Of one life of an agent."""

    def __init__(self, agent: "Agent") -> None:
        self._agent, self._world, self._host, self._control = agent, agent.world, agent.host, agent.control
        self._life = agent.life
        self._due = self._sending = False
        self._polls = self._sent = 0
        self._failures = {"poll": 0, "post": 0}

    def open(self) -> None:
        self._poll()
        self._agent.later(HEARTBEAT_S, self._heartbeat)

    def _is_over(self) -> bool:
        return self._agent.life != self._life or not self._agent.alive

    def _poll(self) -> None:
        self._polls += 1
        mine, host, agent = self._polls, self._host, self._agent
        after = max(host.page.order.generation if host.page else 0, agent.refused_generation)
        if host.wire.cut or not self._control.up:
            self._agent.later(0.05, lambda: self._poll_failed(mine))
            return

        def answered(order: Order | None) -> None:
            if self._is_over():
                return
            if order is not None and not agent.take_order(order):
                self._poll_failed(mine)
            elif mine == self._polls and not self._is_over():  # else it was given up, and another waits
                self._failures["poll"] = 0
                self._poll()

        def reply(order: Order | None) -> None:
            self._world.carry(host.wire, lambda: answered(order))

        order = host.page.order if host.page else None
        standing = order if order is not None and order.generation == after else None
        self._world.carry(host.wire, lambda: self._control.order_after(host.name, standing, after, reply))
        self._agent.later(_LATE_S, lambda: self._poll_failed(mine))

    def lost(self) -> None:
        """Control has died, or is out of reach: whoever waits for it knows soon."""
        if not self._is_over():
            mine = self._polls
            self._agent.later(self._world.between(0.01, 1.0), lambda: self._poll_failed(mine))

    def _poll_failed(self, mine: int) -> None:
        if mine != self._polls:
            return
        self._polls += 1
        self._agent.later(_REST.wait_s(self._failures["poll"]), self._poll)
        self._failures["poll"] += 1

    def changed(self) -> None:
        """There is something new to tell."""
        self._due = True
        if not self._sending:
            self._sending = True
            self._agent.later(COALESCE_S, self._send)

    def _send(self) -> None:
        self._due, self._sending = False, True
        self._sent += 1
        mine, host, report = self._sent, self._host, self._agent.last_report()

        def over(*, well: bool) -> None:
            if self._is_over() or mine != self._sent or not self._sending:
                return
            self._sending = False
            if well:
                self._failures["post"] = 0
                if self._due:
                    self.changed()
                return
            self._due = self._sending = True
            self._agent.later(_REST.wait_s(self._failures["post"]), self._send)
            self._failures["post"] += 1

        if host.wire.cut or not self._control.up:
            self._agent.later(0.05, lambda: over(well=False))
            return
        self._world.carry(
            host.wire,
            lambda: self._control.take(report, lambda well: self._world.carry(host.wire, lambda: over(well=well))),
        )
        self._agent.later(_POST_S, lambda: over(well=False))

    def _heartbeat(self) -> None:
        if not self._sending:
            self._sending = True
            self._send()
        self._agent.later(HEARTBEAT_S, self._heartbeat)
