"""A database of an older version: read, written back, and taken over by a control of today without touching what runs.

The recorded one is described in `tests/recorded/v0_1/README.md`. Each on SQLite and on PostgreSQL.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, MetaData, create_engine, event, inspect, select, text
from sqlalchemy.engine import make_url

from anypop.agent.ledger import Ledger
from anypop.control.state import State
from anypop.control.store import Store, open_store
from anypop.model.names import HostName, WorkloadId
from anypop.model.reasons import Reason
from tests import databases
from tests.control_world import FakeAgent, World

RECORDED = Path(__file__).parents[1] / "recorded" / "v0_1"
RECORDED_AT = 1_700_000_020.0
SERVERS = ["sqlite", "postgresql"]
# what the first version wrote down and a migration to and fro may lose: agents tell it anew
TOLD_ANEW = {"reports", "orders", "events", "alembic_version"}

Rows = dict[str, list[tuple[Any, ...]]]


@dataclass
class Database:
    engine: Engine
    folder: Path

    def migrate(self, to: str) -> None:
        with self.engine.begin() as link:
            config = Config()
            config.set_main_option("script_location", "anypop.control:migrations")
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = link
            config.attributes["folder"] = self.folder
            now = (
                link.execute(text("SELECT version_num FROM alembic_version")).scalar()
                if inspect(link).has_table("alembic_version")
                else ""
            )
            (command.downgrade if now and now > to else command.upgrade)(config, to)

    def store(self) -> Store:
        url = None if self.engine.dialect.name == "sqlite" else self.engine.url.render_as_string(hide_password=False)
        return open_store(self.folder, url)

    def load(self) -> State:
        store = self.store()
        try:
            return store.load()
        finally:
            store.close()

    def rows(self) -> Rows:
        meta = MetaData()
        meta.reflect(self.engine)
        with self.engine.connect() as link:
            return {
                table.name: sorted(
                    tuple(_plain(v) for v in row)
                    for row in link.execute(select(*sorted(table.columns, key=lambda c: c.name)))
                )
                for table in meta.sorted_tables
            }

    def shape(self) -> dict[str, Any]:
        """Columns, keys and constraints, as the database tells them."""
        look = inspect(self.engine)
        return {
            table: (
                sorted((c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table)),
                look.get_pk_constraint(table)["constrained_columns"],
                sorted((str(u["name"]), u["column_names"]) for u in look.get_unique_constraints(table)),
                sorted((str(f["name"]), f["referred_table"], f["options"]) for f in look.get_foreign_keys(table)),
            )
            for table in look.get_table_names()
        }


def _plain(value: Any) -> Any:
    """Text that holds JSON as what it says, so that its spelling does not count."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            return json.dumps(json.loads(value), sort_keys=True)
    return int(value) if isinstance(value, bool) else "" if value is None else value


@pytest.fixture(params=SERVERS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """One that holds what was recorded, in the first schema."""
    recorded = sqlite3.connect(tmp_path / "recorded.db")
    recorded.executescript((RECORDED / "control.sql").read_text())
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "anypop.db") as copy:
            recorded.backup(copy)
        copy.close()
        made = Database(_sqlite(tmp_path / "anypop.db"), tmp_path)
    else:
        url = make_url(databases.address_of(tmp_path, empty=True)).set(drivername="postgresql+psycopg")
        made = Database(create_engine(url), tmp_path)
        made.migrate("0001")
        _copied(recorded, made.engine)
    recorded.close()
    yield made
    made.engine.dispose()
    if request.param != "sqlite":
        databases.is_closed(tmp_path)


def _sqlite(path: Path) -> Engine:
    """As the store opens one: a migration is whole or nothing."""
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(link: Any) -> None:
        link.exec_driver_sql("BEGIN")

    return engine


def _copied(source: sqlite3.Connection, engine: Engine) -> None:
    meta = MetaData()
    meta.reflect(engine)
    source.row_factory = sqlite3.Row
    with engine.begin() as link:
        for table in meta.sorted_tables:
            rows = [dict(row) for row in source.execute(f"SELECT * FROM {table.name}")]
            if table.name == "accounts":
                rows = [row | {"operator": bool(row["operator"])} for row in rows]
            if rows and table.name != "alembic_version":
                link.execute(table.insert(), rows)


