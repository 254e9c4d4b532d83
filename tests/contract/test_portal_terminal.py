"""The portal's terminal without a browser: who gets one, who does not, what ends it, what is remembered of it."""

import contextlib
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from anypop.api.context import Platform
from anypop.control import declare
from anypop.control.roles import Role
from anypop.model.machine import Acceleration, Board, DiskFormat, Firmware, ImagePart, machine_image
from anypop.model.streams import CommandRequest, ConsoleRequest, Frame
from anypop.plan.parse import Parsed
from anypop.portal.cookies import SESSION
from anypop.portal.terminal import SHELL
from tests.contract.test_portal import Visitor
from tests.control_world import World
from tests.people import PASSWORD, a_user, session_of, two_accounts
from tests.served import PATIENCE_S, PlayedAgent, Served, served

INSTANCE = "fun-eu-ams-0"
PAGE = f"/portal/stacks/default/workloads/fun/terminal/{INSTANCE}"


@dataclass
class Place:
    world: World
    there: Served
    agent: PlayedAgent
    sessions: dict[str, str]

    @contextlib.contextmanager
    def terminal(self, who: str, *, origin: str | None = "", **asked: str) -> Iterator[Connection]:
        """`origin`: default: from a page of ours."""
        wanted = {"stack": "default", "workload": "fun", "instance": INSTANCE, "rows": "30", "columns": "90", **asked}
        more = {"cookie": f"{SESSION}={self.sessions[who]}"} if who else {}
        told = f"https://{self.there.address}" if origin == "" else origin
        with connect(
            f"ws://{self.there.address}/portal/terminal?{urlencode(wanted)}",
            additional_headers=more | ({"origin": told} if told is not None else {}),
            proxy=None,
            open_timeout=PATIENCE_S,
        ) as socket:
            yield socket

    def refused(self, who: str, *, origin: str | None = "", **asked: str) -> int:
        with pytest.raises(InvalidStatus) as found, self.terminal(who, origin=origin, **asked):
            pass
        return found.value.response.status_code


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with two_accounts(tmp_path_factory.mktemp("terminal")) as world:
        sessions = {name: session_of(world, name) for name in ("ada", "vic", "eve")} | {"forged": "x" * 40}
        world.create("fun")
        world.settle()
        with served(world) as there:
            agent = PlayedAgent(there, "AMS")
            yield Place(world, there, agent, sessions)
            agent.close()


def test_a_shell_in_the_container_by_the_sessions_cookie(place: Place) -> None:
    """Frames go to and fro; the host is asked for a shell with a terminal of that size; the audit log has who did."""
    with place.terminal("ada") as socket:
        socket.send(bytes([Frame.INPUT]) + b"hello\x00\xff")
        assert socket.recv(PATIENCE_S) == bytes([Frame.OUTPUT]) + b"HELLO\x00\xff"
        wanted = place.agent.asked[-1]
        assert isinstance(wanted, CommandRequest)
        assert (wanted.command, wanted.terminal, wanted.rows, wanted.columns) == (SHELL, True, 30, 90)
    (entry,) = place.world.get("/anypop/v1/audit?operation=run_command")["results"]
    assert entry["subject"] == INSTANCE and "ada" in json.dumps(entry), entry


