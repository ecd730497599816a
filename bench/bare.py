"""What a submission is measured against: FastAPI endpoints that insert one row. Run by uvicorn; `CARAVAN_BARE` is the folder.

`POST /engine` goes through the kernel's own database, `POST /plain` through the standard library's sqlite3; both as durable as
a submission (WAL, synchronous FULL).
"""

import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert
from sqlalchemy.orm import Session

from caravan.kernel.database import Database

FOLDER = Path(os.environ.get("CARAVAN_BARE", "."))
metadata = MetaData()
rows = Table("rows", metadata, Column("id", Integer, primary_key=True), Column("body", Text, nullable=False))


def add(tx: Session, body: str) -> int:
    return int(tx.execute(insert(rows).values(body=body).returning(rows.c.id)).scalar_one())


class Plain:
    """One connection behind a lock, as people write it by hand."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body TEXT)"
        )

    def add(self, body: str) -> int:
        with self._lock, self._connection:
            return int(self._connection.execute("INSERT INTO rows (body) VALUES (?)", (body,)).lastrowid or 0)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with sqlite3.connect(FOLDER / "engine.db") as made:
        made.executescript(
            "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"
        )
    db = Database(f"sqlite:///{FOLDER / 'engine.db'}")
    await db.start()
    app.state.db, app.state.plain = db, Plain(FOLDER / "plain.db")
    yield
    await db.stop()


app = FastAPI(lifespan=lifespan)


@app.post("/engine", status_code=201)
async def engine(body: dict[str, Any], request: Request) -> dict[str, int]:
    """One row through the kernel's engine."""
    return {"id": await request.app.state.db.write(add, str(body["name"]))}


@app.post("/plain", status_code=201)
def plain(body: dict[str, Any], request: Request) -> dict[str, int]:
    """One row through plain sqlite3, in FastAPI's thread pool."""
    return {"id": request.app.state.plain.add(str(body["name"]))}
