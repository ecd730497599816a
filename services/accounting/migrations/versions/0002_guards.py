"""Guards of the books, as triggers: what is posted, sealed, closed or issued never changes, whoever asks.

Entries: postings are written first, then their entry, which is refused unless they are all there and sum to zero; afterwards nothing
is added to it. A posting without entry fails at commit (a deferred foreign key). On PostgreSQL, where another transaction could add
postings while the entry is not visible to it, a deferred constraint trigger counts and sums again at commit.
SQLite's INSERT OR REPLACE fires no delete triggers unless recursive_triggers is on; the guards on insert refuse it either way.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = {
    "ledger_entries": "id = NEW.id",
    "ledger_postings": "entry = NEW.entry AND number = NEW.number",
    "ledger_seals": "sequence = NEW.sequence OR entry = NEW.entry",
    "statements": "id = NEW.id OR number = NEW.number OR (period = NEW.period AND party_id = NEW.party_id)",
}
"""Tables that only grow, and what in them a new row would replace."""

SAME_PERIOD = "id = NEW.id OR starts_at = NEW.starts_at OR (month = NEW.month AND part = NEW.part)"
ENTRY_COMPLETE = (
    "SELECT 1 FROM ledger_postings WHERE entry = NEW.id"
    " GROUP BY entry HAVING count(*) = NEW.posting_count AND count(*) >= 2 AND sum(amount) = 0"
)
NEXT_SEAL = "NEW.sequence = (SELECT coalesce(max(sequence), 0) + 1 FROM ledger_seals)"
CLOSING = "EXISTS (SELECT 1 FROM periods WHERE id = NEW.period AND state = 'closing')"
PERIOD_CHANGE = (
    "OLD.state = 'closed' OR NEW.id <> OLD.id OR (OLD.state = 'closing' AND NEW.state = 'open')"
    " OR (OLD.state <> 'open' AND (NEW.starts_at <> OLD.starts_at OR NEW.ends_at <> OLD.ends_at))"
)


def upgrade() -> None:
    for statement in sqlite() if op.get_bind().dialect.name == "sqlite" else postgresql():
        op.execute(statement)


def sqlite() -> list[str]:
    def trigger(name: str, when: str, condition: str, words: str) -> str:
        return f"CREATE TRIGGER {name} BEFORE {when} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{words}'); END"

    guards = []
    for table, same in APPEND_ONLY.items():
        words = f"{table} is append-only"
        guards += [
            trigger(f"{table}_update", f"UPDATE ON {table}", "1", words),
            trigger(f"{table}_delete", f"DELETE ON {table}", "1", words),
            trigger(f"{table}_replace", f"INSERT ON {table}", f"EXISTS (SELECT 1 FROM {table} WHERE {same})", words),
        ]
    closed = "EXISTS (SELECT 1 FROM periods WHERE id = {} AND state = 'closed')"
    same_line = f"EXISTS (SELECT 1 FROM lines WHERE id = NEW.id AND {closed.format('period')})"
    others = f"EXISTS (SELECT 1 FROM periods WHERE ({SAME_PERIOD}) AND id <> OLD.id)"
    sealed = "a closed period takes no change of its lines"
    return [
        *guards,
        trigger(
            "ledger_entries_balance",
            "INSERT ON ledger_entries",
            f"NOT EXISTS ({ENTRY_COMPLETE})",
            "an entry has at least two postings that sum to zero, written before it",
        ),
        trigger(
            "ledger_postings_complete",
            "INSERT ON ledger_postings",
            "EXISTS (SELECT 1 FROM ledger_entries WHERE id = NEW.entry)",
            "the entry is complete",
        ),
        trigger("ledger_seals_order", "INSERT ON ledger_seals", f"NOT ({NEXT_SEAL})", "seals follow each other"),
        trigger("periods_update", "UPDATE ON periods", f"{PERIOD_CHANGE} OR {others}", "the period is sealed"),
        trigger("periods_delete", "DELETE ON periods", "1", "periods are never deleted"),
        trigger(
            "periods_replace",
            "INSERT ON periods",
            f"EXISTS (SELECT 1 FROM periods WHERE {SAME_PERIOD})",
            "periods are never replaced",
        ),
        trigger(
            "statements_closing", "INSERT ON statements", f"NOT {CLOSING}", "statements are issued as a period closes"
        ),
        trigger("lines_insert", "INSERT ON lines", f"{closed.format('NEW.period')} OR {same_line}", sealed),
        trigger(
            "lines_update",
            "UPDATE ON lines",
            f"{closed.format('OLD.period')} OR {closed.format('NEW.period')} OR (NEW.id <> OLD.id AND {same_line})",
            sealed,
        ),
        trigger("lines_delete", "DELETE ON lines", closed.format("OLD.period"), sealed),
    ]


def postgresql() -> list[str]:
    def function(name: str, body: str) -> str:
        return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $guard$ BEGIN {body} END $guard$"

    def refuse(words: str) -> str:
        return f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = {words};"

    def trigger(name: str, when: str, each: str, called: str) -> str:
        return f"CREATE TRIGGER {name} BEFORE {when} FOR EACH {each} EXECUTE FUNCTION {called}()"

    guards = [
        function("guard_unchanged", refuse("TG_TABLE_NAME || ' is append-only'")),
        *(
            trigger(f"{table}_unchanged", f"UPDATE OR DELETE OR TRUNCATE ON {table}", "STATEMENT", "guard_unchanged")
            for table in APPEND_ONLY
        ),
    ]
    closed = "EXISTS (SELECT 1 FROM periods WHERE id = {} AND state = 'closed')"
    sealed = refuse("'a closed period takes no change of its lines'")
    return [
        *guards,
        function(
            "guard_entry",
            f"IF NOT EXISTS ({ENTRY_COMPLETE}) THEN "
            + refuse("'an entry has at least two postings that sum to zero, written before it'")
            + " END IF; RETURN NEW;",
        ),
        trigger("ledger_entries_balance", "INSERT ON ledger_entries", "ROW", "guard_entry"),
        function(
            "guard_posting",
            "IF EXISTS (SELECT 1 FROM ledger_entries WHERE id = NEW.entry) THEN "
            + refuse("'the entry is complete'")
            + " END IF; RETURN NEW;",
        ),
        trigger("ledger_postings_complete", "INSERT ON ledger_postings", "ROW", "guard_posting"),
        function(
            "guard_posting_at_commit",
            "IF NOT EXISTS (SELECT 1 FROM ledger_entries e JOIN ledger_postings p ON p.entry = e.id WHERE e.id = NEW.entry"
            " GROUP BY e.id, e.posting_count HAVING count(*) = e.posting_count AND sum(p.amount) = 0) THEN "
            + refuse("'the postings at commit are not those that the entry was written with'")
            + " END IF; RETURN NULL;",
        ),
        "CREATE CONSTRAINT TRIGGER ledger_postings_commit AFTER INSERT ON ledger_postings"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION guard_posting_at_commit()",
        function(
            "guard_seal",
            f"IF NOT ({NEXT_SEAL}) THEN " + refuse("'seals follow each other'") + " END IF; RETURN NEW;",
        ),
        trigger("ledger_seals_order", "INSERT ON ledger_seals", "ROW", "guard_seal"),
        function(
            "guard_period", f"IF {PERIOD_CHANGE} THEN " + refuse("'the period is sealed'") + " END IF; RETURN NEW;"
        ),
        trigger("periods_update", "UPDATE ON periods", "ROW", "guard_period"),
        trigger("periods_unchanged", "DELETE OR TRUNCATE ON periods", "STATEMENT", "guard_unchanged"),
        function(
            "guard_statement",
            f"IF NOT {CLOSING} THEN " + refuse("'statements are issued as a period closes'") + " END IF; RETURN NEW;",
        ),
        trigger("statements_closing", "INSERT ON statements", "ROW", "guard_statement"),
        function(
            "guard_line",
            f"IF TG_OP <> 'INSERT' AND {closed.format('OLD.period')} THEN {sealed} END IF;"
            f" IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;"
            f" IF {closed.format('NEW.period')} THEN {sealed} END IF; RETURN NEW;",
        ),
        trigger("lines_sealed", "INSERT OR UPDATE OR DELETE ON lines", "ROW", "guard_line"),
        trigger("lines_unchanged", "TRUNCATE ON lines", "STATEMENT", "guard_unchanged"),
    ]