def test_what_was_recorded_is_all_there_after_the_migration(database: Database) -> None:
    """Declarations with their secrets, incarnations at their places, rules, addresses, tombstones, rests, orders and
    the judge's memory.
    """
    before = database.rows()
    state = database.load()
    slugs = {d.workload.slug: d for d in state.workloads.values()}
    assert sorted(slugs) == ["blog", "fun", "stale"]
    fun = slugs["fun"]
    assert {(s.path.rpartition(".")[2], s.value) for s in fun.secrets} == {
        ("secretValue", "hush-hush"),
        ("password", "pass-word"),
    }
    assert dict(fun.workload.containers[0].secrets) == {"TOKEN": "hush-hush"}
    assert (fun.version, fun.good, fun.workload.revision, fun.workload.template) == (1, 1, 1, "")
    stale = slugs["stale"]
    assert (stale.version, stale.good, stale.workload.containers[0].image) == (2, 2, "registry.example/web:2")
    assert dict(stale.workload.containers[0].secrets) == {"TOKEN": "whisper"}
    assert state.serial == 13, "names that come back must not be taken for those that went"
    living = {p.incarnation.uid: p.incarnation for p in state.incarnations.values()}
    assert {(i.uid, i.name, i.pop, i.index) for i in living.values()} == {
        (r[7], r[1], r[4], r[3]) for r in _slots(before)
    }
    assert all(
        i.host == HostName(i.pop) and i.link == i.index and (i.life, i.template) == (0, "") for i in living.values()
    )
    (stone,) = state.tombstones.values()
    gone = stone.incarnation
    assert (gone.name, gone.host, gone.link, stone.reason, stone.detail) == (
        "blog-eu-lhr-2", "LHR", gone.index, Reason.SCALED_DOWN, "target eu asks for 2 in each city"
    )  # fmt: skip
    (rule,) = state.rules.values()
    assert (rule.pop, rule.upstream, rule.note) == ("LHR", "as1299", "too far")
    assert (rule.scope.prepend, rule.scope.communities) == (2, ((1299, 7100),))
    assert set(state.rests) == {"JFK/2", "JFK/link/2", "LAX/0", "LAX/link/0", "185.85.197.1"}
    assert [(a.workload_id, str(a.address4)) for a in state.anycast.values()] == [(fun.id, "185.85.196.1")]
    assert {leave.host for leave in state.history.whole().leaves} == {"JFK"}
    assert not state.reports and not state.rollouts and not state.revisions
    generations = _newest(before)
    assert {host: issued.order.generation for host, issued in state.orders.items()} == generations
    assert all(
        {i.uid for i in state.orders[HostName(h)].order.instances} == {u for u, i in living.items() if i.host == h}
        for h in generations
    )


def _slots(rows: Rows) -> list[tuple[Any, ...]]:
    """created_at, name, ordinal, place, pop, target, (the uid), workload_id: columns stand in the order of their
    names.
    """
    return [(r[0], r[1], r[2], r[3], r[4], r[5], r[7], r[6]) for r in rows["slots"]]


def _newest(rows: Rows) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, _, generation, pop in rows["orders"]:
        found[pop] = max(found.get(pop, 0), generation)
    return found


def test_down_again_it_is_what_it_was(database: Database) -> None:
    """Shape and rows, but for what agents tell anew; and up once more the same state is read."""
    shape, rows = database.shape(), database.rows()
    state = database.load()
    database.migrate("0001")
    assert database.shape() == shape
    again = database.rows()
    history = {"history"}
    for table in rows.keys() - TOLD_ANEW:
        kept = [r for r in rows[table] if table != "settings" or r[0] not in history]
        assert again[table] == kept, table
    assert again["orders"] == again["reports"] == []
    second = database.load()
    for name in ("network", "workloads", "incarnations", "anycast", "tombstones", "rests", "rules", "serial"):
        assert getattr(second, name) == getattr(state, name), name


