"""The first tables."""

import sqlalchemy as sa
from alembic import op

import caravan.kernel.database

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accelerators",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("vendor", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("memory_mib", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("domestic", sa.Boolean(), nullable=False),
        sa.Column("aliases", caravan.kernel.database.Json(), nullable=False),
        sa.Column("search_text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accelerators")),
    )
    op.create_table(
        "adapters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("descriptor", caravan.kernel.database.Json(), nullable=False, comment="As announced last."),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_adapters")),
    )
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
    op.create_index("ix_audit_entity_id", "audit", ["entity", "id"], unique=False)
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
    op.create_index("ix_feed_parked_feed_subject", "feed_parked", ["feed", "subject"], unique=False)
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
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"], unique=False)
    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", caravan.kernel.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("credit_code", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("credit_code", name=op.f("uq_organizations_credit_code")),
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
        sa.Column("time", caravan.kernel.database.Instant(), nullable=False),
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
        "providers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("credit_code", sa.String(), nullable=True),
        sa.Column("tax_rate", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column(
            "applicant", sa.String(), nullable=False, comment="The subject that applied; it sees its application."
        ),
        sa.Column("search_text", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_providers")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["organization"], ["organizations.id"], name=op.f("fk_projects_organization")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_index(op.f("ix_projects_organization"), "projects", ["organization"], unique=False)
    op.create_table(
        "sites",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("adapter", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("lost_after_seconds", sa.BigInteger(), nullable=True),
        sa.Column("settings", caravan.kernel.database.Json(), nullable=False),
        sa.Column("accelerators", caravan.kernel.database.Json(), nullable=False),
        sa.Column("health_state", sa.String(), nullable=True),
        sa.Column("health_detail", sa.String(), nullable=True),
        sa.Column("health_seen_at", caravan.kernel.database.Instant(), nullable=True),
        sa.Column("inventory", caravan.kernel.database.Json(), nullable=True),
        sa.Column("search_text", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["provider"], ["providers.id"], name=op.f("fk_sites_provider")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
    )
    op.create_index(op.f("ix_sites_provider"), "sites", ["provider"], unique=False)
    op.create_table(
        "offerings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("limits", caravan.kernel.database.Json(), nullable=False),
        sa.Column("accelerator", sa.String(), nullable=True),
        sa.Column("target", caravan.kernel.database.Json(), nullable=False),
        sa.Column("capacity", caravan.kernel.database.Json(), nullable=False),
        sa.Column("queue_ahead", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("search_text", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["accelerator"], ["accelerators.id"], name=op.f("fk_offerings_accelerator")),
        sa.ForeignKeyConstraint(["provider"], ["providers.id"], name=op.f("fk_offerings_provider")),
        sa.ForeignKeyConstraint(["site"], ["sites.id"], name=op.f("fk_offerings_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offerings")),
    )
    op.create_index(op.f("ix_offerings_accelerator"), "offerings", ["accelerator"], unique=False)
    op.create_index(op.f("ix_offerings_provider"), "offerings", ["provider"], unique=False)
    op.create_index(op.f("ix_offerings_site"), "offerings", ["site"], unique=False)
    op.create_index(op.f("ix_offerings_state"), "offerings", ["state"], unique=False)
    op.create_table(
        "tenants",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=True),
        sa.Column("settings", caravan.kernel.database.Json(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["organization"], ["organizations.id"], name=op.f("fk_tenants_organization")),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_tenants_project")),
        sa.ForeignKeyConstraint(["site"], ["sites.id"], name=op.f("fk_tenants_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
    )
    op.create_index(op.f("ix_tenants_organization"), "tenants", ["organization"], unique=False)
    op.create_index("ix_tenants_site_organization", "tenants", ["site", "organization"], unique=False)
    op.create_table(
        "price_lists",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("offering", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False, comment="1, 2, 3, ... for each offering."),
        sa.Column("created_at", caravan.kernel.database.Instant(), nullable=False),
        sa.Column("tariffs", caravan.kernel.database.Json(), nullable=False),
        sa.ForeignKeyConstraint(["offering"], ["offerings.id"], name=op.f("fk_price_lists_offering")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_lists")),
        sa.UniqueConstraint("offering", "revision", name=op.f("uq_price_lists_offering_revision")),
    )
