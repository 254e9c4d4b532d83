"""How hosts prove who they are: tokens that let one join, once, and since when earlier certificates count no more."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "join_tokens",
        sa.Column("host", sa.String(63), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("host", name="pk_join_tokens"),
        sa.UniqueConstraint("hash", name="uq_join_tokens_hash"),
    )
    op.create_table(
        "host_keys",
        sa.Column("host", sa.String(63), nullable=False),
        sa.Column("joined_at", sa.Float()),
        sa.Column("revoked_at", sa.Float()),
        sa.PrimaryKeyConstraint("host", name="pk_host_keys"),
    )


def downgrade() -> None:
    op.drop_table("host_keys")
    op.drop_table("join_tokens")
