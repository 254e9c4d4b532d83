"""The private links of further interfaces of instances."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision: str | None = "0019"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    for table in ("incarnations", "tombstones"):
        op.add_column(table, sa.Column("further", sa.String(255), nullable=False, server_default=""))


def downgrade() -> None:
    for table in ("tombstones", "incarnations"):
        op.drop_column(table, "further")
