"""The key of each workload's secrets.

Up: what is stored in the clear is sealed by `control.seals` once the key is at hand. Down: everything is opened again,
with the key from the state folder (`folder` among the attributes of the configuration, else where the SQLite file is)
or from the environment.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import context, op

from anypop.control.seals import open_all
from anypop.control.vault import open_vault

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "secret_keys",
        sa.Column("workload_id", sa.String(36), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workload_id", name="pk_secret_keys"),
    )


def downgrade() -> None:
    link = op.get_bind()
    folder = context.config.attributes.get("folder") or Path(link.engine.url.database or ".").parent
    open_all(link, open_vault(folder))
    op.drop_table("secret_keys")
