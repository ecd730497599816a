"""Migrations: up from empty on both engines, one at a time, and nothing half done."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, make_url, text

import services
from caravan.kernel.migrations import config, migrate, on_connection, pending
from caravan.kernel.sqlite import WriterTaken, take_lock
from scripts import new_migration
from scripts.migrations import SERVICES
from scripts.migrations import metadata as models


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_migrated_from_nothing_to_its_models(
    service: str, database_url: str, migrated: Callable[[str], str]
) -> None:
    assert pending(database_url, service) in ("there is none yet", f"at nothing, needs {head(service)}")
    url = migrated(service)
    assert pending(url, service) == ""
    migrate(url, service)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, models(service)))

    assert on_connection(url, differences) == []


def head(service: str) -> str | None:
    return ScriptDirectory.from_config(config(service)).get_current_head()


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(tmp_path, monkeypatch, ONE, FAILS)
    with pytest.raises(ZeroDivisionError):
        migrate(database_url, "toy")
    assert on_connection(database_url, tables) == []
    assert pending(database_url, "toy") == "at nothing, needs 0002"
    migrate(database_url, "toy", "0001")
    assert pending(database_url, "toy") == "at 0001, needs 0002"


def test_a_table_that_others_refer_to_can_be_made_anew_on_sqlite(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(tmp_path, monkeypatch, ONE, ANEW)
    migrate(sqlite_url, "toy")
    assert on_connection(sqlite_url, lambda connection: connection.execute(text("SELECT a FROM child")).all()) == [(1,)]


def test_a_migration_that_breaks_a_reference_is_refused_on_sqlite(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(tmp_path, monkeypatch, ONE, BREAKS)
    with pytest.raises(RuntimeError, match="rows that refer to none"):
        migrate(sqlite_url, "toy")
    assert on_connection(sqlite_url, tables) == []


def test_a_file_that_is_written_to_is_not_migrated(sqlite_url: str) -> None:
    holder = take_lock(Path(str(make_url(sqlite_url).database)))
    with pytest.raises(WriterTaken, match="is written by another process"):
        migrate(sqlite_url, "catalog")
    os.close(holder)
    migrate(sqlite_url, "catalog")


def test_a_drafted_migration_brings_the_database_to_the_models(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(tmp_path, monkeypatch, models=MODELS)
    first = new_migration.draft("toy", "The first tables")
    assert first is not None
    assert first.name == "0001_the_first_tables.py"
    migrate(database_url, "toy")
    assert on_connection(database_url, lacks) == []
    assert new_migration.draft("toy", "Nothing") is None

    chain(tmp_path, monkeypatch, models=MODELS + COLOUR)
    second = new_migration.draft("toy", "Add the colour")
    assert second is not None
    assert 'down_revision = "0001"' in second.read_text()
    assert pending(database_url, "toy") == "at 0001, needs 0002"
    migrate(database_url, "toy")
    assert on_connection(database_url, lacks) == []
    for path in (first, second):
        assert max(map(len, path.read_text().splitlines())) <= 120
        assert "caravan" not in path.read_text()


def lacks(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    differences: list[object] = list(compare_metadata(context, models("toy")))
    return differences


MODELS = """
from sqlalchemy import Column, String, Index
from caravan.kernel.database import Instant, Json, metadata
from caravan.kernel.tables import include

metadata = metadata()
include(metadata)

from sqlalchemy import Table
things = Table("things", metadata, Column("id", String, primary_key=True), Column("at", Instant, nullable=False))
"""
COLOUR = """
things.append_column(Column("colour", Json))
Index("ix_things_colour", things.c.colour)
"""
ONE = """
    op.create_table("parent", sa.Column("id", sa.Integer, primary_key=True))
    op.create_table("child", sa.Column("a", sa.Integer, sa.ForeignKey("parent.id")))
    op.execute("INSERT INTO parent (id) VALUES (1)")
    op.execute("INSERT INTO child (a) VALUES (1)")
"""
FAILS = """
    op.create_table("late", sa.Column("id", sa.Integer, primary_key=True))
    1 / 0
"""
ANEW = """
    with op.batch_alter_table("parent", recreate="always") as parent:
        parent.add_column(sa.Column("name", sa.String))
"""
BREAKS = """
    op.execute("DELETE FROM parent")
"""


def tables(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


def chain(folder: Path, monkeypatch: pytest.MonkeyPatch, *upgrades: str, models: str = "") -> None:
    """A service `toy` with these models, and these revisions from 0001 on."""
    versions = folder / "services" / "toy" / "migrations" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (versions.parent.parent / "__init__.py").touch()
    (versions.parent.parent / "models.py").write_text(models)
    (versions.parent / "env.py").write_text(
        "import sqlalchemy\nfrom caravan.kernel.migrations import run_env\nrun_env(sqlalchemy.MetaData())\n"
    )
    for number, upgrade in enumerate(upgrades, 1):
        down = f'"{number - 1:04}"' if number > 1 else "None"
        (versions / f"{number:04}_it.py").write_text(
            f'import sqlalchemy as sa\nfrom alembic import op\n\nrevision, down_revision = "{number:04}", {down}\n\n'
            f"def upgrade() -> None:{upgrade}"
        )
    monkeypatch.setattr(services, "__path__", [*services.__path__, str(folder / "services")])
    for module in ("services.toy", "services.toy.models"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()
