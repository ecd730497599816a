"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("price_list", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_job", "attempts", ["job"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False, comment="Who did it."),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_entity_id", "audit", ["entity", "id"], unique=False)
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("limit_amount", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("charged", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held >= 0", name=op.f("ck_budgets_held")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
    )
    op.create_index("ix_budgets_organization_id", "budgets", ["organization", "id"], unique=False)
    op.create_table(
        "deposits",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_deposits_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposits")),
        sa.UniqueConstraint("reference", name=op.f("uq_deposits_reference")),
    )
    op.create_index("ix_deposits_organization_id", "deposits", ["organization", "id"], unique=False)
    op.create_table(
        "feed_cursors",
        sa.Column("feed", sa.String(), nullable=False, comment="The service that is followed."),
        sa.Column("cursor", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("feed", name=op.f("pk_feed_cursors")),
    )
    op.create_table(
        "feed_entities",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_feed_entities")),
        comment="The last state event of each entity: what a snapshot is made of.",
    )
    op.create_table(
        "feed_followers",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="Acknowledged up to here."),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_feed_followers")),
    )
    op.create_table(
        "feed_parked",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="The order in which they are tried.",
        ),
        sa.Column("feed", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False, comment="The event's."),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("parked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_feed_parked")),
        sa.UniqueConstraint("feed", "id", name=op.f("uq_feed_parked_feed_id")),
        comment="Events that could not be applied yet, and the later ones of the same entities.",
    )
    op.create_index("ix_feed_parked_feed_subject", "feed_parked", ["feed", "subject"], unique=False)
    op.create_table(
        "feed_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_state")),
        comment="One row.",
    )
    op.create_table(
        "funds",
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("deposited", sa.BigInteger(), nullable=False),
        sa.Column("credit", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held >= 0", name=op.f("ck_funds_held")),
        sa.PrimaryKeyConstraint("organization", name=op.f("pk_funds")),
    )
    op.create_table(
        "holds",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("captured", sa.BigInteger(), nullable=False),
        sa.Column("overrun", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("captured >= 0 AND captured <= amount", name=op.f("ck_holds_captured")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_holds")),
    )
    op.create_index("ix_holds_organization_submitted_at", "holds", ["organization", "submitted_at"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("scope", sa.String(), nullable=False, comment="The caller and the operation."),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False, comment="The process that works on it."),
        sa.Column(
            "reference", sa.String(), nullable=True, comment="What the first request made, for the one who takes over."
        ),
        sa.Column("status", sa.Integer(), nullable=True, comment="Null while it is running."),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"], unique=False)
    op.create_table(
        "job_names",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_names")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "ledger_balances",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("debit", sa.BigInteger(), nullable=False),
        sa.Column("credit", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("account NOT LIKE 'prepaid:%' OR debit <= credit", name=op.f("ck_ledger_balances_prepaid")),
        sa.CheckConstraint(
            "account NOT LIKE 'receivable:%' OR credit <= debit", name=op.f("ck_ledger_balances_receivable")
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_ledger_balances")),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("organization", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("posting_count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("posting_count >= 2", name=op.f("ck_ledger_entries_posting_count")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ledger_entries_kind_id", "ledger_entries", ["kind", "id"], unique=False)
    op.create_index("ix_ledger_entries_organization_id", "ledger_entries", ["organization", "id"], unique=False)
    op.create_table(
        "lines",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("component", sa.String(), nullable=False),
        sa.Column("accelerator", sa.String(), nullable=False),
        sa.Column("price_list", sa.String(), nullable=False),
        sa.Column("price_list_revision", sa.BigInteger(), nullable=False),
        sa.Column("tariff", sa.String(), nullable=False),
        sa.Column("pricing_window", sa.String(), nullable=False),
        sa.Column("bearer", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("unit_price", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("corrects", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lines")),
        sa.UniqueConstraint(
            "job",
            "period",
            "corrects",
            "organization",
            "provider",
            "project",
            "price_list",
            "component",
            "accelerator",
            "tariff",
            "pricing_window",
            "bearer",
            "reason",
            name="uq_lines_key",
        ),
    )
    op.create_index("ix_lines_organization_id", "lines", ["organization", "id"], unique=False)
    op.create_index("ix_lines_period_id", "lines", ["period", "id"], unique=False)
    op.create_index(
        "ix_lines_period_organization_job_id", "lines", ["period", "organization", "job", "id"], unique=False
    )
    op.create_index("ix_lines_period_provider_job_id", "lines", ["period", "provider", "job", "id"], unique=False)
    op.create_index("ix_lines_provider_id", "lines", ["provider", "id"], unique=False)
    op.create_table(
        "offerings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offerings")),
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column(
            "position", sa.BigInteger(), nullable=True, comment="Order in the feed; null until given (PostgreSQL)."
        ),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_outbox")),
        sa.UniqueConstraint("position", name=op.f("uq_outbox_position")),
    )
    op.create_index(
        "ix_outbox_unpositioned",
        "outbox",
        ["sequence"],
        unique=False,
        postgresql_where=sa.text("position IS NULL"),
        sqlite_where=sa.text("position IS NULL"),
    )
    op.create_table(
        "period_zone",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_period_zone")),
    )
    op.create_table(
        "periods",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("grace_ends_at", sa.BigInteger(), nullable=True),
        sa.Column("late_sites", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_periods_span")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_periods")),
        sa.UniqueConstraint("month", "part", name=op.f("uq_periods_month_part")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_periods_starts_at", "periods", ["starts_at"], unique=True)
    op.create_index("ix_periods_state_ends_at", "periods", ["state", "ends_at"], unique=False)
    op.create_table(
        "price_lists",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_lists")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_table(
        "providers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("tax_rate", sa.BigInteger(), nullable=False, comment="In hundredths of a percent."),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_providers")),
    )
    op.create_table(
        "settlements",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("hold_revision", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_settlements")),
    )
    op.create_table(
        "site_progress",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("complete_through", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_site_progress")),
    )
    op.create_table(
        "statement_counters",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("year", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "year", name=op.f("pk_statement_counters")),
    )
    op.create_table(
        "usage_extent",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_extent")),
    )
    op.create_table(
        "hold_budgets",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("budget", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["budget"], ["budgets.id"], name=op.f("fk_hold_budgets_budget")),
        sa.ForeignKeyConstraint(["job"], ["holds.job"], name=op.f("fk_hold_budgets_job")),
        sa.PrimaryKeyConstraint("job", "budget", name=op.f("pk_hold_budgets")),
    )
    op.create_index("ix_hold_budgets_budget", "hold_budgets", ["budget"], unique=False)
    op.create_table(
        "hold_movements",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["holds.job"], name=op.f("fk_hold_movements_job")),
        sa.PrimaryKeyConstraint("job", "number", name=op.f("pk_hold_movements")),
    )
    op.create_table(
        "ledger_postings",
        sa.Column("entry", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_ledger_postings_amount")),
        sa.ForeignKeyConstraint(
            ["entry"],
            ["ledger_entries.id"],
            name=op.f("fk_ledger_postings_entry"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("entry", "number", name=op.f("pk_ledger_postings")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ledger_postings_account_entry", "ledger_postings", ["account", "entry"], unique=False)
    op.create_table(
        "ledger_seals",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["entry"], ["ledger_entries.id"], name=op.f("fk_ledger_seals_entry")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_ledger_seals")),
        sa.UniqueConstraint("entry", name=op.f("uq_ledger_seals_entry")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_unsealed",
        sa.Column("entry", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["entry"], ["ledger_entries.id"], name=op.f("fk_ledger_unsealed_entry")),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_ledger_unsealed")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("attempt", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["attempt"], ["attempts.id"], name=op.f("fk_runs_attempt")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_job", "runs", ["job"], unique=False)
    op.create_table(
        "settlement_outstanding",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["settlements.job"], name=op.f("fk_settlement_outstanding_job")),
        sa.PrimaryKeyConstraint("job", "run", "hour", name=op.f("pk_settlement_outstanding")),
    )
    op.create_table(
        "statements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("party", sa.String(), nullable=False),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("party_name", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("period_name", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.Column("adjustments", sa.BigInteger(), nullable=False),
        sa.Column("borne_by_provider", sa.BigInteger(), nullable=False),
        sa.Column("late_sites", sa.Text(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("lines_sha256", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["period"], ["periods.id"], name=op.f("fk_statements_period")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statements")),
        sa.UniqueConstraint("number", name=op.f("uq_statements_number")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_statements_party_id_id", "statements", ["party_id", "id"], unique=False)
    op.create_index("ix_statements_period_party_id", "statements", ["period", "party_id"], unique=True)
    op.create_table(
        "usage_records",
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("run_started_at", sa.BigInteger(), nullable=False),
        sa.Column("spans", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_usage_records_run")),
        sa.PrimaryKeyConstraint("run", "hour", name=op.f("pk_usage_records")),
    )
    op.create_index("ix_usage_records_job", "usage_records", ["job"], unique=False)
