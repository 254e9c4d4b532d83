"""The agent's side of orders that come as differences: applied, checked, and asked for as a whole when in doubt."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import httpx
import pytest

from anypop.agent import control_client
from anypop.agent.control_client import ControlClient
from anypop.model import codec
from anypop.model.errors import WorldError
from anypop.model.names import CityCode
from anypop.model.order import Order
from anypop.model.order_delta import BASE_HEADER, Digests, delta
from anypop.model.report import Report
from tests.agent_world import HOST, instance, order

FIRST = replace(order(1), instances=(instance(0), instance(1)))
SECOND = replace(FIRST, generation=2, instances=(instance(0), instance(2)))
THIRD = replace(FIRST, generation=3, instances=(instance(2),))


class Posts:
    """In place of the connection that is kept for reports: the same answers as everything else gets."""

    def __init__(self, client: ControlClient, answer: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> None:
        self._answer = answer
        client._reports = self  # type: ignore[assignment]

    async def ask(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> tuple[int, bytes]:
        try:
            answer = await self._answer(httpx.Request(method, url, headers=dict(headers), content=content))
        except httpx.ConnectError as error:
            raise ConnectionError(str(error)) from error
        return answer.status_code, answer.content


def received(
    answers: list[Callable[[httpx.Request], httpx.Response]], count: int, *, fails_first: bool = False
) -> tuple[list[Order], list[httpx.QueryParams]]:
    """The first `count` orders that the client takes, and what it asked for, when control gives these answers.
    `fails_first`: the first order cannot be kept.
    """
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

        full = [fails_first]

        def take(news: Order) -> None:
            if full[0]:
                full[0] = False
                raise WorldError("write the order", "no space left on device")
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


def test_what_nothing_follows_from_goes_with_what_something_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three changes in a row that can wait, and one that cannot: one report tells of all, at once."""
    told: list[int] = []

    async def run() -> None:
        posted, changes = asyncio.Event(), [0]

        async def answer(request: httpx.Request) -> httpx.Response:
            told.append(codec.from_json(Report, request.content).generation)
            posted.set()
            return httpx.Response(204)

        client = ControlClient(host=HOST, control="http://control.test", ca=None, token_file=None)
        Posts(client, answer)
        pop = CityCode("LHR")
        delivering = asyncio.create_task(
            client.deliver(lambda: Report(pop=pop, host=HOST, at=0.0, generation=changes[0]))
        )
        for hurry in (False, False, False, True):
            changes[0] += 1
            client.changed(hurry=hurry)
            await asyncio.sleep(0)
        await asyncio.wait_for(posted.wait(), 10)
        posted.clear()
        monkeypatch.setattr(control_client, "UNHURRIED_S", 0.01)
        changes[0] += 1
        client.changed(hurry=False)
        await asyncio.wait_for(posted.wait(), 10)  # nothing hurries: it is told all the same
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        await client._http.aclose()

    monkeypatch.setattr(control_client, "UNHURRIED_S", 60)  # only the last of the four can bring it about
    asyncio.run(run())
    assert told == [4, 5]


def test_of_several_controls_the_active_one_is_found_and_found_again() -> None:
    """A standby's refusal and a dead address lead on to the next, for orders and reports alike; a poll that waits at
    a control to which reports no longer come through ends there.
    """
    active = "two"
    reported = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        where, what = request.url.host, request.url.path.rpartition("/")[2]
        if where == "dead":
            raise httpx.ConnectError("refused")
        if where != active:
            if what == "order" and where == "two":
                await asyncio.Event().wait()  # it is cut off: nothing comes any more
            return httpx.Response(503, json={"message": "this control stands by"})
        if what == "report":
            reported.set()
            return httpx.Response(204)
        after = int(request.url.params["after"])
        if after >= (1 if active == "two" else 2):
            await asyncio.Event().wait()
        return whole(replace(FIRST, generation=after + 1))(request)

    async def run() -> list[int]:
        nonlocal active
        client = ControlClient(
            host=HOST, control="http://dead", others=("http://one", "http://two"), ca=None, token_file=None
        )
        client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        Posts(client, answer)
        taken: list[int] = []
        news = asyncio.Event()

        def take(order: Order) -> None:
            taken.append(order.generation)
            news.set()

        report = Report(pop=CityCode("LHR"), host=HOST, at=1.0, generation=1)
        loops = [
            asyncio.create_task(client.fetch(lambda: taken[-1] if taken else 0, take)),
            asyncio.create_task(client.deliver(lambda: report)),
        ]
        client.changed()
        await asyncio.wait_for(news.wait(), 10)
        await asyncio.wait_for(reported.wait(), 10)
        news.clear()
        active = "one"
        client.changed()
        await asyncio.wait_for(news.wait(), 10)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await client._http.aclose()
        return taken

    assert asyncio.run(run()) == [1, 2]


def test_what_control_says_of_a_refusal_is_told() -> None:
    """Not the status alone: control's words name what helps."""

    async def run() -> str:
        client = ControlClient(host=HOST, control="http://one", ca=None, token_file=None)
        words = {"message": "generation: 9 was never issued; `anypop host reset` helps"}
        asked: list[httpx.Request] = []
        again = asyncio.Event()

        def refuse(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            if len(asked) == 2:
                again.set()
            return httpx.Response(400, json=words)

        client._http = httpx.AsyncClient(transport=httpx.MockTransport(refuse))
        polling = asyncio.create_task(client.fetch(lambda: 9, lambda order: None))
        await asyncio.wait_for(again.wait(), 10)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await client._http.aclose()
        return client.error

    assert "anypop host reset" in asyncio.run(run())


def test_an_order_that_cannot_be_kept_is_asked_for_again() -> None:
    """A disk that was full for a moment costs no order: the next poll asks for what comes after the one that stands."""
    taken, asked = received([whole(FIRST), whole(FIRST)], 1, fails_first=True)
    assert taken == [FIRST]
    assert [q["after"] for q in asked[:2]] == ["0", "0"]
