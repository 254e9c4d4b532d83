"""Questions that are asked together at their beats."""

import asyncio
from collections.abc import Callable

import pytest

from anypop.agent.observe.rounds import Rounds

EVERY_S = 0.01


def _asked(answers: list[bool]) -> Callable[[], bool]:
    """A question with these answers; after them it raises IndexError."""
    return lambda: answers.pop(0)


def test_who_says_no_ends_its_own_wait_alone() -> None:
    """The others are asked on, at the same beats."""

    async def test() -> None:
        rounds, few, many = Rounds(asyncio.get_running_loop().time), [True, False], [True] * 5 + [False]
        other = asyncio.create_task(rounds.until_no(_asked(many), EVERY_S, 0))
        await rounds.until_no(_asked(few), EVERY_S, 0)
        assert not few
        assert not other.done()
        assert len(many) == 4
        await other
        assert not many

    asyncio.run(asyncio.wait_for(test(), 60))


def test_an_error_is_raised_where_it_is_waited_for_and_stops_nobody_else() -> None:
    async def test() -> None:
        rounds, answers = Rounds(asyncio.get_running_loop().time), [True, True, False]
        broken = asyncio.create_task(rounds.until_no(_asked([]), EVERY_S, 0))
        await rounds.until_no(_asked(answers), EVERY_S, 0)
        with pytest.raises(IndexError):
            await broken

    asyncio.run(asyncio.wait_for(test(), 60))


def test_one_that_is_cancelled_is_not_asked_any_more_and_a_later_one_is() -> None:
    async def test() -> None:
        rounds, left = Rounds(asyncio.get_running_loop().time), [True]
        gone = asyncio.create_task(rounds.until_no(_asked(left), EVERY_S, 0))
        await asyncio.sleep(0)  # it waits
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await rounds.until_no(_asked([True, True, False]), EVERY_S, 0)
        await rounds.until_no(_asked([False]), EVERY_S, 0)  # also after nobody was left
        assert left

    asyncio.run(asyncio.wait_for(test(), 60))
