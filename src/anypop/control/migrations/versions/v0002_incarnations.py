"""Incarnations, revisions, rollouts and hosts. Written out, not taken from `schema`: it must never change again.

What ran goes on: each slot becomes the one incarnation that lives in it, on the host that was its PoP, with a template
that is not known yet (its agent compares what runs with what is ordered). Reports are dropped, since each host sends a
new one within seconds.
"""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

from anypop.model import network
from anypop.model import upgrade as documents

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

_OLD_REASONS = {
    "workload-deleted": "the workload was deleted",
    "target-removed": "the target was taken away",
    "city-removed": "the city was taken out of the target",
}


def upgrade() -> None:
    op.execute("DELETE FROM reports")
    for table in ("orders", "reports", "agent_tokens"):
        _change_column(table, "pop", sa.String(length=16), sa.String(length=63), name="host")
    _revisions_up()
    _incarnations_up()
    _tombstones_up()
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_rollouts_workload_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_table(
        "evicted",
        sa.Column("host", sa.String(length=63), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("host", name="pk_evicted"),
    )
    _rewrite("orders", ("host", "generation"), "body", documents.order)
    _setting("network", network.with_hosts)
    _setting("history", documents.history)
    op.execute("UPDATE settings SET key = 'serial' WHERE key = 'incarnation'")
    # a place had one number for its external and its private addresses: both rest
    link = op.get_bind()
    for what, until in link.execute(sa.text("SELECT what, until FROM rests WHERE what LIKE '%/%'")).all():
        host, _, number = what.partition("/")
        link.execute(
            sa.text("INSERT INTO rests VALUES (:what, :until)"), {"what": f"{host}/link/{number}", "until": until}
        )


def downgrade() -> None:
    """Back to the first schema: of two incarnations of a slot the older stays, older revisions and rollouts are
    forgotten, and orders are made anew above the generation that each host has obeyed. Refused where a PoP has several
    hosts: there was no such thing.
    """
    link = op.get_bind()
    row = link.execute(sa.text("SELECT value FROM settings WHERE key = 'network'")).scalar()
    pops = json.loads(row)["pops"] if row else []
    if crowded := [pop["city"] for pop in pops if len(pop["hosts"]) != 1 or pop["hosts"][0]["name"] != pop["city"]]:
        raise RuntimeError(
            f"the first schema has one host for each PoP, called like its city; {', '.join(crowded)} has others"
        )
    op.execute("UPDATE settings SET key = 'incarnation' WHERE key = 'serial'")
    op.execute("DELETE FROM settings WHERE key IN ('template_key', 'history', 'quotas')")
    op.execute("DELETE FROM rests WHERE what LIKE '%/link/%'")
    _setting("network", _flat)
    op.execute("DELETE FROM reports")
    op.execute("DELETE FROM orders")
    op.drop_table("evicted")
    op.drop_table("rollouts")
    _tombstones_down()
    _incarnations_down()
    _revisions_down()
    for table in ("orders", "reports", "agent_tokens"):
        _change_column(table, "host", sa.String(length=63), sa.String(length=16), name="pop")


def _revisions_up() -> None:
    op.create_table(
        "revisions",
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_revisions_workload_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workload_id", "number", name="pk_revisions"),
    )
    link = op.get_bind()
    for row in link.execute(sa.text("SELECT * FROM workloads")).mappings().all():
        workload = json.loads(row["workload"]) | {"revision": row["version"]}
        link.execute(
            sa.text("INSERT INTO revisions VALUES (:id, :version, :document, :workload, :at, '')"),
            {
                "id": row["id"],
                "version": row["version"],
                "document": row["document"],
                "workload": json.dumps(workload),
                "at": row["updated_at"] or row["created_at"],
            },
        )
    op.execute("ALTER TABLE workloads ADD COLUMN good INTEGER NOT NULL DEFAULT 1")
    op.execute("ALTER TABLE workloads ADD COLUMN strategy TEXT NOT NULL DEFAULT '{}'")
    op.execute("UPDATE workloads SET good = version")
    op.execute("ALTER TABLE workloads DROP COLUMN document")
    op.execute("ALTER TABLE workloads DROP COLUMN workload")
    _rename_table("workload_secrets", "old_secrets", "pk_workload_secrets", "fk_workload_secrets_workload_id")
    op.create_table(
        "workload_secrets",
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workload_id"], ["workloads.id"], name="fk_workload_secrets_workload_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workload_id", "revision", "path", name="pk_workload_secrets"),
    )
    op.execute(
        "INSERT INTO workload_secrets SELECT s.workload_id, w.version, s.path, s.value FROM old_secrets s "
        "JOIN workloads w ON w.id = s.workload_id"
    )
    op.drop_table("old_secrets")


def _revisions_down() -> None:
    op.execute("ALTER TABLE workloads ADD COLUMN document TEXT NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE workloads ADD COLUMN workload TEXT NOT NULL DEFAULT ''")
    link = op.get_bind()
    query = "SELECT r.* FROM revisions r JOIN workloads w ON w.id = r.workload_id AND w.version = r.number"
    for row in link.execute(sa.text(query)).mappings().all():
        workload = {
            key: value for key, value in json.loads(row["workload"]).items() if key not in ("revision", "template")
        }
        link.execute(
            sa.text("UPDATE workloads SET document = :document, workload = :workload WHERE id = :id"),
            {"document": row["document"], "workload": json.dumps(workload), "id": row["workload_id"]},
        )
    op.execute("ALTER TABLE workloads DROP COLUMN good")
    op.execute("ALTER TABLE workloads DROP COLUMN strategy")
    _rename_table("workload_secrets", "old_secrets", "pk_workload_secrets", "fk_workload_secrets_workload_id")
    op.create_table(
        "workload_secrets",
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workload_id"], ["workloads.id"], name="fk_workload_secrets_workload_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workload_id", "path", name="pk_workload_secrets"),
    )
    op.execute(
        "INSERT INTO workload_secrets SELECT s.workload_id, s.path, s.value FROM old_secrets s "
        "JOIN workloads w ON w.id = s.workload_id AND w.version = s.revision"
    )
    op.drop_table("old_secrets")
    op.drop_table("revisions")


def _incarnations_up() -> None:
    op.create_table(
        "incarnations",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("target", sa.String(length=63), nullable=False),
        sa.Column("pop", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=63), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("link", sa.Integer(), nullable=False),
        sa.Column("life", sa.Integer(), nullable=False),
        sa.Column("template", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_incarnations_workload_id"),
        sa.PrimaryKeyConstraint("uid", name="pk_incarnations"),
        sa.UniqueConstraint("host", "link", name="uq_incarnations_host"),
    )
    op.execute(
        "INSERT INTO incarnations SELECT s.uid, s.workload_id, s.target, s.pop, s.pop, s.ordinal, s.name, s.place, "
        "s.place, 0, '', "
        "w.version, s.created_at FROM slots s JOIN workloads w ON w.id = s.workload_id"
    )
    op.drop_table("slots")


def _incarnations_down() -> None:
    op.create_table(
        "slots",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("target", sa.String(length=63), nullable=False),
        sa.Column("pop", sa.String(length=16), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_slots_workload_id"),
        sa.PrimaryKeyConstraint("uid", name="pk_slots"),
        sa.UniqueConstraint("pop", "place", name="uq_slots_pop"),
    )
    op.execute(
        "INSERT INTO slots SELECT uid, workload_id, target, pop, ordinal, name, place, created_at FROM incarnations i "
        "WHERE life = "
        "(SELECT MIN(life) FROM incarnations o WHERE o.workload_id = i.workload_id AND o.name = i.name)"
    )
    op.drop_table("incarnations")


def _tombstones_up() -> None:
    texts: dict[str, sa.types.TypeEngine[str]] = {
        "host": sa.String(length=63), "detail": sa.Text(), "template": sa.String(length=64)
    }  # fmt: skip
    for name, kind in texts.items():
        op.add_column("tombstones", sa.Column(name, kind, nullable=False, server_default=""))
    for name in ("link", "life", "revision"):
        op.add_column("tombstones", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE tombstones SET host = pop, detail = reason, link = place")
    link = op.get_bind()
    for uid, reason in link.execute(sa.text("SELECT uid, reason FROM tombstones")).all():
        values = {"reason": documents.removal_reason(reason), "uid": uid}
        link.execute(sa.text("UPDATE tombstones SET reason = :reason WHERE uid = :uid"), values)
    _change_column("tombstones", "reason", sa.Text(), sa.String(length=64))


def _tombstones_down() -> None:
    _change_column("tombstones", "reason", sa.String(length=64), sa.Text())
    link = op.get_bind()
    for uid, reason, detail in link.execute(sa.text("SELECT uid, reason, detail FROM tombstones")).all():
        values = {"reason": detail or _OLD_REASONS.get(reason, reason), "uid": uid}
        link.execute(sa.text("UPDATE tombstones SET reason = :reason WHERE uid = :uid"), values)
    for column in ("host", "detail", "template", "link", "life", "revision"):
        op.execute(f"ALTER TABLE tombstones DROP COLUMN {column}")


def _rewrite(
    table: str, keys: tuple[str, ...], column: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    link = op.get_bind()
    where = " AND ".join(f"{key} = :{key}" for key in keys)
    for row in link.execute(sa.text(f"SELECT {', '.join(keys)}, {column} FROM {table}")).mappings().all():
        body = json.dumps(change(json.loads(row[column])), separators=(",", ":"))
        link.execute(
            sa.text(f"UPDATE {table} SET {column} = :body WHERE {where}"), {"body": body} | {k: row[k] for k in keys}
        )


def _setting(key: str, change: Callable[[Any], Any]) -> None:
    link = op.get_bind()
    value = link.execute(sa.text("SELECT value FROM settings WHERE key = :key"), {"key": key}).scalar()
    if value is not None:
        body = json.dumps(change(json.loads(value)), separators=(",", ":"))
        link.execute(sa.text("UPDATE settings SET value = :body WHERE key = :key"), {"body": body, "key": key})


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    """The network as the first version wrote it: a PoP and its only host in one."""
    pops = []
    for pop in data["pops"]:
        own = {key: value for key, value in pop["hosts"][0].items() if key not in ("name", "capacity")}
        pops.append({"city": pop["city"], **own})
    return {**{key: data[key] for key in ("asn", "anycast4", "anycast6")}, "pops": pops}


def _rename_table(table: str, name: str, *constraints: str) -> None:
    """PostgreSQL's names of constraints are unique in a schema, so the old ones make room."""
    op.execute(f"ALTER TABLE {table} RENAME TO {name}")
    if op.get_bind().dialect.name == "postgresql":
        for constraint in constraints:
            op.execute(f"ALTER TABLE {name} RENAME CONSTRAINT {constraint} TO old_{constraint}")


def _change_column(
    table: str,
    column: str,
    before: sa.types.TypeEngine[str],
    after: sa.types.TypeEngine[str],
    *,
    name: str | None = None,
) -> None:
    """Another type, and another name where one is given. SQLite makes the table anew for it."""
    with op.batch_alter_table(table) as batch:
        batch.alter_column(column, existing_type=before, existing_nullable=False, type_=after, new_column_name=name)
