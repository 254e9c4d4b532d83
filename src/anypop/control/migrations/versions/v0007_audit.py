"""The audit log, which the database itself keeps from being changed; and who is behind an event.

A row of the log can be deleted only when it is older than the newest moment in `audit_cuts`, which can neither be
changed nor deleted. SQLite deletes what `INSERT OR REPLACE` replaces without asking the trigger for deletions: hence
the third one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SAYS = "the audit log is append-only"
_YOUNG = "OLD.at >= COALESCE((SELECT MAX(cut_at) FROM audit_cuts), 0)"

_SQLITE = (
    f"CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
    f"CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit WHEN {_YOUNG} BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
    "CREATE TRIGGER audit_is_added BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) "
    f"BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
    f"CREATE TRIGGER audit_cuts_stay BEFORE UPDATE ON audit_cuts BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
    f"CREATE TRIGGER audit_cuts_are_kept BEFORE DELETE ON audit_cuts BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
    "CREATE TRIGGER audit_cuts_are_added BEFORE INSERT ON audit_cuts "
    f"WHEN EXISTS (SELECT 1 FROM audit_cuts WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
)
_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    f"RAISE EXCEPTION '{_SAYS}'; END $$",
    f"CREATE OR REPLACE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {_YOUNG} THEN "
    f"RAISE EXCEPTION '{_SAYS}'; END IF; RETURN OLD; END $$",
    "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_keep()",
    "CREATE TRIGGER audit_is_whole BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_cuts_stay BEFORE UPDATE OR DELETE ON audit_cuts FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_cuts_are_whole BEFORE TRUNCATE ON audit_cuts FOR EACH STATEMENT "
    "EXECUTE FUNCTION audit_refuse()",
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("account_id", sa.String(36)),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("stack_id", sa.String(36)),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("was", sa.Text()),
        sa.Column("became", sa.Text()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_account_id", "audit", ["account_id", "id"])
    op.create_index("ix_audit_stack_id", "audit", ["stack_id", "id"])
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "audit_cuts",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("cut_at", sa.Float(53), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.execute("ALTER TABLE events ADD COLUMN actor TEXT NOT NULL DEFAULT ''")
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE events DROP COLUMN actor")
    op.drop_table("audit")
    op.drop_table("audit_cuts")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_refuse()")
        op.execute("DROP FUNCTION audit_keep()")
