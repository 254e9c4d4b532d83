"""Roles that a rule of the provider's gave, and takes away; and accounts that the operator has suspended: since when.

Roles that are there count as given by hand, and no account is suspended.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision: str | None = "0020"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("memberships", sa.Column("by_rule", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("accounts", sa.Column("suspended_at", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("accounts", "suspended_at")
    op.drop_column("memberships", "by_rule")
