"""Networks that came in by each PoP under each announcement, as hosts sample them where the operator wants it."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision: str | None = "0027"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "catchments",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("prefix", sa.String(64), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_catchments"),
    )
    op.create_index("ix_catchments_prefix", "catchments", ["prefix"])
    op.create_table(
        "catchment_sources",
        sa.Column("catchment_id", sa.String(36), nullable=False),
        sa.Column("pop", sa.String(16), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("catchment_id", "pop", "source", name="pk_catchment_sources"),
        sa.ForeignKeyConstraint(
            ["catchment_id"], ["catchments.id"], name="fk_catchment_sources_catchment_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_catchment_sources_at", "catchment_sources", ["catchment_id", "at"])


def downgrade() -> None:
    op.drop_table("catchment_sources")
    op.drop_table("catchments")
