"""What each host sent to others through the backbone, by month, beside the counters up to which it was counted."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "traffic",
        sa.Column("host", sa.String(63), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("host", "month", name="pk_traffic"),
    )


def downgrade() -> None:
    op.drop_table("traffic")
