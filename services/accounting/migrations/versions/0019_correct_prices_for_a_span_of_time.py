"""Correct prices for a span of time."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "price_corrections",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("price_list", sa.String(), nullable=False),
        sa.Column("replaces", sa.Text(), nullable=False, comment='Ids of price lists, or "all".'),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.String(), nullable=False),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["price_list"], ["price_lists.id"], name=op.f("fk_price_corrections_price_list")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_corrections")),
        sa.UniqueConstraint("number", name=op.f("uq_price_corrections_number")),
    )
    with op.batch_alter_table("price_corrections", schema=None) as batch_op:
        batch_op.create_index("ix_price_corrections_offering_number", ["offering", "number"], unique=False)
        batch_op.create_index("ix_price_corrections_provider_id", ["provider", "id"], unique=False)

    op.create_table(
        "price_correction_shares",
        sa.Column("correction", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("job_count", sa.BigInteger(), nullable=False),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("amount_before", sa.BigInteger(), nullable=False),
        sa.Column("amount_after", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["correction"], ["price_corrections.id"], name=op.f("fk_price_correction_shares_correction")
        ),
        sa.PrimaryKeyConstraint("correction", "organization", name=op.f("pk_price_correction_shares")),
    )
    with op.batch_alter_table("price_correction_shares", schema=None) as batch_op:
        batch_op.create_index(
            "ix_price_correction_shares_organization_correction", ["organization", "correction"], unique=False
        )

    op.create_table(
        "price_correction_work",
        sa.Column("correction", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("after_job", sa.String(), nullable=False),
        sa.Column("previewed_jobs", sa.BigInteger(), nullable=False),
        sa.Column("applied_jobs", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["correction"], ["price_corrections.id"], name=op.f("fk_price_correction_work_correction")
        ),
        sa.PrimaryKeyConstraint("correction", name=op.f("pk_price_correction_work")),
    )
    with op.batch_alter_table("price_correction_work", schema=None) as batch_op:
        batch_op.create_index("ix_price_correction_work_state_correction", ["state", "correction"], unique=False)

    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index("ix_attempts_offering_job", ["offering", "job"], unique=False)

    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("corrected", sa.BigInteger(), nullable=True))