def test_down_again_after_a_life_with_incarnations(database: Database, tmp_path: Path) -> None:
    """Of two incarnations of a slot the older stays, of revisions the newest; a network with two hosts in a PoP is
    refused.
    """
    database.migrate("0002")
    fun, uid = _one_of(database, "fun-eu-ams-0")
    with database.engine.begin() as link:
        link.execute(
            text(
                "INSERT INTO incarnations "
                "(uid, workload_id, target, pop, host, ordinal, name, place, link, life, template, revision, "
                "created_at) "
                "VALUES ('younger', :fun, 'eu', 'AMS', 'AMS', 0, 'fun-eu-ams-0', 0, 77, 9, 'x', 2, 1)"
            ),
            {"fun": fun},
        )
        link.execute(
            text("INSERT INTO revisions VALUES (:fun, 2, '{\"v\": 2}', '{\"v\": 2, \"revision\": 2}', 5, '')"),
            {"fun": fun},
        )
        link.execute(text("INSERT INTO workload_secrets VALUES (:fun, 2, 'p', 'second')"), {"fun": fun})
        link.execute(text("UPDATE workloads SET version = 2 WHERE id = :fun"), {"fun": fun})
        link.execute(text("INSERT INTO rollouts VALUES ('r', :fun, 1, '{}')"), {"fun": fun})
        link.execute(text("INSERT INTO evicted VALUES ('LHR', 1)"))
    database.migrate("0001")
    with database.engine.begin() as link:
        assert link.execute(text("SELECT uid FROM slots WHERE name = 'fun-eu-ams-0'")).scalars().all() == [uid]
        query = text("SELECT document, workload, version FROM workloads WHERE id = :fun")
        assert link.execute(query, {"fun": fun}).one() == (
            '{"v": 2}', '{"v": 2}', 2
        )  # fmt: skip
        assert link.execute(
            text("SELECT value FROM workload_secrets WHERE workload_id = :fun"), {"fun": fun}
        ).scalars().all() == ["second"]
    database.migrate("0002")
    before = database.rows()
    with database.engine.begin() as link:
        value = json.loads(link.execute(text("SELECT value FROM settings WHERE key = 'network'")).scalar_one())
        value["pops"][0]["hosts"].append({**value["pops"][0]["hosts"][0], "name": "AMS-2"})
        link.execute(text("UPDATE settings SET value = :value WHERE key = 'network'"), {"value": json.dumps(value)})
    with pytest.raises(RuntimeError, match="AMS has others"):
        database.migrate("0001")
    assert {t: r for t, r in database.rows().items() if t != "settings"} == {
        t: r for t, r in before.items() if t != "settings"
    }


def _one_of(database: Database, name: str) -> tuple[str, str]:
    with database.engine.begin() as link:
        row = link.execute(text("SELECT workload_id, uid FROM incarnations WHERE name = :name"), {"name": name}).one()
    return row.workload_id, row.uid


# taken over by a control of today


class Takeover(World):
    """A control of today over the recorded database, at the time at which it was recorded; the agents of then run
    what they ran.
    """

    def __init__(self, folder: Path) -> None:
        with sqlite3.connect(folder / "anypop.db") as made:
            made.executescript((RECORDED / "control.sql").read_text())
            made.row_factory = sqlite3.Row
            self.ran = {
                (row["pop"], i["uid"]): i["containers"][0]["image"]
                for row in made.execute("SELECT pop, body FROM reports")
                for i in _with_containers(made, row)
            }
            self.generations = {
                row["pop"]: json.loads(row["body"])["generation"]
                for row in made.execute("SELECT pop, body FROM reports")
            }
        made.close()
        super().__init__(folder, now=RECORDED_AT)

    def runs(self, agent: FakeAgent) -> set[str]:
        return {uid for host, uid in self.ran if host == agent.host}


def _with_containers(made: sqlite3.Connection, row: sqlite3.Row) -> Iterator[dict[str, Any]]:
    """What a PoP reported to run, as the first order named it that asked for it: so its containers were made, and
    never anew.
    """
    reported = {i["uid"] for i in json.loads(row["body"])["instances"]}
    known: dict[str, dict[str, Any]] = {}
    for (body,) in made.execute("SELECT body FROM orders WHERE pop = ? ORDER BY generation", (row["pop"],)):
        for instance in json.loads(body)["instances"]:
            known.setdefault(instance["uid"], instance)
    yield from (known[uid] for uid in reported)


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Takeover]:
    made = Takeover(tmp_path)
    with made:
        yield made


