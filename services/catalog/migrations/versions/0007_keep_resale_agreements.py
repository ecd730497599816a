"""Keep resale agreements and whose price lists are."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "resale_agreements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("reseller", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("members", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_resale_agreements_project")),
        sa.ForeignKeyConstraint(["reseller"], ["organizations.id"], name=op.f("fk_resale_agreements_reseller")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resale_agreements")),
    )
    with op.batch_alter_table("resale_agreements", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_resale_agreements_reseller"), ["reseller"], unique=False)

    op.create_table(
        "resale_members",
        sa.Column("agreement", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["agreement"], ["resale_agreements.id"], name=op.f("fk_resale_members_agreement")),
        sa.ForeignKeyConstraint(["organization"], ["organizations.id"], name=op.f("fk_resale_members_organization")),
        sa.PrimaryKeyConstraint("agreement", "organization", name=op.f("pk_resale_members")),
    )
    with op.batch_alter_table("resale_members", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_resale_members_organization"), ["organization"], unique=False)

    with op.batch_alter_table("price_lists", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "reseller",
                sa.String(),
                server_default=sa.text("''"),
                nullable=False,
                comment="Empty: it is the provider's own.",
            )
        )
        batch_op.alter_column("revision", comment="1, 2, 3, ... for each offering and seller.")
        batch_op.drop_constraint(batch_op.f("uq_price_lists_offering_revision"), type_="unique")
        batch_op.create_unique_constraint(
            batch_op.f("uq_price_lists_offering_reseller_revision"), ["offering", "reseller", "revision"]
        )
