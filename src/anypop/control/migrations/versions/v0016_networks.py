"""Networks of stacks."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision: str | None = "0015"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "networks",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("stack_id", sa.String(36), nullable=False),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_networks"),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name="fk_networks_stack_id"),
        sa.UniqueConstraint("stack_id", "slug", name="uq_networks_stack_id"),
    )


def downgrade() -> None:
    op.drop_table("networks")
