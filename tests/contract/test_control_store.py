"""The store: what is saved is what is loaded, on SQLite and on PostgreSQL."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, text

from anypop.control import schema
from anypop.control.accounts import Accounts, Stack
from anypop.control.decide import decide, without_gone
from anypop.control.declare import create, delete, parsed, redeclared, replace_with, set_rules
from anypop.control.history import events_between
from anypop.control.saving import ORDERS_KEPT
from anypop.control.state import State
from anypop.control.store import EVENTS_KEPT, SCHEMA_HEAD, Store, open_store
from anypop.judge.verdict import Received
from anypop.model.announce import Mode, Scope, ScopeRule
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.report import Report
from tests import databases
from tests.control_world import a_body, a_network

LHR = HostName("LHR")
NOW = 1_700_000_000.0
SERVERS = ["sqlite", "postgresql"]


@pytest.fixture(params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path, None if request.param == "sqlite" else databases.address_of(tmp_path))
    yield opened
    opened.close()
    if request.param != "sqlite":
        databases.is_closed(tmp_path)


@pytest.fixture
def stack(store: Store) -> Stack:
    accounts = Accounts(store, lambda: NOW)
    return accounts.create_stack(accounts.first_account().id, "default", "default")


def _full(stack: Stack) -> list[State]:
    """States one after the other, each with something more in it: two workloads, a rule, reports, a deletion, its
    end.
    """
    empty = State(network=a_network())
    cities = [pop.city for pop in empty.network.pops]
    states = [decide(empty, empty, now=NOW)]
    ids: list[WorkloadId] = []
    for slug in ("one", "two"):
        body = a_body(slug, env={"TOKEN": {"secretValue": "hush"}, "A": {"value": "1"}})["workload"]
        made = parsed(body, stack, WorkloadId(f"00000000-0000-4000-8000-00000000000{len(ids)}"), cities)
        ids.append(made.workload.id)
        states.append(decide(states[-1], create(made)(states[-1], NOW), now=NOW))
    rule = ScopeRule(
        workload_id=ids[0],
        pop=CityCode("LHR"),
        upstream="as1299",
        scope=Scope(mode=Mode.ANNOUNCE, prepend=2, communities=((209, 7100),), large_communities=((1, 2, 3),)),
        note="why not",
    )
    states.append(decide(states[-1], set_rules(ids[0], [rule])(states[-1], NOW), now=NOW))
    report = Received(report=Report(pop=CityCode("LHR"), host=LHR, at=NOW, generation=3), at=NOW)
    states.append(decide(states[-1], replace(states[-1], reports={LHR: report}), now=NOW))
    states.append(decide(states[-1], delete(ids[0])(states[-1], NOW + 1), now=NOW + 1))
    draft = states[-1]
    for uid, stone in states[-1].tombstones.items():
        draft = without_gone(draft, stone.incarnation.host, frozenset({uid}), NOW + 2)
    states.append(decide(states[-1], draft, now=NOW + 2))
    return states


def test_the_schema_is_what_the_migrations_make(store: Store) -> None:
    """No table, column or constraint differs, and the newest migration is the one that the store looks for."""
    with store.reading() as link:
        assert compare_metadata(MigrationContext.configure(link), schema.metadata) == []
    heads = ScriptDirectory(str(Path(schema.__file__).parent / "migrations")).get_heads()
    assert list(heads) == [SCHEMA_HEAD]


def test_every_state_is_read_back_as_it_was_saved(store: Store, stack: Stack) -> None:
    """After each step of a long story the store holds exactly the state, secrets, tombstones, rests and the judge's
    memory included.
    """
    before = State()
    for after in _full(stack):
        store.save(before, after, events_between(before, after), at=NOW)
        loaded = store.load()
        after_it = replace(after, plan=None, verdict=loaded.verdict)
        assert loaded == replace(after_it, named=loaded.named, named_counts=loaded.named_counts)
        before = after


def test_a_state_read_back_gives_no_new_orders(store: Store, stack: Stack) -> None:
    """A restart alone changes no order: the same plan follows from the stored state, to the order of its parts."""
    before = State()
    for after in _full(stack):
        store.save(before, after, [], at=NOW)
        loaded = store.load()
        again = decide(loaded, loaded, now=NOW + 2)
        assert again.orders is loaded.orders
        assert again.incarnations is loaded.incarnations
        before = after


def test_orders_are_read_back_from_what_differs(store: Store, stack: Stack) -> None:
    """Every newer order of a host is stored as its difference from the one before, now and then as a whole; what is
    read back is the order itself, at every step.
    """
    state = _full(stack)[2]
    store.save(State(), state, [], at=NOW)
    for number in range(2 * ORDERS_KEPT + 3):
        host = HostName("LHR")
        body = a_body("two", replicas=1 + number % 2, env={"A": {"value": str(number)}})["workload"]
        current = next(d for d in state.workloads.values() if d.workload.slug == "two")
        made = redeclared(body, current, stack, [pop.city for pop in state.network.pops])
        draft = replace_with(current, made)(state, NOW + number)
        after = decide(state, draft, now=NOW + number, confirmed=frozenset(state.workloads))
        store.save(state, after, [], at=NOW + number)
        state = after
        assert store.load().orders[host].order == state.orders[host].order
    kinds = [row["base"] is None for row in store.order_history(HostName("LHR"))]
    assert len(kinds) == ORDERS_KEPT
    assert 1 <= sum(kinds) <= 2


def test_only_what_is_told_anew_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """A step of reports alone is written without a flush; every step before and after it is flushed: by what the
    database says itself when the transaction begins.
    """
    store = open_store(tmp_path)
    found: list[str] = []
    try:

        @event.listens_for(Engine, "before_cursor_execute")
        def note(link: Connection, _cursor: object, statement: str, *_more: object) -> None:
            if statement == "BEGIN IMMEDIATE":
                connection = link.connection.dbapi_connection
                assert isinstance(connection, sqlite3.Connection)
                (mode,) = connection.execute("PRAGMA synchronous").fetchone()
                found.append({1: "NORMAL", 2: "FULL"}[mode])

        accounts = Accounts(store, lambda: NOW)
        stack = accounts.create_stack(accounts.first_account().id, "default", "default")
        found.clear()
        before = State()
        for after in _full(stack):
            store.save(before, after, events_between(before, after), at=NOW)
            before = after
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        store.close()
    assert found == ["FULL", "FULL", "FULL", "FULL", "NORMAL", "FULL", "FULL"]


def test_no_row_of_any_table_holds_a_secret(store: Store, stack: Stack) -> None:
    """Where secrets are, in their own table and in orders, they are sealed."""
    before = State()
    for after in _full(stack)[:3]:
        store.save(before, after, events_between(before, after), at=NOW)
        before = after
    for table in schema.metadata.sorted_tables:
        with store.reading() as link:
            rows = [tuple(row) for row in link.execute(table.select())]
        assert "hush" not in str(rows), table.name
        assert ("sealed:1:" in str(rows)) == (table.name in ("workload_secrets", "orders", "secret_keys")), table.name


def test_a_save_that_fails_changes_nothing(store: Store, stack: Stack) -> None:
    """When the last statement of a step fails, its first is undone too, and the error is in words."""
    first, second = _full(stack)[:2]
    store.save(State(), first, [], at=NOW)
    broken = replace(second, rests={"LHR/1": None})  # type: ignore[dict-item]
    with pytest.raises(WorldError, match="write to the store"):
        store.save(first, broken, [], at=NOW)
    assert store.load().workloads == {}


def test_the_history_of_orders_and_events_is_bounded(store: Store, stack: Stack) -> None:
    """A host keeps its newest orders, and the log its newest events, however much happens."""
    state = _full(stack)[0]
    store.save(State(), state, [], at=NOW)
    for _ in range(ORDERS_KEPT + 5):
        issued = state.orders[LHR]
        newer = replace(issued, order=replace(issued.order, generation=issued.order.generation + 1))
        after = replace(state, orders={**state.orders, LHR: newer})
        store.save(state, after, events_between(state, after) * 300, at=NOW)
        state = after
    generations = [row["generation"] for row in store.order_history(LHR)]
    assert generations == list(range(state.orders[LHR].order.generation, 0, -1))[:ORDERS_KEPT]
    with store.reading() as link:
        assert link.execute(text("SELECT count(*) FROM events")).scalar_one() == EVENTS_KEPT


def test_the_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The SQLite file and its side files are not readable by others."""
    opened = open_store(tmp_path)
    opened.put_setting("a", "b")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    opened.close()
    assert set(modes) >= {"anypop.db"}
    assert set(modes.values()) == {0o600}


def test_a_database_that_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    """A file that is no database is reported with its name."""
    (tmp_path / "anypop.db").write_text("this is no database, this is text " * 100)
    with pytest.raises(WorldError, match=r"anypop\.db"):
        open_store(tmp_path)


def test_an_empty_database_where_there_was_one_is_refused(tmp_path: Path) -> None:
    """Emptied or gone: told with what helps, and nothing is begun in its place. Without the mark a new one is begun."""
    open_store(tmp_path).close()
    for path in tmp_path.glob("anypop.db*"):
        path.unlink()
    for _ in range(2):
        with pytest.raises(WorldError, match=r"it is empty.*anypop restore.*database\.used"):
            open_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "anypop.db")) as link:
        assert link.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    (tmp_path / "database.used").unlink()
    open_store(tmp_path).close()
    open_store(tmp_path).close()
