"""What vantages saw of a workload's anycast address when somebody asked, kept so that two tests can be compared."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision: str | None = "0021"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "kept_tests",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("workload_id", sa.String(36), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_kept_tests"),
        sa.ForeignKeyConstraint(
            ["workload_id"], ["workloads.id"], name="fk_kept_tests_workload_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_kept_tests_workload_id", "kept_tests", ["workload_id"])


def downgrade() -> None:
    op.drop_table("kept_tests")
