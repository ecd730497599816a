"""Keep credit notes. Guards as in 0002: one never changes, whoever asks."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "credit_notes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("statement", sa.String(), nullable=False),
        sa.Column("statement_number", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("organization_name", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("provider_name", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("issued_by", sa.String(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_notes_amount")),
        sa.ForeignKeyConstraint(["statement"], ["statements.id"], name=op.f("fk_credit_notes_statement")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_notes")),
        sa.UniqueConstraint("number", name=op.f("uq_credit_notes_number")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_credit_notes_line", "credit_notes", ["line"])
    op.create_index("ix_credit_notes_organization_id", "credit_notes", ["organization", "id"])
    op.create_index("ix_credit_notes_provider_id", "credit_notes", ["provider", "id"])
    op.create_index("ix_credit_notes_statement", "credit_notes", ["statement"])
    for guard in sqlite() if op.get_bind().dialect.name == "sqlite" else postgresql():
        op.execute(guard)


def sqlite() -> list[str]:
    there = "EXISTS (SELECT 1 FROM credit_notes WHERE id = NEW.id OR number = NEW.number)"
    return [
        f"CREATE TRIGGER credit_notes_{name} BEFORE {when} ON credit_notes WHEN {condition}"
        " BEGIN SELECT RAISE(ABORT, 'credit_notes is append-only'); END"
        for name, when, condition in (
            ("update", "UPDATE", "1"),
            ("delete", "DELETE", "1"),
            ("replace", "INSERT", there),
        )
    ]


def postgresql() -> list[str]:
    return [
        "CREATE TRIGGER credit_notes_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_notes"
        " FOR EACH STATEMENT EXECUTE FUNCTION guard_unchanged()"
    ]
