"""Images of virtual machines: whose they are, by family and tag, and how far each has come. Their bytes are files."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision: str | None = "0022"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "machine_images",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("stack_id", sa.String(36), nullable=False),
        sa.Column("family", sa.String(63), nullable=False),
        sa.Column("tag", sa.String(63), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_machine_images"),
        sa.UniqueConstraint("stack_id", "family", "tag", name="uq_machine_images_stack_id"),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name="fk_machine_images_stack_id", ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("machine_images")
