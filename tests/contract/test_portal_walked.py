"""What holds for every page and form of the portal, those that are new too: nothing of others, no button for who may
not, a sign in each form, no text that becomes markup, no stream without a session.
"""

import asyncio
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.routing import WebSocketRoute

from anypop.control.roles import Role
from anypop.portal.app import OPEN, PAGES, make_pages
from tests import walked
from tests.contract.test_portal import NASTY, Visitor
from tests.control_world import World
from tests.people import OWN, PASSWORD, a_user, account_of, quick, two_accounts

# what stands in the first account and is never sent by anybody else
MARKS = ("stripes", "quagga", "okapi", "gnu-note", "185.85.196.", "198.18.0.")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_accounts(tmp_path_factory.mktemp("walked"), own={**OWN, "quagga": Role.EDITOR}) as made:
        made.platform.accounts.create_credential(account_of(made, "ada"), "okapi")
        note = {"role": "viewer", "note": "gnu-note"}
        made.send("POST", "/anypop/v1/accounts/mine/invitations", note)
        body = made.body("fun", env={"STRIPES": {"value": "stripes"}})
        next(iter(body["workload"]["spec"]["containers"].values()))["image"] = "registry.example/stripes:1"
        made.send("POST", "/workload/v1/stacks/default/workloads", body)
        made.settle()
        yield made


def kept(world: World) -> Any:
    """What somebody has declared, and who is there."""
    accounts = world.platform.accounts
    people = [(a, accounts.users.members(a.id), accounts.credentials(a.id)) for a in accounts.accounts()]
    return world.state.workloads, world.state.rules, world.state.dials, world.state.drains, people


def test_the_walk_finds_what_pages_read() -> None:
    """Else it would show nothing: pages, forms, and the names of what is read out of both."""
    assert len([*walked.addresses("GET")]) > 15 and len([*walked.addresses("POST")]) > 25
    assert {"workload", "account", "credential", "instance", "user", "replicas"} - {*walked.read_names()} <= {
        "workload", "replicas",
    }  # fmt: skip


def test_nothing_of_another_account_is_in_any_answer(world: World) -> None:
    """Whatever id of it stands in the address, in the query, in a form, by id or by name; and nothing of it changes."""
    accounts = world.platform.accounts
    own = accounts.first_account()
    declared = next(iter(world.state.workloads.values()))
    quagga = accounts.users.named("quagga")
    invitation = world.get("/anypop/v1/accounts/mine/invitations")["results"][0]["id"]
    assert quagga is not None
    known = {
        "account": own.id, "user": quagga.id, "credential": accounts.credentials(own.id)[0].id, "city": "AMS",
        "invitation": invitation, "instance": "fun-eu-ams-0", "name": "fun", "confirm": "fun", "kind": "",
        "revision": "1", "role": "owner", "stack": declared.stack_id, "of_stack": declared.stack_id,
    }  # fmt: skip
    eve = Visitor(world).sign_in("eve")
    sign, before = eve.sign, kept(world)
    for stack, ref in itertools.product(("theirs", declared.stack_id), (declared.id, "fun")):
        asked: dict[str, Any] = dict.fromkeys(walked.read_names(), ref) | known
        values = {**walked.VALUES, "workload": ref, "stack": str(stack)}
        for method in ("GET", "POST"):
            for path in walked.addresses(method, values=values):
                eve.sign = sign
                at, form = (f"{path}?{urlencode(asked)}", {}) if method == "GET" else (path, asked)
                answer = eve.ask(method, at, **form)
                leaked = [mark for mark in MARKS if mark in answer.text]
                assert not leaked and answer.status_code < 500, (stack, ref, path, leaked, answer.status_code)
    assert kept(world) == before


