"""How many instances targets have that follow their load."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision: str | None = "0017"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "scaled",
        sa.Column("workload_id", sa.String(36), nullable=False),
        sa.Column("target", sa.String(63), nullable=False),
        sa.Column("pop", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workload_id", "target", "pop", name="pk_scaled"),
    )


def downgrade() -> None:
    op.drop_table("scaled")
