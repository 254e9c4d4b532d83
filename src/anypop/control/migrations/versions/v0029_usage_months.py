"""Sums of what was used, of each month that is over, and how meters are found by when they began and ended."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision: str | None = "0028"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "usage_months",
        sa.Column("stack_id", sa.String(36), nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.Column("workload_id", sa.String(36), nullable=False),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("item", sa.String(16), nullable=False),
        sa.Column("cpu_millis", sa.BigInteger(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("storage_class", sa.String(255), nullable=False),
        sa.Column("there", sa.Integer(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "stack_id", "begun_at", "workload_id", "item", "cpu_millis", "memory_bytes", "storage_class",
            name="pk_usage_months",
        ),
    )  # fmt: skip
    op.create_index("ix_usage_begun_at", "usage", ["stack_id", "begun_at"])
    op.create_index("ix_usage_ended_at", "usage", ["stack_id", "ended_at"])
    op.drop_index("ix_usage_stack_id", "usage")


def downgrade() -> None:
    op.create_index("ix_usage_stack_id", "usage", ["stack_id"])
    op.drop_index("ix_usage_ended_at", "usage")
    op.drop_index("ix_usage_begun_at", "usage")
    op.drop_table("usage_months")
