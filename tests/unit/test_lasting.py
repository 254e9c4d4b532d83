"""Answers that go on: their last words, and a client that does not read them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from starlette.types import Message

from anypop.api import lasting
from anypop.control.ends import End, Ends


async def ticks() -> AsyncIterator[str]:
    yield "one"
    await asyncio.Event().wait()


async def two() -> AsyncIterator[str]:
    yield "one"
    yield "two"


def test_what_is_over_says_why_and_ends() -> None:
    async def story() -> list[str]:
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        said: list[str] = []
        async for piece in lasting.until(over, ticks(), lambda why: f"last: {why}"):
            said.append(piece)
            if piece == "one":
                over.set_result("gone")
        return said

    assert asyncio.run(story()) == ["one", "last: gone"]


def test_what_ends_by_itself_has_no_last_words() -> None:
    async def story() -> list[str]:
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return [piece async for piece in lasting.until(over, two(), str)]

    assert asyncio.run(story()) == ["one", "two"]


def test_a_client_that_does_not_read_is_cut_off() -> None:
    """What was opened for it is closed all the same."""

    async def story() -> None:
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        closed, stuck, opened = asyncio.Event(), asyncio.Event(), AsyncExitStack()
        opened.callback(closed.set)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                stuck.set()
                await asyncio.Event().wait()

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        pieces = lasting.until(over, ticks(), str)
        response = lasting.Lasting(pieces, over, opened, headers={}, last_words_s=0.01)
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        serving = asyncio.create_task(response(scope, receive, send))
        async with asyncio.timeout(10):
            await stuck.wait()
            assert not closed.is_set()
            over.set_result("gone")
            await serving
        assert closed.is_set()

    asyncio.run(story())


def test_an_end_means_those_who_came_in_by_all_that_it_names() -> None:
    who = {"token": "t", "client_id": "c", "user_id": "u", "account_id": "a"}
    assert End(why="", token="t").means(**who)
    assert End(why="", user_id="u").means(**who)
    assert End(why="", user_id="u", account_id="a").means(**who)
    assert not End(why="", user_id="u", account_id="b").means(**who)
    assert not End(why="", client_id="d").means(**who)
    assert not End(why="").means(**who), "of nobody"
    heard: list[End | None] = []
    ends = Ends()
    ends.listen(heard.append)
    ends.tell()
    ends.tell(End(why="x", token="t"))
    assert heard == [None, End(why="x", token="t")]
