"""Hold what a reseller buys of a job."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"

_OF_HOLD = (["job", "organization"], ["job", "organization"])


def upgrade() -> None:
    for table in ("hold_budgets", "hold_movements"):
        op.add_column(table, sa.Column("organization", sa.String(), server_default=sa.text("''"), nullable=False))
        op.execute(f"UPDATE {table} SET organization = (SELECT organization FROM holds WHERE holds.job = {table}.job)")
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.alter_column("organization", existing_type=sa.String(), server_default=None)
            batch_op.drop_constraint(f"fk_{table}_job", type_="foreignkey")
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("resale", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.drop_constraint("pk_holds", type_="primary")
        batch_op.create_primary_key("pk_holds", ["job", "organization"])
    with op.batch_alter_table("hold_movements", schema=None) as batch_op:
        batch_op.drop_constraint("pk_hold_movements", type_="primary")
        batch_op.create_primary_key("pk_hold_movements", ["job", "organization", "number"])
    for table in ("hold_budgets", "hold_movements"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.create_foreign_key(f"fk_{table}_job", "holds", *_OF_HOLD)
