"""The judge's memory in pieces, and orders as differences. Written out, not taken from `schema`: it must never change
again.

What was one document, written anew whenever a word of it changed, becomes one row for each prefix and for each
workload. An order may be stored as what differs from the one before it (`base`).
"""

import json
from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "memories",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_memories"),
    )
    op.add_column("orders", sa.Column("base", sa.BigInteger(), nullable=True))
    # without them each change of a workload looks through all rows of all workloads
    op.create_index("ix_incarnations_workload_id", "incarnations", ["workload_id"])
    op.create_index("ix_rollouts_workload_id", "rollouts", ["workload_id"])
    link = op.get_bind()
    value = link.execute(sa.text("SELECT value FROM settings WHERE key = 'history'")).scalar()
    for kind, key, body in _pieces(json.loads(value)) if value is not None else ():
        row = {"kind": kind, "key": key, "body": json.dumps(body, separators=(",", ":"))}
        link.execute(sa.text("INSERT INTO memories VALUES (:kind, :key, :body)"), row)
    op.execute("DELETE FROM settings WHERE key = 'history'")


def downgrade() -> None:
    """Orders that are stored as differences are forgotten: what they said is made anew, above what each host has
    obeyed.
    """
    link = op.get_bind()
    history: dict[str, list[Any]] = {"leaves": [], "good": [], "bad": [], "served": [], "nowhere": []}
    for kind, key, text in link.execute(sa.text("SELECT kind, key, body FROM memories ORDER BY kind, key")).all():
        body = json.loads(text)
        if kind == "prefix":
            history["leaves"] += body["leaves"]
            history["good"] += [[host, key] for host in body["good"]]
            history["bad"] += body["bad"]
        else:
            history["served"] += [[city, key] for city in body["served"]]
            history["nowhere"] += [[key, body["nowhere"]]] if body["nowhere"] is not None else []
    text = json.dumps(history, separators=(",", ":"))
    link.execute(sa.text("INSERT INTO settings VALUES ('history', :text)"), {"text": text})
    op.drop_index("ix_rollouts_workload_id", "rollouts")
    op.drop_index("ix_incarnations_workload_id", "incarnations")
    op.execute("DELETE FROM orders WHERE base IS NOT NULL")
    op.drop_column("orders", "base")
    op.drop_table("memories")


def _pieces(history: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    prefixes: dict[str, dict[str, Any]] = defaultdict(lambda: {"leaves": [], "good": [], "bad": []})
    workloads: dict[str, dict[str, Any]] = defaultdict(lambda: {"served": [], "nowhere": None})
    for leave in history.get("leaves", ()):
        prefixes[leave["prefix"]]["leaves"].append(leave)
    for host, prefix in history.get("good", ()):
        prefixes[prefix]["good"].append(host)
    for bad in history.get("bad", ()):
        prefixes[bad["prefix"]]["bad"].append(bad)
    for city, workload in history.get("served", ()):
        workloads[workload]["served"].append(city)
    for workload, since in history.get("nowhere", ()):
        workloads[workload]["nowhere"] = since
    return [("prefix", key, body) for key, body in prefixes.items()] + [
        ("workload", key, body) for key, body in workloads.items()
    ]
