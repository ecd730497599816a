"""Keep tax rules, and the tax of lines.

What was supplied in periods that are closed already stays taxed at the rates that their statements have.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "tax_rules",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("seller", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("treatment", sa.String(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=True, comment="In hundredths of a percent."),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("posted_at", sa.BigInteger(), nullable=False),
        sa.Column("posted_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_rules")),
    )
    op.create_index("ix_tax_rules_seller_category_starts_at", "tax_rules", ["seller", "category", "starts_at"])
    supplies = op.create_table(
        "supply_taxes",
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("seller", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("treatment", sa.String(), nullable=False),
        sa.Column(
            "rate", sa.BigInteger(), nullable=False, comment="In hundredths of a percent; 0 where it isn't taxed."
        ),
        sa.ForeignKeyConstraint(["period"], ["periods.id"], name=op.f("fk_supply_taxes_period")),
        sa.PrimaryKeyConstraint("period", "seller", "category", name=op.f("pk_supply_taxes")),
    )
    # no batch_alter_table: it would make these tables anew, without their guards
    op.add_column("lines", sa.Column("tax", sa.BigInteger()))
    op.add_column("lines", sa.Column("tax_treatment", sa.String()))
    op.add_column("lines", sa.Column("tax_rate", sa.BigInteger(), comment="In hundredths of a percent."))
    op.add_column("statements", sa.Column("sections", sa.Text()))
    issued = sa.text("SELECT period, party_id, rates FROM statements WHERE party = 'provider' AND rates <> '{}'")
    taxed = {"category": "compute_service", "treatment": "taxed"}
    op.bulk_insert(
        supplies,
        [
            {"period": row.period, "seller": row.party_id, "rate": json.loads(row.rates)[row.party_id], **taxed}
            for row in op.get_bind().execute(issued)
        ],
    )
