"""The audit log: a row for every change, in the transaction of the change, for its owner's eyes, and for good."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from anypop.control import acts
from anypop.control.accounts import Credential
from anypop.control.acts import Act
from anypop.control.audit import blanked
from anypop.control.store import Store, open_store
from anypop.model.errors import WorldError
from tests import postgres_server
from tests.control_world import FakeAgent, World, a_body

BASE = "/workload/v1/stacks/default/workloads"
STACKS = "/stack/v1/stacks"
USERS = "/identity/v1/users/me/credentials"
TOKEN = "/identity/v1/oauth2/token"
AUDIT = "/anypop/v1/audit"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as found:
        yield found


def signed_in(world: World, credential: Credential) -> dict[str, str]:
    who = {"client_id": credential.client_id, "client_secret": credential.secret}
    response = world.call("POST", TOKEN, json=who)
    assert response.status_code == 200, response.text
    return {"authorization": f"Bearer {response.json()['access_token']}"}


def entries(world: World, **filters: str | int) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in {"limit": 1000, **filters}.items())
    found: list[dict[str, Any]] = world.get(f"{AUDIT}?{query}")["results"]
    return found


def test_every_change_has_its_entry(world: World) -> None:
    """Who, what, from where, by which request, before and after; what only reads has none, and neither have reports and
    what becomes due.
    """
    changes = [
        ("create_workload", "fun", "POST", BASE, a_body(env={"A": {"value": "1"}})),
        ("merge_workload", "fun", "PATCH", f"{BASE}/fun", {"workload": {"metadata": {"labels": {"a": "b"}}}}),
        ("replace_rules", "fun LHR as1299", "PUT", "/anypop/v1/stacks/default/workloads/fun/announcements",
         {"rules": [{"pop": "LHR", "upstream": "as1299", "scope": {"prepend": 2}}]}),
        ("delete_workload", "fun", "DELETE", f"{BASE}/fun", None),
        ("create_stack", "shop", "POST", STACKS, {"name": "Shop", "slug": "shop"}),
        ("rename_stack", "shop", "PATCH", f"{STACKS}/shop", {"name": "Store"}),
        ("create_credential", None, "POST", USERS, {"name": "phone"}),
        ("replace_stack_quota", "quotas", "PUT", "/anypop/v1/stacks/shop/quota", {"quota": {"instances": 3}}),
    ]  # fmt: skip
    account = world.platform.accounts.first_account()
    seen = len(entries(world))
    for operation, subject, method, path, body in changes:
        response = world.call(method, path, json=body)
        assert response.status_code < 300, (operation, response.text)
        (entry,) = entries(world, request_id=response.headers["x-request-id"])
        assert entry["operation"] in (operation, operation.replace("_rules", "_announcements")), entry
        assert subject in (None, entry["subject"])
        assert entry["actor"] == f"operator {world.credential.client_id}" and entry["account_id"] == account.id
        assert entry["address"] == "127.0.0.1" and entry["outcome"] == "done"
        seen += 1
    assert len(entries(world)) == seen
    FakeAgent(world, world.platform.hosts()[0]).obey()
    for path in (BASE, STACKS, "/anypop/v1/events", AUDIT):
        world.get(path)
    assert world.call("POST", BASE, json={"workload": {}}).status_code == 400
    assert len(entries(world)) == seen, "no entry without a change"
    made, changed, ruled, gone, *_ = entries(world, limit=1000)[-len(changes) :]
    assert made["before"] is None and made["after"]["version"] == 1
    assert "labels" not in changed["before"]["document"].get("metadata", {})
    assert changed["after"]["document"]["metadata"]["labels"] == {"a": "b"}
    assert ruled["before"] is None and '"prepend":2' in ruled["after"]["scope"]
    assert gone["after"] is None or gone["after"]["delete_requested_at"]
    renamed = entries(world, operation="rename_stack")[0]
    assert (renamed["before"]["name"], renamed["after"]["name"]) == ("Shop", "Store")


def test_nothing_is_done_without_its_entry(world: World) -> None:
    """Where the entry cannot be written the change is not made, and the caller is told."""
    world.create()
    _sql(world, "ALTER TABLE audit RENAME TO hidden")
    assert world.call("DELETE", f"{BASE}/fun").status_code == 503
    assert world.call("POST", STACKS, json={"name": "x", "slug": "x"}).status_code == 503
    _sql(world, "ALTER TABLE hidden RENAME TO audit")
    world.restart()
    assert [s["slug"] for s in world.get(STACKS)["results"]] == ["default"]
    assert "deleteRequestedAt" not in world.get(f"{BASE}/fun")["workload"]["metadata"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE id = 1",
        "INSERT OR REPLACE INTO audit SELECT id, at, account_id, 'nobody', operation, subject, stack_id, address, "
        "request_id, outcome, was, became FROM audit",
        "DELETE FROM audit_cuts",
        "UPDATE audit_cuts SET cut_at = 9e9",
    ],
)
def test_the_database_itself_refuses_to_change_it(world: World, statement: str) -> None:
    """Whoever speaks SQL to it; only what an operator has let go can go."""
    world.create()
    world.send("POST", f"{AUDIT}/prune", {"before": "2001-01-01T00:00:00Z"})
    before = entries(world)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        _sql(world, statement)
    assert entries(world) == before and len(before) >= 2


def test_postgresql_refuses_it_as_well(tmp_path: Path) -> None:
    """Rows, the whole table, and the moments up to which rows may go."""
    statements = ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "TRUNCATE audit", "DELETE FROM audit_cuts",
                  "UPDATE audit_cuts SET cut_at = 9e9", "TRUNCATE audit_cuts")  # fmt: skip
    with postgres_server.running() as url:
        store = open_store(tmp_path, url)
        with acts.acting(Act(operation="old", at=5.0)), store.writing():
            pass
        with acts.acting(Act(operation="new", at=50.0)), store.writing():
            pass
        assert store.prune_audit(10.0, by="operator", at=60.0) == 1
        for statement in statements:
            with pytest.raises(WorldError, match="append-only"), store.writing() as link:
                link.execute(text(statement))
        assert [entry["operation"] for entry in store.audit_log()] == ["new"]
        store.close()


def test_old_entries_are_let_go_by_the_operator_alone_and_that_stays(world: World) -> None:
    """Never what lies ahead, nor by a tenant; ids are not used again."""
    account = world.platform.accounts.create_account("tenant")
    made = world.platform.accounts.create_credential(account.id, "laptop")
    tenant = world.login(made.client_id, made.secret)
    world.create()
    last = entries(world)[-1]["id"]
    body = {"before": "2023-11-14T22:13:20.5Z"}  # half a second after all of this, by the clock of this control
    assert world.call("POST", f"{AUDIT}/prune", json=body, headers=tenant).status_code == 403
    assert world.call("POST", f"{AUDIT}/prune", json={"before": "2099-01-01T00:00:00Z"}).status_code == 400
    world.clock.now += 60
    assert world.send("POST", f"{AUDIT}/prune", body)["removed"] >= 1
    left = entries(world)
    assert left[-1]["operation"] == "prune_audit" and left[-1]["id"] > last
    assert all(e["at"] > world.clock.now - 60 for e in left)


def test_a_tenant_sees_its_own_and_what_was_done_to_it(world: World) -> None:
    """And not from where the operator works, nor anything of others."""
    accounts = world.platform.accounts
    ours, theirs = accounts.create_account("ours"), accounts.create_account("theirs")
    stack = accounts.create_stack(ours.id, "Ours", "ours")
    mine, other = (accounts.create_credential(a.id, "laptop") for a in (ours, theirs))
    mine_headers, other_headers = (signed_in(world, c) for c in (mine, other))
    path = "/workload/v1/stacks/ours/workloads"
    assert world.call("POST", path, json=a_body("web"), headers=mine_headers).status_code == 200
    assert world.call("POST", STACKS, json={"name": "T", "slug": "t"}, headers=other_headers).status_code == 200
    shown = world.call("GET", AUDIT, headers=mine_headers).json()["results"]
    assert {e["operation"] for e in shown} == {"issue_token", "create_workload"}
    assert all(e["account_id"] == ours.id for e in shown if e["operation"] == "create_workload")
    assert not [e for e in shown if e["stack_id"] not in (None, stack.id)]
    forced = world.call("GET", f"{AUDIT}?account_id={theirs.id}", headers=mine_headers).json()["results"]
    assert forced == [], "a filter narrows, it never widens"


def test_a_tenant_fills_no_disk_with_it(world: World) -> None:
    """Of what is very long its beginning is kept, its length and its digest; of the operator's own all of it."""
    account = world.platform.accounts.create_account("tenant")
    world.platform.accounts.create_stack(account.id, "Ours", "ours")
    made = world.platform.accounts.create_credential(account.id, "laptop")
    tenant = world.login(made.client_id, made.secret)
    body = a_body("web", env={"A": {"value": "x" * 100_000}})
    assert world.call("POST", "/workload/v1/stacks/ours/workloads", json=body, headers=tenant).status_code == 200
    world.send("POST", BASE, body)
    theirs, own = entries(world, subject="web")
    assert theirs["after"]["longer_than_is_kept"] > 100_000 and len(theirs["after"]["sha256"]) == 64
    assert len(str(theirs)) < 4000
    assert own["after"]["document"]["spec"]["containers"]["web"]["env"]["A"]["value"] == "x" * 100_000


