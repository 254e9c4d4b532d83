"""The life of a process that `kept_process` keeps: from its start until SIGTERM, with SIGHUP when its files are new.

In: what it does, which waits for news by itself. Out: nothing; what it does is cancelled at the end. It imports little,
as such processes do.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable


async def live(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """`work` until it is asked to end; the event is set at SIGHUP, and cleared by `work`."""
    loop = asyncio.get_running_loop()
    ended, news = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, news.set)
    working = asyncio.ensure_future(work(news))
    await ended.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
