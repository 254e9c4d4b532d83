"""Commands that go on and are cut off end with another code than 0, and say why.

Each command runs in a thread against a real server on loopback, whose agent is played; what lets it go on is then taken
away: the credential, the instance, the host, control. A log that ends by itself is no failure.
"""

import io
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from anypop.cli.failure import Exit
from anypop.cli.main import run
from anypop.cli.websocket import WebSocket
from anypop.model.streams import CommandRequest, ConsoleRequest, LogRequest
from tests.control_world import World
from tests.served import PATIENCE_S, PlayedAgent, Served, served
from tests.wait import wait_until

INSTANCE = "fun-eu-ams-1"
FOLLOWING = {
    "logs": ("logs", "-f", INSTANCE),
    "exec": ("exec", INSTANCE, "cat"),
    "console": ("console", INSTANCE),
    "port-forward": ("port-forward", INSTANCE, ":80"),
    "watch": ("watch", "fun"),
    "events": ("events", "-f"),
}


@dataclass
class Running:
    """Commands of one credential that go on."""

    codes: dict[str, int] = field(default_factory=dict)
    threads: dict[str, threading.Thread] = field(default_factory=dict)

    def code(self, name: str) -> int:
        self.threads[name].join(PATIENCE_S)
        assert not self.threads[name].is_alive(), f"{name} goes on"
        return self.codes[name]

    def codes_of_all(self) -> dict[str, int]:
        return {name: self.code(name) for name in self.threads}


class Place:
    def __init__(self, world: World, there: Served, agent: PlayedAgent) -> None:
        self.world, self.there, self.agent = world, there, agent
        self.out, self.err = io.StringIO(), io.StringIO()
        self.opened: list[str] = []
        enter = WebSocket.__enter__

        def entered(socket: WebSocket) -> WebSocket:
            there = enter(socket)
            self.opened.append(urlsplit(socket._address).path.rpartition("/")[2])
            return there

        self._entered = entered

    def begins(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> tuple[str, Running]:
        """The client's id, and these commands, each of which has begun."""
        account = self.world.platform.accounts.first_account().id
        made = self.world.platform.accounts.create_credential(account, "theirs")
        for name, value in {
            "URL": f"http://{self.there.address}", "CA": "", "STACK": "default", "STATE": "",
            "CLIENT_ID": made.client_id, "CLIENT_SECRET": made.secret,
        }.items():  # fmt: skip
            monkeypatch.setenv(f"ANYPOP_{name}", value)
        self.out, self.err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdout", self.out)
        monkeypatch.setattr(sys, "stderr", self.err)
        self.agent.asked.clear()
        self.opened.clear()
        monkeypatch.setattr(WebSocket, "__enter__", self._entered)
        running = Running()
        for name in names:
            running.threads[name] = threading.Thread(target=self._run, args=(running, name), daemon=True)
            running.threads[name].start()
        wait_until(
            lambda: not self._missing(made.client_id, *names), timeout_s=PATIENCE_S,
            reason=lambda: (
                f"begun have all but {self._missing(made.client_id, *names)}; ended {running.codes}, "
                f"and they said {self.err.getvalue()!r}"
            ),
        )  # fmt: skip
        return made.client_id, running

    def _run(self, running: Running, name: str) -> None:
        running.codes[name] = run(FOLLOWING[name])

    def _missing(self, client: str, *names: str) -> list[str]:
        """Those of which control, the host or the screen shows no sign yet. What goes on from before is of another
        credential, and no sign of these.
        """
        kinds = {type(asked) for asked in self.agent.asked}
        held = [one.operation for one in tuple(self.world.platform.held_open._open) if one.grant.client_id == client]
        signs = {
            "logs": LogRequest in kinds and "begun" in self.out.getvalue(),
            "exec": CommandRequest in kinds and "exec" in self.opened,
            "console": ConsoleRequest in kinds and "console" in self.opened,
            "port-forward": f"-> {INSTANCE} port 80" in self.out.getvalue() and "watch_instances" in held,
            "watch": held.count("watch_instances") == len({"watch", "port-forward"} & {*names}),
            "events": "watch_events" in held,
        }
        return [name for name in names if not signs[name]]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with World(tmp_path_factory.mktemp("cut_off")) as world:
        world.create()
        world.settle()
        with served(world) as there:
            agent = PlayedAgent(there, "AMS")
            yield Place(world, there, agent)
            agent.close()


def test_access_a_host_an_instance_and_a_workload_that_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, and each in words; what is not touched by it goes on."""
    client, running = place.begins(monkeypatch, *FOLLOWING)
    place.world.platform.accounts.delete_credential(place.world.platform.accounts.first_account().id, client)
    assert running.codes_of_all() == dict.fromkeys(FOLLOWING, int(Exit.DENIED))
    assert place.err.getvalue().count("this credential was deleted") >= 3, place.err.getvalue()

    _, running = place.begins(monkeypatch, "logs", "exec", "watch")
    place.agent.dies()
    assert {running.code("logs"), running.code("exec")} == {Exit.FAILED}
    said = place.err.getvalue()
    assert (
        f"logs of {INSTANCE}: cut off before the end" in said and "the connection ended before the command did" in said
    )
    assert "its host has ended the connection" in place.out.getvalue()
    assert running.threads["watch"].is_alive()

    _, running = place.begins(monkeypatch, "logs")
    place.agent.ends_logs()
    assert running.code("logs") == 0 and "its container has ended" in place.err.getvalue()

    _, running = place.begins(monkeypatch, "logs", "port-forward", "watch")
    place.world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": place.world.replicas(1)})
    assert running.code("port-forward") == Exit.NOT_FOUND and f"{INSTANCE} is gone" in place.err.getvalue()
    place.agent.ends_logs()
    assert running.code("logs") == Exit.NOT_FOUND and "this instance is" in place.err.getvalue()
    place.world.call("DELETE", "/workload/v1/stacks/default/workloads/fun")
    place.world.settle()
    assert running.code("watch") == Exit.NOT_FOUND and "fun is gone" in place.err.getvalue()


def test_control_that_is_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    _, running = place.begins(monkeypatch, *FOLLOWING)
    place.there.is_lost()
    codes = running.codes_of_all()
    assert codes == dict.fromkeys(FOLLOWING, int(Exit.UNREACHABLE)) | dict.fromkeys(
        ("console", "exec"), int(Exit.FAILED)
    ), place.err.getvalue()
