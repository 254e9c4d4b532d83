"""Dials: how much of its new connections a PoP keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "dials",
        sa.Column("pop", sa.String(16), nullable=False),
        sa.Column("workload_id", sa.String(36), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pop", "workload_id", name="pk_dials"),
    )


def downgrade() -> None:
    op.drop_table("dials")
