"""Volumes: which host has which."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "volumes",
        sa.Column("host", sa.String(63), nullable=False),
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("host", "id", name="pk_volumes"),
    )


def downgrade() -> None:
    op.drop_table("volumes")