def test_a_viewer_sees_no_button_and_whatever_he_sends_changes_nothing(world: World) -> None:
    """But for his own password and the way out. Questions may be asked."""
    vic = Visitor(world).sign_in("vic")
    for path in walked.addresses("GET"):
        shown = vic.ask("GET", path).text
        forms = {
            action
            for action in re.findall(r'<form method="post" action="([^"]+)"', shown)
            if not action.endswith(walked.QUESTIONS)
        }
        assert forms <= set(walked.ENDS), (path, forms)
        assert "data-dialog" not in shown, path
    sign, before = vic.sign, kept(world)
    asked: dict[str, Any] = dict.fromkeys(walked.read_names(), "1") | {
        "confirm": "fun",
        "workload": "fun",
        "city": "AMS",
    }
    for path in walked.addresses("POST"):
        vic.sign = sign
        answer = vic.ask("POST", path, **asked)
        assert answer.status_code < 500, (path, answer.status_code)
    assert kept(world) == before
    log = world.get("/anypop/v1/audit?limit=1000&actor=operator+vic")["results"]
    assert {entry["operation"] for entry in log if entry["outcome"] == "done"} == {"sign_in"}


def test_each_form_of_each_page_has_a_sign_and_leads_to_a_page_of_ours(world: World) -> None:
    """A form that changes something is a POST with a sign; one without is a question, by GET, to the page itself."""
    ada, stranger = Visitor(world).sign_in("ada"), Visitor(world)
    taken = {re.sub(r"{[^}]*}", "[^/]+", path) for asked, path, _ in (*PAGES, *OPEN) if asked == "POST"}
    seen = 0
    for visitor, path in [(ada, p) for p in walked.addresses("GET")] + [
        (stranger, p) for p in walked.addresses("GET", opened=True)
    ]:
        shown = visitor.ask("GET", path).text
        for form in re.findall(r"<form\b.*?</form>", shown, re.DOTALL):
            if 'method="get"' in form or 'method="dialog"' in form:
                assert 'name="sign"' not in form, (path, form)
                continue
            action = re.search(r'action="([^"]+)"', form)
            assert action is not None and any(re.fullmatch(one, action[1].partition("#")[0]) for one in taken), (
                path,
                form,
            )
            assert 'name="sign"' in form, (path, form)
            seen += 1
    assert seen > 25


def test_where_nothing_is_a_page_teaches_what_belongs_there(tmp_path: Path) -> None:
    """Each page of a list, in an account in which nobody has done anything."""
    with World(tmp_path) as world:
        quick(world)
        accounts = world.platform.accounts
        fresh = accounts.create_account("fresh").id
        accounts.create_stack(fresh, "fresh", "fresh")
        a_user(world, fresh, "new", Role.OWNER, PASSWORD)
        new = Visitor(world).sign_in("new")
        stack = "/portal/stacks/fresh"
        lists = (
            f"{stack}/workloads",
            f"{stack}/map",
            "/portal/costs",
            "/portal/activity",
            "/portal/access/credentials",
        )
        for path in lists:
            shown = new.get(path)
            assert 'class="teach"' in shown and "<tbody>" not in shown.partition('class="teach"')[0], path


def test_one_silent_pop_stops_no_page_and_is_told_as_unknown(world: World) -> None:
    """Its instances are never shown as well; every page is there as before."""
    ada = Visitor(world).sign_in("ada")
    before = {path: ada.ask("GET", path).status_code for path in walked.addresses("GET")}
    quiet, *others = world.agents()
    for agent in others:
        agent.obey()
    world.clock.now += 60
    for agent in others:
        agent.report()
    shown = ada.get("/portal/stacks/default/workloads/fun")
    row = shown.partition(f"fun-eu-{quiet.host.lower()}-0</td>")[2].partition("</tr>")[0]
    assert "Unknown" in row and "state good" not in row
    assert {path: ada.ask("GET", path).status_code for path in walked.addresses("GET")} == before


