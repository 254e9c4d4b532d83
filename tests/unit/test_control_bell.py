"""The bell: whoever waits hears the ring of its topic, and nothing waits for ever."""

import asyncio

from anypop.control.bell import Bell


def test_a_ring_wakes_all_who_wait_for_its_topic_and_nobody_else() -> None:
    """Two who wait for one topic wake, one who waits for another times out."""

    async def story() -> list[bool]:
        bell = Bell()
        waiting = [asyncio.create_task(bell.wait(topic, wait_s)) for topic, wait_s in (("a", 5), ("a", 5), ("b", 0.01))]
        await asyncio.sleep(0)
        bell.ring("a")
        return await asyncio.gather(*waiting)

    assert asyncio.run(story()) == [True, True, False]


def test_closing_wakes_everyone_now_and_later() -> None:
    """After `close` no wait takes any time."""

    async def story() -> list[bool]:
        bell = Bell()
        waiting = asyncio.create_task(bell.wait("a", 60))
        await asyncio.sleep(0)
        bell.close()
        return [await waiting, await bell.wait("b", 60)]

    assert asyncio.run(story()) == [True, True]


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    """A client that goes away while it waits costs no memory."""

    async def story() -> int:
        bell = Bell()
        waiting = asyncio.create_task(bell.wait("a", 60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return len(bell._waiting)

    assert asyncio.run(story()) == 0
