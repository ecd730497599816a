"""Migrations: each service has its own chain under `services/<name>/migrations`, for both engines."""

import asyncio
import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from caravan.kernel import feed
from caravan.kernel.sqlite import connect, take_lock


def config(service: str) -> Config:
    """Alembic's configuration for a service; there is no ini file."""
    folder = Path(str(importlib.import_module(f"services.{service}").__file__)).parent / "migrations"
    made = Config()
    made.set_main_option("script_location", str(folder))
    made.set_main_option("path_separator", "os")
    return made


def on_connection(url: str, use: Any, *, foreign_keys: bool = True) -> Any:
    """Run `use(connection)` synchronously on either engine, in a transaction, outside of any running event loop.

    Without `foreign_keys` SQLite enforces none: a table that others refer to can be dropped and made anew.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with connect(Path(str(parsed.database)), foreign_keys=foreign_keys) as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            result = use(connection)
            connection.exec_driver_sql("COMMIT")
            return result

    async def over_asyncpg() -> Any:
        engine = create_async_engine(parsed.set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        async with engine.begin() as connection:
            result = await connection.run_sync(use)
        await engine.dispose()
        return result

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(over_asyncpg())).result()


def migrate(url: str, service: str, revision: str = "head") -> None:
    """Bring a service's database up to `revision`. On SQLite refused while another process writes."""
    parsed = make_url(url)
    lock = take_lock(Path(str(parsed.database))) if parsed.get_backend_name() == "sqlite" else None

    def run(connection: Connection) -> None:
        settings = config(service)
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
        if lock is not None and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
            raise RuntimeError(f"migrating {service} to {revision} left rows that refer to none: {broken}")

    try:
        on_connection(url, run, foreign_keys=False)
    finally:
        if lock is not None:
            os.close(lock)


def run_env(metadata: MetaData) -> None:
    """What each service's `migrations/env.py` calls."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def pending(url: str, service: str) -> str:
    """What the database lacks, in words; empty when it is up to date."""
    heads = set(ScriptDirectory.from_config(config(service)).get_heads())
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).exists():
        return "there is none yet"

    def look(connection: Connection) -> set[str]:
        return set(MigrationContext.configure(connection).get_current_heads())

    current = on_connection(url, look)
    return "" if current == heads else f"at {', '.join(sorted(current)) or 'nothing'}, needs {', '.join(sorted(heads))}"


def new_generation(url: str) -> None:
    """Give a database that was restored from a backup a new generation: its followers' cursors are 410 from now on."""

    def renew(connection: Connection) -> None:
        with Session(connection) as session:
            feed.prepare(session, restored=True)
            session.commit()

    on_connection(url, renew)
