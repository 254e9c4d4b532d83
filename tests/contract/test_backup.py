"""Backup and restore: taken while control runs, brought back where everything was lost."""

import fcntl
import hashlib
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from anypop.cli.main import run
from anypop.control import backup
from anypop.control.network import change_network
from anypop.control.state import State
from anypop.control.store import open_store
from anypop.model.errors import WorldError
from anypop.model.names import HostName
from tests import postgres_server
from tests.control_world import FakeAgent, World, a_network

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BASE = "/workload/v1/stacks/default/workloads"
SECRET = "correct-horse-battery"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "control").mkdir()
    with World(tmp_path / "control") as made:
        yield made


def test_a_backup_taken_while_control_runs_brings_everything_back(world: World, tmp_path: Path) -> None:
    """By the command, into a new folder: workloads, secrets, tokens, the authority; and the agents, who are ahead by
    then, get newer orders. Nothing of it is readable by others, and without the key no secret is in it.
    """
    world.create(cities=("LHR",), replicas=1, env={"TOKEN": {"secretValue": SECRET}})
    (world.folder / "ca.key").write_text("an authority")
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    file = tmp_path / "backup.tar"
    assert run(["backup", str(file), "--state", str(tmp_path)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert SECRET.encode() not in file.read_bytes()
    with tarfile.open(file) as tar:
        assert {"anypop.db", "ca.key", "agents/LHR.token"} < set(tar.getnames()) and "secret.key" not in tar.getnames()
    world.create("later", cities=("LHR",), replicas=1)
    agent.obey()

    new = tmp_path / "new"
    new.mkdir()
    (new / "secret.key").write_bytes((world.folder / "secret.key").read_bytes())
    assert run(["restore", str(file), "--state", str(new)]) == 0
    assert (new / "ca.key").read_text() == "an authority"
    with World(new) as restored:
        assert [d.workload.slug for d in restored.platform.core.state.workloads.values()] == ["fun"]
        again = FakeAgent(restored, HostName("LHR"))
        assert again.token == agent.token and agent.order is not None
        assert again.report(generation=agent.order.generation).status_code == 204
        order = again.fetch()
        assert order is not None and order.generation == agent.order.generation + 1
        assert [c.secrets for i in order.instances for c in i.containers] == [(("TOKEN", SECRET),)]


def test_images_are_in_a_backup_where_that_is_asked_for(world: World, tmp_path: Path) -> None:
    """Those that are whole, and nothing that is on its way; one that is there already is not touched; and bytes that
    changed in the backup are found.
    """
    folder = world.folder / "machine-images"
    folder.mkdir()
    contents = {hashlib.sha256(data).hexdigest(): data for data in (b"a" * 5000, b"b" * 5000)}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "some-disk.part").write_bytes(b"half")
    file = tmp_path / "backup.tar"
    assert backup.take(world.folder, file, with_key=True, now=NOW).images == 0
    assert run(["backup", str(file), "--state", str(world.folder), "--with-images", "--with-key"]) == 0
    other = tmp_path / "other"
    one, two = contents
    (other / "machine-images").mkdir(parents=True)
    (other / "machine-images" / one).write_bytes(contents[one])
    before = (other / "machine-images" / one).stat().st_mtime_ns
    assert backup.restore(other, file, replace=False, now=NOW).images == 2
    assert sorted(f.name for f in (other / "machine-images").iterdir()) == sorted(contents)
    assert (other / "machine-images" / two).read_bytes() == contents[two]
    assert (other / "machine-images" / one).stat().st_mtime_ns == before
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(file.read_bytes().replace(b"b" * 5000, b"b" * 4999 + b"c"))
    with pytest.raises(WorldError, match="has another checksum"):
        backup.restore(tmp_path / "third", damaged, replace=False, now=NOW)
    assert two not in {f.name for f in (tmp_path / "third" / "machine-images").iterdir()}


def test_nothing_in_use_is_written_over(world: World, tmp_path: Path) -> None:
    """Not while a control runs there; not over a database, unless it is said, and then that one is moved aside; and
    what is no backup changes nothing.
    """
    file = tmp_path / "backup.tar"
    backup.take(world.folder, file, with_key=True, now=NOW)
    other = tmp_path / "other"
    open_store(other).close()
    with pytest.raises(WorldError, match="is there: say that it is to be replaced"):
        backup.restore(other, file, replace=False, now=NOW)
    backup.restore(other, file, replace=True, now=NOW)
    assert (other / "anypop.db.replaced-20260102T030405").exists()
    assert (other / "secret.key").read_bytes() == (world.folder / "secret.key").read_bytes()
    (tmp_path / "text").write_text("no backup")
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        backup._add(tar, "manifest.json", '{"format": 1, "at": "", "database": "sqlite", "files": ["../evil"]}')
    for source, says in ((tmp_path / "text", "restore"), (evil, "files that control does not have")):
        with pytest.raises(WorldError, match=says):
            backup.restore(tmp_path / "third", source, replace=True, now=NOW)
    assert not (tmp_path / "evil").exists()
    with (other / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WorldError, match="a control runs in"):
            backup.restore(other, file, replace=True, now=NOW)


def test_a_backup_without_the_key_says_what_is_missing(world: World, tmp_path: Path) -> None:
    backup.take(world.folder, tmp_path / "backup.tar", with_key=False, now=NOW)
    with pytest.raises(WorldError, match=r"does not hold the key of secrets.*secret\.key"):
        backup.restore(tmp_path / "new", tmp_path / "backup.tar", replace=False, now=NOW)


def test_the_same_with_postgresql(tmp_path: Path) -> None:
    """Dumped while a control holds the lease; not brought back beneath it; afterwards into the same database."""
    state = change_network(a_network())(State(serial=7), 0.0)
    file = tmp_path / "backup.tar"
    with postgres_server.running() as url:
        store = open_store(tmp_path / "one", url)
        try:
            store.save(State(), state, [], at=0.0)
            backup.take(tmp_path / "one", file, with_key=True, now=NOW, url=url)
            store.put_setting("after", "the backup")
            with pytest.raises(WorldError, match="a control uses the database"):
                backup.restore(tmp_path / "two", file, replace=True, now=NOW, url=url)
        finally:
            store.close()
        with pytest.raises(WorldError, match="not empty"):
            backup.restore(tmp_path / "two", file, replace=False, now=NOW, url=url)
        backup.restore(tmp_path / "two", file, replace=True, now=NOW, url=url)
        store = open_store(tmp_path / "two", url)
        try:
            assert store.setting("after") is None
            assert store.load().network == state.network
        finally:
            store.close()
