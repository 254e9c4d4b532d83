"""Rules that somebody else has changed: found, and not forgotten since a step was at work."""

import asyncio
from dataclasses import replace

import pytest

from anypop.agent.decide import memory
from anypop.agent.decide.elements import Firewall
from anypop.agent.decide.memory import Memory
from anypop.agent.decide.steps import FIREWALL
from anypop.agent.loaded_rules import LoadedRules, judge


@pytest.mark.parametrize(
    ("loaded", "there", "busy", "meanwhile", "judged", "doubted"),
    [
        (True, True, False, False, True, False),
        (True, False, False, False, True, True),
        (True, False, True, False, False, False),  # by a step that has not ended: another look tells
        (True, False, False, True, False, False),  # by one that ended while it was looked at
        (False, False, True, False, False, False),  # loaded just now: who changed it may have come after
        (False, False, False, False, True, False),  # nothing is loaded, nothing can be wrong
    ],
)
def test_what_is_not_as_it_was_loaded_is_doubted_or_looked_at_again(
    *, loaded: bool, there: bool, busy: bool, meanwhile: bool, judged: bool, doubted: bool
) -> None:
    """A finding that cannot be told from a step's own work is kept for the next look, and not dropped."""
    now = replace(memory.NOTHING, firewall=Firewall() if loaded else None)
    found: list[str] = []

    async def holds(_: Firewall) -> bool:
        nonlocal now
        if meanwhile:
            now = replace(now, firewall=Firewall(carries=True))
        return there

    def believed(known: Memory) -> Firewall | None:
        return known.firewall

    rules = LoadedRules(lane=FIREWALL, believed=believed, holds=holds, doubted=memory.firewall_doubted)
    lanes = {FIREWALL} if busy else set[str]()
    assert asyncio.run(judge([rules], lambda: now, lanes, lambda one: found.append(one.lane))) is judged
    assert bool(found) is doubted