def _agents(taken: Takeover) -> list[FakeAgent]:
    """They know by their containers what each was made from: the same as ordered, or not."""
    agents = taken.agents()
    declared = {d.id: d.workload for d in taken.state.workloads.values()}
    for agent in agents:
        for placed in taken.state.incarnations.values():
            one = placed.incarnation
            if one.host == agent.host:
                wanted = declared[one.workload_id].containers[0].image
                agent.made_from[one.uid] = (
                    declared[one.workload_id].template if taken.ran[one.host, one.uid] == wanted else "unknown"
                )
    return agents


def test_nothing_that_ran_is_removed_or_made_anew(taken: Takeover) -> None:
    """Every order of today names just the uids that ran, with their addresses, above the generation that its host has
    obeyed; the only removal is the one that was under way, and its end is heard.
    """
    agents = _agents(taken)
    ran = {uid for _, uid in taken.ran}
    going = {t.incarnation.uid for t in taken.state.tombstones.values()}
    assert len(ran) == 9 and len(going) == 1
    for _ in range(5):
        taken.clock.now += 1
        for agent in agents:
            agent.obey()
            assert agent.order is not None and agent.order.generation >= taken.generations[agent.host]
            assert {i.uid for i in agent.order.instances} == taken.runs(agent) - going
            assert {r.uid for r in agent.order.removed} <= going
    assert set(taken.state.incarnations) == ran - going
    assert not taken.state.tombstones and not taken.state.rollouts
    assert {i["phase"] for slug in ("fun", "blog", "stale") for i in taken.instances(slug)} == {"RUNNING"}


def test_addresses_and_announcements_go_on(taken: Takeover) -> None:
    """Private, external and anycast addresses of each uid, and what each host announces, are those of the last order
    of then.
    """
    with sqlite3.connect(taken.folder / "old.db") as old:
        old.executescript((RECORDED / "control.sql").read_text())
        newest = {
            pop: json.loads(body) for pop, body in old.execute("SELECT pop, body FROM orders ORDER BY generation")
        }
    old.close()
    for agent in _agents(taken):
        agent.obey()
        assert agent.order is not None
        then = newest[agent.host]
        was = {i["uid"]: i for i in then["instances"]}
        for instance in agent.order.instances:
            four, six = instance.addresses()
            told = {
                "private4": four.private, "gateway4": four.gateway, "external4": four.external,
                "private6": six.private, "gateway6": six.gateway, "external6": six.external,
            }  # fmt: skip
            assert {key: str(address) for key, address in told.items()} == {key: was[instance.uid][key] for key in told}
            assert [str(a) for a in instance.anycast] == [
                a for a in (was[instance.uid]["anycast4"], was[instance.uid]["anycast6"]) if a
            ]
        assert [(str(a.prefix), a.upstream, a.scope.prepend) for a in agent.order.announcements] == [
            (a["prefix"], a["upstream"], a["scope"]["prepend"]) for a in then["announcements"]
        ]
        assert [(str(g.prefix), g.allowed) for g in agent.order.grants] == [
            (g["prefix"], g["allowed"]) for g in then["grants"]
        ]


def test_who_has_served_where_is_known_from_the_start(taken: Takeover) -> None:
    """As it was written down then: before any host has reported, nobody that stands is a newcomer, not even where it
    fails just now, and no order waits for less than it did.
    """
    state = taken.state
    lives = {(p.incarnation.pop, p.incarnation.workload_id) for p in state.incarnations.values()}
    assert {(pop, w) for w, memory in state.history.workloads.items() for pop in memory.served} == {
        (pop, w) for pop, w in lives if w in state.anycast
    }
    assert not state.verdict.newcomers and not state.verdict.late
    assert any(bad.host == "JFK" for memory in state.history.prefixes.values() for bad in memory.bad)
    assert state.plan is not None
    for host, issued in state.orders.items():
        planned = {(a.prefix, a.upstream): a.gates for a in state.plan.hosts[host].announcements}
        assert {(a.prefix, a.upstream): a.gates for a in issued.order.announcements} == planned