def test_refused_sign_ins_are_in_it(world: World) -> None:
    """A wrong secret for its owner to see, an unknown client for the operator; the secret that was tried is nowhere."""
    account = world.platform.accounts.create_account("tenant")
    made = world.platform.accounts.create_credential(account.id, "laptop")
    tried = "f" * 64
    assert world.call("POST", TOKEN, json={"client_id": made.client_id, "client_secret": tried}).status_code == 401
    assert world.call("POST", TOKEN, json={"client_id": "0" * 32, "client_secret": tried}).status_code == 404
    found = entries(world, outcome="refused")
    assert [(e["subject"], e["account_id"]) for e in found] == [(made.client_id, account.id), ("0" * 32, None)]
    assert found[0]["address"] == "127.0.0.1" and "secret" in found[0]["after"]["why"]
    headers = world.login(made.client_id, made.secret)
    own = world.call("GET", f"{AUDIT}?outcome=refused", headers=headers).json()["results"]
    assert [e["subject"] for e in own] == [made.client_id]
    assert tried not in _dump(world)


def test_no_secret_is_in_it(world: World) -> None:
    """Of workloads, registries, credentials and tokens."""
    body = a_body(env={"TOKEN": {"secretValue": "hush-hush"}})
    registry = {"server": "registry.example", "username": "u", "password": "hush-too"}
    body["workload"]["spec"]["imagePullCredentials"] = [{"dockerRegistry": registry}]
    world.send("POST", BASE, body)
    made = world.send("POST", USERS, {"name": "phone"})
    turned = world.send("POST", f"{USERS}/{made['clientId']}/rotate", None)
    dump = _dump(world)
    token = world.headers["authorization"].removeprefix("Bearer ")
    for secret in ("hush-hush", "hush-too", made["clientSecret"], turned["clientSecret"], token):
        assert secret not in dump
    assert blanked({"a": [{"bgp_password": "x", "name": "y"}]}) == {"a": [{"bgp_password": "(hidden)", "name": "y"}]}


def test_events_name_who_is_behind_them(world: World) -> None:
    """The operator as such, a tenant by its credential, nobody where nobody asked."""
    world.create()
    FakeAgent(world, world.platform.hosts()[0]).obey()
    found = world.get("/anypop/v1/events?limit=1000")["results"]
    by = {e["kind"]: e["actor"] for e in found}
    assert by["workload-created"] == "operator" and by["instance"] == ""


def _sql(world: World, statement: str) -> None:
    with sqlite3.connect(world.folder / "anypop.db", timeout=10) as link:
        link.execute(statement)
    link.close()


def _dump(world: World) -> str:
    store: Store = world.platform.core.store
    with store.reading() as link:
        return "\n".join(str(tuple(row)) for row in link.execute(text("SELECT * FROM audit")))
