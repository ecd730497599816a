"""Keep contests."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "contests",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False, comment="Of the run, when it was contested."),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("contested_at", sa.BigInteger(), nullable=False),
        sa.Column("contested_by", sa.String(), nullable=False),
        sa.Column("words", sa.Text(), nullable=True, comment="Of the decision."),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_contests_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contests")),
    )
    with op.batch_alter_table("contests", schema=None) as batch_op:
        batch_op.create_index("ix_contests_organization_id", ["organization", "id"], unique=False)
        batch_op.create_index("ix_contests_provider_id", ["provider", "id"], unique=False)
        batch_op.create_index(
            "ix_contests_run_open",
            ["run"],
            unique=True,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )

    op.add_column(
        "runs",
        sa.Column(
            "upheld",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="The organization bears it, however it ended: a contest was upheld.",
        ),
    )
