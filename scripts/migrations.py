"""Holds the migrations against the models, on both engines: `python -m scripts.migrations --check`.

For each service a database is migrated from empty; then autogenerate must find nothing to do, and the triggers in the
database must be those of services/<service>/migrations/triggers.txt (`<engine>  <table>  <trigger>` a line, sorted),
which no autogenerate sees; no file, no triggers. Without --check the trigger lists are written.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import unified_diff
from importlib import import_module
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, text

from caravan.kernel.migrations import on_connection
from tests.databases import Engine, Postgres, Server, Sqlite

ROOT = Path(__file__).parent.parent
SERVICES = ("catalog", "broker", "accounting")
TRIGGERS = {
    "sqlite": "SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal",
}


def main() -> None:
    check = "--check" in sys.argv
    faults: list[str] = []
    with engines() as both:
        for service in SERVICES:
            triggers: list[str] = []
            for name, engine in both.items():
                differences, found = inspect(engine.migrated(service), metadata(service))
                faults += [f"{service} on {name}: {in_words(difference)}" for difference in differences]
                triggers += [f"{name}  {table}  {trigger}" for table, trigger in found]
            listed = ROOT / "services" / service / "migrations" / "triggers.txt"
            text = "".join(f"{line}\n" for line in sorted(triggers))
            if not check and text:
                listed.write_text(text)
            elif not check:
                listed.unlink(missing_ok=True)
            else:
                before = listed.read_text() if listed.exists() else ""
                lines = unified_diff(
                    before.splitlines(), text.splitlines(), str(listed), "the database", lineterm="", n=0
                )
                faults += lines
    if faults:
        raise SystemExit("\n".join(faults))
    print(f"migrations equal the models: {', '.join(SERVICES)} on {', '.join(TRIGGERS)}")


def metadata(service: str) -> MetaData:
    found: MetaData = import_module(f"services.{service}.models").metadata
    return found


def in_words(difference: object) -> str:
    """`add_table jobs` for autogenerate's ("add_table", Table("jobs", ...)); the rest as it is."""
    match difference:
        case (str(operation), subject) if hasattr(subject, "name"):
            table = getattr(getattr(subject, "table", None), "name", "")
            return " ".join(filter(None, (operation, table, subject.name)))
    return str(difference)


def inspect(url: str, models: MetaData) -> tuple[list[object], list[tuple[str, str]]]:
    """What autogenerate would change, and (table, trigger) of each trigger."""

    def look(connection: Connection) -> tuple[list[object], list[tuple[str, str]]]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": models}
        )
        differences: list[object] = list(compare_metadata(context, models))
        found = connection.execute(text(TRIGGERS[connection.dialect.name])).all()
        return differences, [(str(table), str(trigger)) for table, trigger in found]

    looked: tuple[list[object], list[tuple[str, str]]] = on_connection(url, look)
    return looked


@contextmanager
def engines() -> Iterator[dict[str, Engine]]:
    server = Server()
    try:
        postgres = Postgres(server.dsn)
        try:
            with tempfile.TemporaryDirectory() as folder:
                yield {"sqlite": Sqlite(Path(folder)), "postgresql": postgres}
        finally:
            postgres.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
