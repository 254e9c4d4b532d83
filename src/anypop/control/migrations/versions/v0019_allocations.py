"""Addresses that last: allocations, their claims, and what was told of changes to them."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision: str | None = "0018"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "allocations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("stack_id", sa.String(36), nullable=False),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("host", sa.String(63), nullable=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("ip_version", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_allocations"),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name="fk_allocations_stack_id"),
        sa.UniqueConstraint("stack_id", "slug", name="uq_allocations_stack_id"),
        sa.UniqueConstraint("host", "kind", "number", "ip_version", name="uq_allocations_host"),
    )
    op.create_table(
        "allocation_claims",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("stack_id", sa.String(36), nullable=False),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("allocation_id", sa.String(36), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_allocation_claims"),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name="fk_allocation_claims_stack_id"),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocations.id"], name="fk_allocation_claims_allocation_id"),
        sa.UniqueConstraint("stack_id", "slug", name="uq_allocation_claims_stack_id"),
        sa.UniqueConstraint("allocation_id", name="uq_allocation_claims_allocation_id"),
    )
    op.create_table(
        "operations",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("stack_id", sa.String(36), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_operations"),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name="fk_operations_stack_id"),
    )


def downgrade() -> None:
    op.drop_table("operations")
    op.drop_table("allocation_claims")
    op.drop_table("allocations")
