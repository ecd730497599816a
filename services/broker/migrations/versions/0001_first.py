"""The first tables."""

import sqlalchemy as sa
from alembic import op

import caravan.kernel.database

revision = "0001"
down_revision = None


def upgrade() -> None:

    op.create_table(
        "audit",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False, comment="Who did it."),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.Column("data", caravan.kernel.database.Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index("ix_audit_entity_id", ["entity", "id"], unique=False)

    op.create_table(
        "capacity",
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("memory_mib", sa.BigInteger(), nullable=False),
        sa.Column("accelerators", sa.BigInteger(), nullable=False),
        sa.Column("ahead", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("offering", name=op.f("pk_capacity")),
    )
    op.create_table(
        "copies",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_copies")),
    )
    with op.batch_alter_table("copies", schema=None) as batch_op:
        batch_op.create_index("ix_copies_type", ["type"], unique=False)

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
        sa.Column("time", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_feed_entities")),
        comment="The last state event of each entity: what a snapshot is made of.",
    )
    op.create_table(
        "feed_followers",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="Acknowledged up to here."),
        sa.Column("seen_at", caravan.kernel.database.Instant(), nullable=False),
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
        sa.Column("event", caravan.kernel.database.Json(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("parked_at", caravan.kernel.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_feed_parked")),
        sa.UniqueConstraint("feed", "id", name=op.f("uq_feed_parked_feed_id")),
        comment="Events that could not be applied yet, and the later ones of the same entities.",
    )
    with op.batch_alter_table("feed_parked", schema=None) as batch_op:
        batch_op.create_index("ix_feed_parked_feed_subject", ["feed", "subject"], unique=False)

    op.create_table(
        "feed_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_state")),
        comment="One row.",
    )
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
        sa.Column("headers", caravan.kernel.database.Json(), nullable=True),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency")),
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index("ix_idempotency_created_at", ["created_at"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("labels", caravan.kernel.database.Json(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("refusal", caravan.kernel.database.Json(), nullable=True),
        sa.Column("counts", caravan.kernel.database.Json(), nullable=False),
        sa.Column("hold_revision", sa.BigInteger(), nullable=False),
        sa.Column("hold_fen", sa.BigInteger(), nullable=False),
        sa.Column("hold_state", sa.String(), nullable=False),
        sa.Column(
            "granted_fen", sa.BigInteger(), nullable=True, comment="The last amount granted; null: none ever was."
        ),
        sa.Column("offering", sa.String(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("cancel_requested", sa.BigInteger(), nullable=False),
        sa.Column(
            "excluded",
            caravan.kernel.database.Json(),
            nullable=False,
            comment="Offering -> [failed | rejected, detail]: where it was tried in vain.",
        ),
        sa.Column("open_runs", sa.BigInteger(), nullable=False, comment="Runs whose books aren't final yet."),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("started_at", caravan.kernel.database.Instant(), nullable=True),
        sa.Column("ended_at", caravan.kernel.database.Instant(), nullable=True),
        sa.Column("settled_at", caravan.kernel.database.Instant(), nullable=True),
        sa.Column(
            "wake_at", caravan.kernel.database.Instant(), nullable=True, comment="When `advance` has something to do."
        ),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index("ix_jobs_organization_id", ["organization", "id"], unique=False)
        batch_op.create_index("ix_jobs_organization_state_id", ["organization", "state", "id"], unique=False)
        batch_op.create_index("ix_jobs_project_id", ["project", "id"], unique=False)
        batch_op.create_index("ix_jobs_project_state_id", ["project", "state", "id"], unique=False)
        batch_op.create_index(
            "ix_jobs_wake_at",
            ["wake_at"],
            unique=False,
            postgresql_where=sa.text("wake_at IS NOT NULL"),
            sqlite_where=sa.text("wake_at IS NOT NULL"),
        )

    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", caravan.kernel.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "log_reads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("request", caravan.kernel.database.Json(), nullable=False),
        sa.Column("asked_at", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("answer", caravan.kernel.database.Json(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_reads")),
    )
    with op.batch_alter_table("log_reads", schema=None) as batch_op:
        batch_op.create_index("ix_log_reads_site", ["site"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column(
            "position", sa.BigInteger(), nullable=True, comment="Order in the feed; null until given (PostgreSQL)."
        ),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("time", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_outbox")),
        sa.UniqueConstraint("position", name=op.f("uq_outbox_position")),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(
            "ix_outbox_unpositioned",
            ["sequence"],
            unique=False,
            postgresql_where=sa.text("position IS NULL"),
            sqlite_where=sa.text("position IS NULL"),
        )

    op.create_table(
        "quotes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotes")),
    )
    with op.batch_alter_table("quotes", schema=None) as batch_op:
        batch_op.create_index("ix_quotes_organization_id", ["organization", "id"], unique=False)

    op.create_table(
        "site_states",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("work", sa.BigInteger(), nullable=False),
        sa.Column("adapter", sa.String(), nullable=True),
        sa.Column("adapter_version", sa.String(), nullable=True),
        sa.Column("health", sa.String(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("seen_at", caravan.kernel.database.Instant(), nullable=True),
        sa.Column("inventory", caravan.kernel.database.Json(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("complete_through", caravan.kernel.database.Instant(), nullable=True),
        sa.Column("progress_version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_site_states")),
    )
    op.create_table(
        "waiting",
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("offering", "job", name=op.f("pk_waiting")),
    )
    with op.batch_alter_table("waiting", schema=None) as batch_op:
        batch_op.create_index("ix_waiting_job", ["job"], unique=False)

    op.create_table(
        "array_tasks",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempt", sa.String(), nullable=True),
        sa.Column("run", sa.String(), nullable=True),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_array_tasks_job"), deferrable=True, initially="DEFERRED"
        ),
        sa.PrimaryKeyConstraint("job", "index", name=op.f("pk_array_tasks")),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("price_list", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("indices", caravan.kernel.database.Json(), nullable=False),
        sa.Column("grant", caravan.kernel.database.Json(), nullable=False),
        sa.Column("capacity", caravan.kernel.database.Json(), nullable=False),
        sa.Column("reserved", sa.String(), nullable=True, comment="How capacity is held: room, ahead, or no more."),
        sa.Column("worst_fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("desired", sa.String(), nullable=False),
        sa.Column(
            "reference", sa.String(), nullable=True, comment="Committed by compare-and-set; the only one ever released."
        ),
        sa.Column("observation", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("work", sa.BigInteger(), nullable=True, comment="Its place in the site's sequence of wanted work."),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("ended_at", caravan.kernel.database.Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_attempts_job"), deferrable=True, initially="DEFERRED"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index("ix_attempts_job", ["job", "number"], unique=False)
        batch_op.create_index("ix_attempts_site_work", ["site", "work"], unique=False)

    op.create_table(
        "job_labels",
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_job_labels_job"), deferrable=True, initially="DEFERRED"
        ),
        sa.PrimaryKeyConstraint("label", "job", name=op.f("pk_job_labels")),
    )
    op.create_table(
        "job_events",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("data", caravan.kernel.database.Json(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_job_events_job"), deferrable=True, initially="DEFERRED"
        ),
        sa.PrimaryKeyConstraint("job", "sequence", name=op.f("pk_job_events")),
    )
    op.create_table(
        "placements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_placements_job"), deferrable=True, initially="DEFERRED"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placements")),
    )
    with op.batch_alter_table("placements", schema=None) as batch_op:
        batch_op.create_index("ix_placements_job_id", ["job", "id"], unique=False)

    op.create_table(
        "runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("backend_identity", sa.String(), nullable=False),
        sa.Column("attempt", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("observation", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("signal", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("started_at", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("ended_at", caravan.kernel.database.Instant(), nullable=True),
        sa.Column("final", sa.BigInteger(), nullable=False),
        sa.Column("hours", caravan.kernel.database.Json(), nullable=False, comment="Hour -> last revision stated."),
        sa.ForeignKeyConstraint(["attempt"], ["attempts.id"], name=op.f("fk_runs_attempt")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_runs_job"), deferrable=True, initially="DEFERRED"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("site", "backend_identity", name=op.f("uq_runs_site_backend_identity")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index("ix_runs_attempt", ["attempt"], unique=False)
        batch_op.create_index("ix_runs_job", ["job"], unique=False)

    # ### end Alembic commands ###