def test_what_is_as_declared_is_known_so_and_the_rest_comes_with_the_next_change(taken: Takeover) -> None:
    """`fun` and `blog` are adopted. `stale` runs an image that nobody declares: it runs on, is shown as not on its
    revision, and is made anew by the next rollout.
    """
    agents = _agents(taken)
    for _ in range(3):
        taken.clock.now += 1
        for agent in agents:
            agent.obey()
    templates = {str(p.incarnation.name): p.incarnation.template for p in taken.state.incarnations.values()}
    declared = {d.workload.slug: d for d in taken.state.workloads.values()}
    assert all(
        t == declared[name.partition("-")[0]].workload.template
        for name, t in templates.items()
        if not name.startswith("stale")
    )
    assert templates["stale-eu-lax-0"] == "unknown"
    before = set(taken.state.incarnations)
    taken.send(
        "PATCH", "/workload/v1/stacks/default/workloads/stale", {"workload": {"metadata": {"labels": {"a": "b"}}}}
    )
    for _ in range(20):
        taken.clock.now += 1
        for agent in agents:
            agent.obey()
    (one,) = [p.incarnation for p in taken.state.incarnations.values() if p.incarnation.name == "stale-eu-lax-0"]
    assert one.uid not in before and one.template == taken.state.workloads[one.workload_id].workload.template
    assert [r.phase.value for r in taken.state.rollouts.values()] == ["done"]


def test_a_second_start_changes_nothing(taken: Takeover) -> None:
    """The key of templates is made once and kept; the same orders follow."""
    agents = _agents(taken)
    for agent in agents:
        agent.obey()
    before = {host: issued.order for host, issued in taken.state.orders.items()}
    templates = {d.id: d.workload.template for d in taken.state.workloads.values()}
    taken.restart()
    assert {d.id: d.workload.template for d in taken.state.workloads.values()} == templates
    assert {host: issued.order for host, issued in taken.state.orders.items()} == before


def test_an_agent_goes_on_from_the_page_it_wrote_then(tmp_path: Path, taken: Takeover) -> None:
    """Its order and what is on its way out are read back with every address; the first order of today is obeyed, and
    removes nothing.
    """
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "order.json").write_bytes((RECORDED / "ledger-LHR.json").read_bytes())
    then = json.loads((RECORDED / "ledger-LHR.json").read_bytes())
    ledger = Ledger(folder / "order.json", HostName("LHR"), bytes(32))
    ledger.restore()
    assert ledger.error == "" and ledger.page is not None
    assert ledger.generation == then["order"]["generation"]
    running = {i.uid: i for i in ledger.page.order.instances}
    assert [(u, str(i.private(4)), [str(a) for a in i.anycast]) for u, i in running.items()] == [
        (i["uid"], i["private4"], [a for a in (i["anycast4"], i["anycast6"]) if a]) for i in then["order"]["instances"]
    ]
    assert {dict(i.containers[0].secrets)["TOKEN"] for i in running.values() if i.containers[0].secrets} == {
        "hush-hush"
    }
    (leaving,) = ledger.page.leaving
    assert (leaving.removal.name, leaving.removal.reason) == ("blog-eu-lhr-2", Reason.SCALED_DOWN)
    assert leaving.removal.link == then["leaving"][0]["removal"]["index"]
    assert {i.hosts_domain for i in running.values()} == {"default.edgeengine.internal"}
    assert leaving.instance is not None and leaving.instance.uid == leaving.removal.uid
    newer = FakeAgent(taken, HostName("LHR")).fetch()
    assert newer is not None and newer.generation > ledger.generation
    assert ledger.accept(newer) is None
    assert {i.uid for i in ledger.page.order.instances} == set(running)
    assert [x.removal.uid for x in ledger.page.leaving] == [leaving.removal.uid]
    again = Ledger(folder / "order.json", HostName("LHR"), bytes(32))
    again.restore()
    assert again.page == ledger.page


def test_whose_workload_it_is_stays(taken: Takeover) -> None:
    """Accounts, stacks and credentials are those of then."""
    assert taken.stack.slug == "default"
    assert {d.stack_id for d in taken.state.workloads.values()} == {taken.stack.id}
    assert WorkloadId(taken.get("/workload/v1/stacks/default/workloads/fun")["workload"]["id"]) in taken.state.workloads
