"""Network policies."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "network_policies",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("stack_id", sa.String(36), nullable=False),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Float()),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_network_policies"),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name="fk_network_policies_stack_id"),
        sa.UniqueConstraint("stack_id", "slug", name="uq_network_policies_stack_id"),
    )


def downgrade() -> None:
    op.drop_table("network_policies")
