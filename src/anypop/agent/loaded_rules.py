"""Whether the rules in the kernel are still those that lanes have loaded.

In: what is believed to be loaded (`Memory`), the lanes that are busy, the kernel. Out: which rules are not as they were
loaded, so that the next pass loads them anew; and whether all could be judged. It changes nothing in the kernel.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from anypop.agent.act.network import firewall, guard, newcomers, steering
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide import memory
from anypop.agent.decide.memory import Memory
from anypop.agent.decide.steps import DIALS, FIREWALL, GUARD, NEWCOMERS


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRules:
    """One set of rules: the lane that loads it, what of it is believed to be loaded (None: nothing is known), whether
    the kernel has it, and the memory after it was found to be something else.
    """

    lane: str
    believed: Callable[[Memory], Any | None]
    holds: Callable[[Any], Awaitable[bool]]
    doubted: Callable[[Memory], Memory]


def loaded_rules(net: Netlink, prefix: str) -> tuple[LoadedRules, ...]:
    """All that an agent loads."""
    return (
        LoadedRules(
            lane=GUARD, believed=lambda m: m.guard, holds=lambda r: guard.holds(r, prefix), doubted=memory.guard_doubted
        ),
        LoadedRules(
            lane=DIALS, believed=lambda m: m.steers, holds=lambda r: steering.holds(net, r, prefix),
            doubted=memory.steering_doubted,
        ),
        LoadedRules(
            lane=NEWCOMERS, believed=lambda m: m.joinings, holds=lambda r: newcomers.holds(net, r, prefix),
            doubted=memory.joinings_doubted,
        ),
        LoadedRules(
            lane=FIREWALL, believed=lambda m: m.firewall, holds=lambda r: firewall.holds(r, prefix),
            doubted=memory.firewall_doubted,
        ),
    )  # fmt: skip


async def judge(
    all_: Iterable[LoadedRules], memory_now: Callable[[], Memory], busy: Collection[str],
    doubt: Callable[[LoadedRules], None],
) -> bool:  # fmt: skip
    """Calls `doubt` for rules that are not as they were loaded. False: some could not be judged, since a step changes
    them just now; `busy` are the lanes that do so, read anew each time.
    """
    judged = True
    for rules in all_:
        believed = rules.believed(memory_now())
        if believed is not None and await rules.holds(believed):
            continue
        if rules.lane in busy or rules.believed(memory_now()) is not believed:
            judged = False
        elif believed is not None:
            doubt(rules)
    return judged
