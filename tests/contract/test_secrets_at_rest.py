"""Secrets as the disk has them: in the database, its write-ahead log, the history of orders, and what a migration left.

The bytes of the files themselves are searched; that a secret is found where it is not sealed is shown beside.
"""

import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.control.seals import SEALED
from anypop.control.store import open_store
from anypop.model.errors import WorldError
from anypop.model.names import HostName
from tests.control_world import FakeAgent, World

BASE = "/workload/v1/stacks/default/workloads"
SECRET = "correct-horse-battery"
PASSWORD = "registry-password-77"
ENV = {"TOKEN": {"secretValue": SECRET}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def files_with(folder: Path, secret: str) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file() and secret.encode() in path.read_bytes()}


def declared(world: World, slug: str = "fun") -> None:
    body = world.body(slug, cities=("LHR",), replicas=1, env=ENV)
    body["workload"]["spec"]["imagePullCredentials"] = [
        {"dockerRegistry": {"server": "registry.example", "username": "me", "password": PASSWORD}}
    ]
    world.send("POST", BASE, body)


def secrets_of(agent: FakeAgent) -> list[tuple[str, str]]:
    assert agent.order is not None
    return [secret for i in agent.order.instances for c in i.containers for secret in c.secrets]


def passwords_of(agent: FakeAgent) -> list[str]:
    assert agent.order is not None
    return [login.password for i in agent.order.instances for login in i.payload.around.logins]


def test_no_secret_is_in_the_database_and_every_agent_gets_its_own(world: World) -> None:
    """Environment and registry's password, from the moment of creation, over restarts and over whole and differing
    orders. What is no secret is found, so the search finds.
    """
    declared(world)
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    assert secrets_of(agent) == [("TOKEN", SECRET)]
    assert passwords_of(agent) == [PASSWORD]
    for _ in range(2):
        assert files_with(world.folder, SECRET) == files_with(world.folder, PASSWORD) == set()
        assert files_with(world.folder, "registry.example/web:1")
        world.restart()
    agent.order = None
    agent.obey()
    assert secrets_of(agent) == [("TOKEN", SECRET)]
    assert passwords_of(agent) == [PASSWORD]
    key = world.folder / "secret.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    found = world.platform.core.state.find(world.stack.id, "fun")
    assert found is not None and {s.value for s in found.secrets} == {SECRET, PASSWORD}


def test_a_workload_that_is_gone_leaves_nothing_that_can_be_opened(world: World) -> None:
    """Older orders still tell of its instance; the key of its secrets is gone with it, so the platform's own key does
    not help.
    """
    declared(world)
    declared(world, "other")
    world.settle()
    world.send("DELETE", f"{BASE}/fun")
    world.settle()
    store = world.platform.core.store
    kept = "".join(row["body"] for row in store.order_history(HostName("LHR")))
    assert "fun-eu-lhr-0" in kept and "sealed:1:" in kept
    with sqlite3.connect(world.folder / "anypop.db") as link:
        keys = [row[0] for row in link.execute("SELECT workload_id FROM secret_keys")]
    link.close()
    assert keys == [d.id for d in world.platform.core.state.workloads.values()]
    world.restart()
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    assert secrets_of(agent) == [("TOKEN", SECRET)]


def test_a_step_that_fails_loses_no_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at the creation, and again at the deletion: what is there opens after the next start."""
    declared(world)
    store = world.platform.core.store

    def full(*_: object) -> None:
        raise WorldError("write to the store", "disk full")

    for method, path, body in (("POST", BASE, world.body("next", env=ENV)), ("DELETE", f"{BASE}/fun", None)):
        with monkeypatch.context() as patch:
            patch.setattr("anypop.control.store.save_keys", full)
            assert world.call(method, path, json=body).status_code == 503
    world.send("POST", BASE, world.body("next", cities=("LHR",), replicas=1, env=ENV))
    assert store is world.platform.core.store
    world.restart()
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    assert secrets_of(agent) == [("TOKEN", SECRET)] * 2


def test_what_an_earlier_version_stored_in_the_clear_is_sealed_at_the_start(world: World) -> None:
    """Tables, orders, free pages and the log of the database: nowhere is it to be read afterwards, and no order
    changes.
    """
    declared(world)
    world.settle()
    before = {host: issued.order for host, issued in world.platform.core.state.orders.items()}
    world.run(world.platform.core.stop())
    key = world.platform.core.state.template_key.hex()
    world.platform.core.store.close()
    _in_the_clear(world, key)
    assert "anypop.db" in files_with(world.folder, SECRET) & files_with(world.folder, PASSWORD)
    world._open()
    assert (
        files_with(world.folder, SECRET) == files_with(world.folder, PASSWORD) == files_with(world.folder, key) == set()
    )
    assert {host: issued.order for host, issued in world.platform.core.state.orders.items()} == before


def _in_the_clear(world: World, key: str) -> None:
    """The database as the version before had it."""
    values = {"spec.containers.web.env.TOKEN.secretValue": SECRET}
    link = sqlite3.connect(world.folder / "anypop.db")
    for host, generation, body in link.execute("SELECT host, generation, body FROM orders").fetchall():
        data = json.loads(body)
        for instance in data.get("instances", ()):
            for container in instance["payload"]["containers"]:
                container["secrets"] = [[name, SECRET] for name, _ in container["secrets"]]
            for login in instance["payload"]["around"]["logins"]:
                login["password"] = PASSWORD
        text = json.dumps(data, separators=(",", ":"))
        link.execute("UPDATE orders SET body = ? WHERE host = ? AND generation = ?", (text, host, generation))
    for path in [row[0] for row in link.execute("SELECT path FROM workload_secrets").fetchall()]:
        link.execute("UPDATE workload_secrets SET value = ? WHERE path = ?", (values.get(path, PASSWORD), path))
    link.execute("UPDATE settings SET value = ? WHERE key = 'template_key'", (key,))
    link.execute("DELETE FROM settings WHERE key = ?", (SEALED,))
    link.execute("DELETE FROM secret_keys")
    link.commit()
    link.close()


def test_a_lost_key_is_told_in_words_and_changes_nothing(world: World) -> None:
    """Start and words first; with the key back in place all is there. A key that is none is told too."""
    declared(world)
    world.run(world.platform.core.stop())
    world.platform.core.store.close()
    path = world.folder / "secret.key"
    key = path.read_text()
    path.unlink()
    store = open_store(world.folder)
    with pytest.raises(WorldError, match=r"sealed with another key than the one in .*secret\.key"):
        store.load()
    store.close()
    path.write_text("nonsense")
    with pytest.raises(WorldError, match="64 hex digits"):
        open_store(world.folder)
    path.write_text(key)
    world._open()
    assert world.platform.core.state.find(world.stack.id, "fun") is not None


def test_the_key_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no file is made."""
    monkeypatch.setenv("ANYPOP_SECRET_KEY", "5a" * 32)
    with World(tmp_path) as world:
        declared(world)
        world.restart()
        assert not (tmp_path / "secret.key").exists()