def test_a_virtual_machine_is_made_and_has_its_console_instead(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of one asks for it, and what is typed goes to its host as it does from a command line."""
    image = machine_image(
        "default/tiny:1", parts=[ImagePart(name="kernel", sha256="a" * 64, size=1)], disk_format=DiskFormat.RAW,
        disk_bytes=0, firmware=Firmware.KERNEL, board=Board.Q35,
    )  # fmt: skip

    def with_images(_: Platform, made: Parsed, *__: object) -> Parsed:
        made, asked = declare.unresolved(made, None)
        return declare.with_images(made, {one.image: image for one in asked})

    monkeypatch.setattr(Platform, "with_images", with_images)
    ada = Visitor(place.world)
    ada.cookies[SESSION] = place.sessions["ada"]
    ada.get("/portal/stacks/default/create")
    form: dict[str, Any] = {
        "name": "vm", "kind": "machine", "machine-image": "default/tiny:1", "size": "SP-1", "city": "AMS",
        "user-data": "#cloud-config", "ssh-keys": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3Yw me@example",
    }  # fmt: skip
    assert 'id="monthly">0.00' not in ada.ask("POST", "/portal/stacks/default/create/look", **form).text
    wrong = ada.ask("POST", "/portal/stacks/default/create", **form | {"ssh-keys": "no key"})
    assert wrong.status_code == 400 and "no key" in wrong.text and 'value="machine" checked' in wrong.text
    assert ada.ask("POST", "/portal/stacks/default/create", **form).status_code == 303
    agents = place.world.agents()
    for agent in agents:
        agent.machines = Acceleration.TCG
    place.world.settle(agents)
    assert "Open the console" in ada.get("/portal/stacks/default/workloads/vm")
    path = PAGE.replace("fun-eu", "vm-eu1").replace("fun", "vm")
    shown = ada.get(path)
    (query,) = re.findall('data-query="(.*?)"', shown)
    assert "console=true" in query and "Console of vm-eu1-ams-0" in shown
    asked = dict(parse_qsl(html.unescape(query)))
    with place.terminal("ada", **asked) as socket:
        socket.send(bytes([Frame.INPUT]) + b"hello")
        assert socket.recv(PATIENCE_S) == bytes([Frame.OUTPUT]) + b"HELLO"
    assert place.agent.asked[-1] == ConsoleRequest(uid=place.agent.asked[-1].uid, container="app")


def test_who_may_not_gets_none(place: Place) -> None:
    """Without a session, from another site or from none that says so, of another tenant, for looking alone, of what is
    not there. No host is asked for anything.
    """
    before = len(place.agent.asked)
    assert place.refused("") == 401
    assert place.refused("forged") == 401
    here = place.there.address
    for origin in (None, "https://evil.example", f"http://{here}", f"https://{here}.evil.example", "null", "https://"):
        assert place.refused("ada", origin=origin) == 403, origin
    assert place.refused("vic") == 403
    assert place.refused("eve") == 404
    stack = place.world.stack.id
    assert place.refused("eve", stack=stack, workload=place.world.instances()[0]["workloadId"]) == 404
    for wrong in ({"instance": "fun-eu-ams-9"}, {"instance": ".."}, {"instance": ""}, {"workload": "../fun"},
                  {"container": "none"}, {"stack": "a/b"}):  # fmt: skip
        assert place.refused("ada", **wrong) == 404, wrong
    assert place.refused("ada", rows="many") == 400
    assert len(place.agent.asked) == before


def test_it_ends_with_the_session(place: Place) -> None:
    """By signing out in another tab, at once, and the page is told why."""
    user = a_user(place.world, place.world.platform.accounts.first_account().id, "bob", Role.EDITOR, PASSWORD)
    tokens = place.world.platform.accounts.tokens
    token = tokens.begin_session(user, place.world.platform.accounts.first_account().id, via="test").text
    place.sessions["bob"] = token
    with place.terminal("bob") as socket:
        socket.send(bytes([Frame.INPUT]) + b"a")
        assert socket.recv(PATIENCE_S) == bytes([Frame.OUTPUT]) + b"A"
        bob = Visitor(place.world)
        bob.cookies[SESSION] = token
        bob.get("/portal/stacks/default/workloads")
        assert bob.ask("POST", "/portal/sign-out").status_code == 303
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(PATIENCE_S)
        assert ended.value.rcvd is not None and ended.value.rcvd.code == 1008 and ended.value.rcvd.reason
    assert place.refused("bob") == 401


def test_the_page_is_for_who_may(place: Place) -> None:
    """Its policy is as strict as that of the others, but for styles with its own nonce."""
    seen = {}
    for who in ("ada", "vic", "eve"):
        visitor = Visitor(place.world)
        visitor.cookies[SESSION] = place.sessions[who]
        seen[who] = visitor.ask("GET", PAGE)
    assert {who: answer.status_code for who, answer in seen.items()} == {"ada": 200, "vic": 403, "eve": 404}
    policy = seen["ada"].headers["content-security-policy"]
    assert "unsafe" not in policy and "style-src 'self' 'nonce-" in policy
    other = Visitor(place.world)
    other.cookies[SESSION] = place.sessions["ada"]
    answer = other.ask("GET", "/portal/stacks/default/workloads/fun")
    assert "style-src 'self'; " in answer.headers["content-security-policy"]
    assert "terminal.js" not in answer.text, "nobody pays for a terminal before one is open"
