"""The agent's side of orders that come as differences: applied, checked, and asked for as a whole when in doubt."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx

from anypop.agent.control_client import ControlClient
from anypop.model import codec
from anypop.model.order import Order
from anypop.model.order_delta import BASE_HEADER, Digests, delta
from tests.agent_world import HOST, instance, order

FIRST = replace(order(1), instances=(instance(0), instance(1)))
SECOND = replace(FIRST, generation=2, instances=(instance(0), instance(2)))
THIRD = replace(FIRST, generation=3, instances=(instance(2),))


def received(
    answers: list[Callable[[httpx.Request], httpx.Response]], count: int
) -> tuple[list[Order], list[httpx.QueryParams]]:
    """The first `count` orders that the client takes, and what it asked for, when control gives these answers."""
    asked: list[httpx.QueryParams] = []
    taken: list[Order] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params)
        if len(asked) > len(answers):
            await asyncio.Event().wait()  # nothing newer
        return answers[len(asked) - 1](request)

    async def run() -> None:
        client = ControlClient(host=HOST, control="http://control.test", ca=None, token_file=None)
        client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://control.test")
        enough = asyncio.Event()

        def take(news: Order) -> None:
            taken.append(news)
            if len(taken) == count:
                enough.set()

        def standing() -> Order | None:
            return taken[-1] if taken else None

        polling = asyncio.create_task(client.fetch(lambda: taken[-1].generation if taken else 0, take, standing))
        await asyncio.wait_for(enough.wait(), 10)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await client._http.aclose()

    asyncio.run(run())
    return taken, asked


def whole(news: Order) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(
        200, content=codec.to_json(news), headers={"content-type": "application/json"}
    )


def difference(before: Order, after: Order, digest: str = "") -> Callable[[httpx.Request], httpx.Response]:
    change = replace(delta(before, after), digest=digest or Digests().of(after))
    return lambda request: httpx.Response(
        200, content=codec.to_json(change), headers={BASE_HEADER: str(before.generation)}
    )


def test_a_difference_becomes_the_new_order() -> None:
    """The first order comes whole; after it the agent says which one it has, and takes what differs."""
    taken, asked = received([whole(FIRST), difference(FIRST, SECOND), difference(SECOND, THIRD)], 3)
    assert taken == [FIRST, SECOND, THIRD]
    assert "accept" not in asked[0]
    assert [(q["after"], q["accept"], q["digest"]) for q in asked[1:3]] == [
        ("1", "delta", Digests().of(FIRST)),
        ("2", "delta", Digests().of(SECOND)),
    ]


def test_what_comes_to_another_order_is_asked_for_as_a_whole() -> None:
    """A wrong digest, or a difference from an order that the agent has not: nothing is obeyed, and the next question is
    for all of it.
    """
    for wrong in (difference(FIRST, SECOND, digest="0" * 32), difference(SECOND, THIRD)):
        taken, asked = received([whole(FIRST), wrong, whole(THIRD), difference(THIRD, replace(THIRD, generation=4))], 3)
        assert taken[:2] == [FIRST, THIRD]
        assert "accept" not in asked[2]
        assert asked[3]["accept"] == "delta"