def test_no_text_becomes_markup_on_any_page(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of names, labels, env, notes, error words of hosts and registries, and of whatever is in a query or a form."""
    with World(tmp_path_factory.mktemp("nasty")) as world:
        quick(world)
        own = world.platform.accounts.first_account().id
        a_user(world, own, "ada", Role.OWNER, PASSWORD)
        world.platform.accounts.create_credential(own, NASTY)
        world.platform.accounts.create_account(NASTY)
        world.send("POST", "/anypop/v1/account-requests", {"account": f"x{NASTY}", "note": NASTY})
        world.send("POST", "/anypop/v1/accounts/mine/invitations", {"role": "viewer", "note": NASTY})
        body = world.body("fun", env={"A": {"value": NASTY}})
        body["workload"] |= {"name": NASTY}
        body["workload"]["metadata"]["labels"] = {"a": NASTY}
        world.send("POST", "/workload/v1/stacks/default/workloads", body)
        agents = world.agents()
        world.settle(agents)
        for agent in agents:
            seen = agent.seen()
            told = tuple(type(one)(**{**fields_of(one), "message": NASTY}) for one in seen.instances)
            agent.report(errors=(NASTY,), drift=(NASTY,), instances=told)
        world.send("PATCH", "/stack/v1/stacks/default", {"name": NASTY})
        ada = Visitor(world).sign_in("ada")
        everything: dict[str, Any] = dict.fromkeys(walked.read_names(), NASTY)
        sign = ada.sign
        for path in walked.addresses("GET"):
            for query in ("", f"?{urlencode(everything)}"):
                shown = ada.ask("GET", path + query).text
                assert "<script>alert" not in shown and "<img" not in shown, (path, query)
        for path in walked.addresses("POST"):
            ada.sign = sign
            answer = ada.ask("POST", path, **everything)
            assert "<script>alert" not in answer.text and "<img" not in answer.text, path
            assert answer.status_code < 500, (path, answer.text)
        stranger = Visitor(world)
        for path in walked.addresses("GET", opened=True):
            shown = stranger.ask("GET", f"{path}?{urlencode(everything)}").text
            assert "<script>alert" not in shown and "<img" not in shown, path


def fields_of(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in type(one).__dataclass_fields__}


def test_no_connection_is_opened_without_a_session(world: World) -> None:
    """Neither a stream of events nor a WebSocket, of all that the portal has; a made-up cookie opens none either."""
    transport = world._http._transport
    app: Any = getattr(transport, "app")  # noqa: B009 - an attribute that httpx does not tell of
    sockets = [r.path for r in make_pages(app).routes if isinstance(r, WebSocketRoute)]
    paths = {re.sub(r"{(\w+)[^}]*}", lambda p: walked.VALUES.get(p[1], "x"), path) for path in sockets}
    streams = [path for _, path, _ in PAGES if "stream" in path or "watch" in path]
    assert streams
    for path in (*streams, *paths):
        for cookie in ("", f"__Host-anypop-session={'x' * 43}"):
            said = world.run(_socket(app, path, cookie))
            assert "websocket.accept" not in said, path
        answer = Visitor(world).ask("GET", f"{path}?topic=workload:default:fun")
        assert answer.status_code in (303, 400, 401, 403, 404), path


async def _socket(app: Any, path: str, cookie: str) -> list[str]:
    """What is said to a WebSocket that begins."""
    said: list[str] = []
    asked = iter([{"type": "websocket.connect"}])

    async def receive() -> dict[str, Any]:
        return next(asked, {"type": "websocket.disconnect", "code": 1001})

    async def send(message: dict[str, Any]) -> None:
        said.append(message["type"])

    scope = {
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "wss",
        "path": path, "raw_path": path.encode(), "query_string": b"command=sh", "root_path": "", "subprotocols": [],
        "headers": [(b"host", b"control"), (b"cookie", cookie.encode())], "client": ("127.0.0.1", 1),
        "server": ("control", 443), "state": {}, "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    async with asyncio.timeout(20):
        await app(scope, receive, send)
    return said


def test_the_part_of_a_page_whose_workload_went_leaves_what_stands_there(world: World) -> None:
    """It is asked for as the last news comes, and the workload may be gone by then: no error of the page's."""
    ada, gone = Visitor(world).sign_in("ada"), "/portal/stacks/default/workloads/gone/events"
    assert ada.ask("GET", gone, headers={"hx-request": "true"}).status_code == 204
    assert ada.ask("GET", gone).status_code == 404
