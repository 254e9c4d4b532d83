"""Virtual machines that somebody has powered off, or has started with another image to mend them."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision: str | None = "0023"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("incarnations", sa.Column("power", sa.String(8), nullable=False, server_default="on"))
    op.add_column("incarnations", sa.Column("rescue", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("incarnations", "rescue")
    op.drop_column("incarnations", "power")
