"""Keep applications for vouchers, and vouchers."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    op.create_table(
        "voucher_applications",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("programme", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("enterprise", sa.Text(), nullable=False),
        sa.Column("use", sa.String(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("contract_number", sa.String(), nullable=True),
        sa.Column("contract_amount", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=False),
        sa.Column("applied_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["programme"], ["programmes.id"], name=op.f("fk_voucher_applications_programme")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher_applications")),
    )
    with op.batch_alter_table("voucher_applications", schema=None) as batch_op:
        batch_op.create_index(
            "ix_voucher_applications_contract",
            ["programme", "organization", "contract_number"],
            unique=True,
            sqlite_where=sa.text("contract_number IS NOT NULL AND state NOT IN ('refused', 'withdrawn')"),
            postgresql_where=sa.text("contract_number IS NOT NULL AND state NOT IN ('refused', 'withdrawn')"),
        )
        batch_op.create_index("ix_voucher_applications_organization_id", ["organization", "id"], unique=False)
        batch_op.create_index("ix_voucher_applications_state_id", ["state", "id"], unique=False)

    op.create_table(
        "voucher_evidence",
        sa.Column("application", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", sa.BigInteger(), nullable=False),
        sa.Column("stored_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application"], ["voucher_applications.id"], name=op.f("fk_voucher_evidence_application")
        ),
        sa.PrimaryKeyConstraint("application", "name", name=op.f("pk_voucher_evidence")),
    )
    op.create_table(
        "vouchers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("application", sa.String(), nullable=False),
        sa.Column("programme", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("pledged", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("redeemed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("released", sa.BigInteger(), server_default="0", nullable=False, comment="What its pool has again."),
        sa.Column("clawed_back", sa.BigInteger(), server_default="0", nullable=False, comment="A part of released."),
        sa.Column("year", sa.BigInteger(), nullable=False),
        sa.Column("use", sa.String(), nullable=True),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("affiliates", sa.Text(), nullable=False, comment="Providers."),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_vouchers_amount")),
        sa.CheckConstraint(
            "redeemed >= 0 AND redeemed <= pledged AND pledged + released <= amount", name=op.f("ck_vouchers_pledged")
        ),
        sa.ForeignKeyConstraint(["application"], ["voucher_applications.id"], name=op.f("fk_vouchers_application")),
        sa.ForeignKeyConstraint(["programme"], ["programmes.id"], name=op.f("fk_vouchers_programme")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vouchers")),
        sa.UniqueConstraint("application", name=op.f("uq_vouchers_application")),
    )
    with op.batch_alter_table("vouchers", schema=None) as batch_op:
        batch_op.create_index("ix_vouchers_organization_id", ["organization", "id"], unique=False)
        batch_op.create_index(
            "ix_vouchers_programme_organization_year", ["programme", "organization", "year"], unique=False
        )
        batch_op.create_index("ix_vouchers_state_expires_at", ["state", "expires_at"], unique=False)
