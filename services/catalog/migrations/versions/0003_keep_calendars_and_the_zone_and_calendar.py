"""Keep calendars, and the zone and calendar of price lists."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "calendars",
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("holidays", sa.Text(), nullable=False, comment="Date -> the name of the holiday."),
        sa.Column("working_weekends", sa.Text(), nullable=False, comment="Date -> the holiday it is worked for."),
        sa.PrimaryKeyConstraint("year", name=op.f("pk_calendars")),
    )
    with op.batch_alter_table("price_lists", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "zone",
                sa.String(),
                server_default="Asia/Shanghai",
                nullable=False,
                comment="Whose clocks and days the windows of the tariffs go by.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "calendar",
                sa.Text(),
                server_default="[]",
                nullable=False,
                comment="The years as they were published then; none where no tariff has windows.",
            )
        )
