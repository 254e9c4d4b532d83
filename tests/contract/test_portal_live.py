"""The portal's stream: whoever comes again with the last id gets what differs and nothing else; lists stay cheap."""

import asyncio
import json
from collections.abc import Iterator, MutableMapping
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from anypop.control.roles import Role
from anypop.portal.calls import Api
from anypop.portal.cookies import SESSION
from tests.contract.test_portal import Visitor
from tests.control_world import World, a_body
from tests.people import PASSWORD, a_user, quick

BASE = "/workload/v1/stacks/default/workloads"
LIST = "/portal/stacks/default/workloads"
MANY = 30


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("live")) as made:
        quick(made)
        a_user(made, made.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        bodies = [a_body(f"w{number:02}", anycast=False, replicas=1)["workload"] for number in range(MANY)]
        made.send("POST", "/anypop/v1/stacks/default/apply", {"workloads": bodies})
        made.settle()
        yield made


@pytest.fixture(scope="module")
def ada(world: World) -> Visitor:
    return Visitor(world).sign_in("ada")


def hears(world: World, session: str, topics: list[str], *, count: int, last: str = "", header: bool = True) -> Any:
    """The first events of the stream, as (id, topic, html). `last`: what the browser has already, as it says it itself
    when it comes again by itself (`header`), or as our script does.
    """

    async def listen() -> str:
        said, over = b"", asyncio.Event()

        async def receive() -> dict[str, Any]:
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal said
            said += message.get("body", b"")
            if said.count(b'data: {"topic') >= count:
                over.set()

        query = [("topic", topic) for topic in topics] + ([("last", last)] if last and not header else [])
        headers = [(b"cookie", f"{SESSION}={session}".encode())]
        headers += [(b"last-event-id", last.encode())] if last and header else []
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "https", "path": "/portal/stream", "raw_path": b"/portal/stream", "root_path": "",
            "query_string": urlencode(query).encode(), "headers": headers, "client": ("127.0.0.1", 1),
            "server": ("control", 443),
        }  # fmt: skip
        transport = world._http._transport
        assert isinstance(transport, httpx.ASGITransport)
        async with asyncio.timeout(20):
            await transport.app(scope, receive, send)
        return said.decode()

    found = []
    for block in world.run(listen()).split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "id" in lines:
            data = json.loads(lines["data"])
            found.append((lines["id"], data["topic"], data["html"]))
    return found


def test_a_stream_resumes_where_it_ended(world: World, ada: Visitor) -> None:
    """Rows, a workload's page: of two that the browser has, the one that changed meanwhile comes, and that alone."""
    session = ada.cookies[SESSION]
    ids = [world.get(f"{BASE}/w0{n}")["workload"]["id"] for n in range(4)]
    topics = [*(f"row:default:{one}" for one in ids), f"workload:default:{ids[0]}"]
    begun = hears(world, session, topics, count=len(topics))
    assert sorted(topic for _, topic, _ in begun) == sorted(topics)
    last = begun[-1][0]
    for number, header in enumerate((True, False)):
        world.send("PATCH", f"{BASE}/w02", {"workload": world.replicas(2 + number)})
        world.settle()
        more = hears(world, session, topics, count=1, last=last, header=header)
        assert [topic for _, topic, _ in more] == [f"row:default:{ids[2]}"], "what it has already does not come again"
        assert f"{2 * (2 + number)}<span" in more[0][2]
    world.send("PATCH", f"{BASE}/w00", {"workload": world.replicas(2)})
    world.settle()
    both = hears(world, session, topics, count=3, last=last)  # with w02, which changed since that id
    assert {topic for _, topic, _ in both} == {f"row:default:{ids[0]}", topics[-1], f"row:default:{ids[2]}"}
    forged = hears(world, session, topics[:1], count=1, last="x-y.<script>.-.." + "z" * 4000)
    assert [topic for _, topic, _ in forged] == topics[:1], "an id that is none is as good as no id"


def test_a_page_of_workloads_asks_for_all_its_rows_at_once(
    world: World, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a workload's page as often, however many instances it has; a page of instances shows where it stands."""
    asked: list[str] = []
    true = Api._ask

    async def ask(self: Api, method: str, path: tuple[str, ...], **more: Any) -> Any:
        asked.append("/".join(path))
        return await true(self, method, path, **more)

    monkeypatch.setattr(Api, "_ask", ask)
    page = ada.get(LIST)
    assert page.count('data-topic="row:') == 25 and "1 to 25 of 30" in page
    assert asked == ["anypop/v1/who-am-i", "stack/v1/stacks", "anypop/v1/stacks/default/summaries"]
    asked.clear()
    ada.get(f"{LIST}/w05")
    few = len(asked)
    small = {"requests": {"cpu": "10m", "memory": "16Mi"}}
    world.create("wide", anycast=False, replicas=70, resources=small)
    asked.clear()
    page = ada.get(f"{LIST}/wide")
    assert len(asked) == few and page.count('class="instance"') == 100 and "1 to 100 of 140" in page
    assert "0 of 70 running" in page, "a city's count is of all its instances, not of those on the page"
    page = ada.get(f"{LIST}/wide?from=100")
    assert page.count('class="instance"') == 40 and "101 to 140 of 140" in page and ':100"' in page
    stack, identity = "default", world.get(f"{BASE}/wide")["workload"]["id"]
    ((_, topic, html),) = hears(world, ada.cookies[SESSION], [f"workload:{stack}:{identity}:100"], count=1)
    assert topic.endswith(":100") and html.count('class="instance"') == 40 and "101 to 140 of 140" in html
