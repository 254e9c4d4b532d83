"""The first schema: accounts, workloads and what follows from them. Written out, not taken from `schema`: it must
never change again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("operator", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
    )
    op.create_table(
        "agent_tokens",
        sa.Column("pop", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("pop", name="pk_agent_tokens"),
        sa.UniqueConstraint("hash", name="uq_agent_tokens_hash"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("stack_id", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_at", "events", ["at"], unique=False)
    op.create_table(
        "orders",
        sa.Column("pop", sa.String(length=16), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("pop", "generation", name="pk_orders"),
    )
    op.create_table(
        "reports",
        sa.Column("pop", sa.String(length=16), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pop", name="pk_reports"),
    )
    op.create_table(
        "rests",
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("what", name="pk_rests"),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_settings"),
    )
    op.create_table(
        "tombstones",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("pop", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("target", sa.String(length=63), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_tombstones"),
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("client_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_credentials_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
        sa.UniqueConstraint("client_id", name="uq_credentials_client_id"),
    )
    op.create_table(
        "stacks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_stacks_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_stacks"),
        sa.UniqueConstraint("slug", name="uq_stacks_slug"),
    )
    op.create_table(
        "tokens",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("credential_id", sa.String(length=36), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_tokens_account_id"),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["credentials.id"], name="fk_tokens_credential_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("hash", name="pk_tokens"),
    )
    op.create_table(
        "workloads",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("stack_id", sa.String(length=36), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=True),
        sa.Column("delete_requested_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name="fk_workloads_stack_id"),
        sa.PrimaryKeyConstraint("id", name="pk_workloads"),
        sa.UniqueConstraint("stack_id", "slug", name="uq_workloads_stack_id"),
    )
    op.create_table(
        "anycast",
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("address4", sa.String(length=15), nullable=False),
        sa.Column("prefix4", sa.String(length=18), nullable=False),
        sa.Column("address6", sa.String(length=39), nullable=False),
        sa.Column("prefix6", sa.String(length=43), nullable=False),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_anycast_workload_id"),
        sa.PrimaryKeyConstraint("workload_id", name="pk_anycast"),
        sa.UniqueConstraint("address4", name="uq_anycast_address4"),
        sa.UniqueConstraint("address6", name="uq_anycast_address6"),
    )
    op.create_table(
        "rules",
        sa.Column("workload_id", sa.String(length=36), nullable=False),
        sa.Column("pop", sa.String(length=16), nullable=False),
        sa.Column("upstream", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_rules_workload_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workload_id", "pop", "upstream", name="pk_rules"),
    )
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


def downgrade() -> None:
    raise NotImplementedError("there is nothing before the first schema")
