"""The fixtures that give databases to all other tests."""

import sqlite3
from collections.abc import Callable
from urllib.parse import urlsplit

import asyncpg


async def tables(url: str) -> list[str]:
    if url.startswith("sqlite:///"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        finally:
            connection.close()
    server = await asyncpg.connect(url)
    try:
        return [row[0] for row in await server.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    finally:
        await server.close()


async def test_each_test_gets_an_empty_database_of_its_engine(database_url: str, database_engine: str) -> None:
    assert urlsplit(database_url).scheme == database_engine
    assert await tables(database_url) == []


async def test_two_databases_of_one_test_are_two(new_database_url: Callable[[], str]) -> None:
    assert new_database_url() != new_database_url()
