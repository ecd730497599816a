"""Name on statements what was set aside."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    # not by batch_alter_table: on SQLite that makes the tables anew, without their triggers
    op.add_column(
        "periods",
        sa.Column(
            "set_aside", sa.Text(), server_default="{}", nullable=False, comment="As it closed: hours by reason."
        ),
    )
    op.add_column(
        "statements",
        sa.Column("set_aside", sa.Text(), server_default="{}", nullable=False, comment="Hours by reason."),
    )
    op.add_column("anomalies", sa.Column("reseller", sa.String(), nullable=True))
