"""Idempotency keys: one request works on a key, and every repeat gets its answer."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.kernel import leases
from caravan.kernel.database import Database, database_now
from caravan.kernel.idempotency import (
    KEPT,
    Answer,
    Claimed,
    Key,
    Owner,
    abandon,
    answer,
    claim,
    fingerprint,
    owner_lease,
    prune,
)
from caravan.kernel.problems import KeyReused, StillRunning
from caravan.kernel.tables import idempotency
from tests.kernel.scratch import opened, put

KEY = Key("member a: submit_job", "k1", fingerprint(b"{}"))
SAID = Answer(201, b'{"id": "job_1"}', {"Location": "/v1/jobs/job_1"})


async def owner(db: Database, name: str) -> str:
    """A process that lives."""
    process = Owner(db, name)
    await process.iteration()
    return process.id


async def dies(db: Database, name: str) -> None:
    held = await db.read(leases.peek, owner_lease(name))
    assert held is not None
    await db.write(leases.release, owner_lease(name), held.epoch)


def how_many(tx: Session) -> int:
    return tx.execute(select(func.count()).select_from(idempotency)).scalar_one()


async def test_every_repeat_gets_the_first_answer(db: Database) -> None:
    me = await owner(db, "me")
    assert await db.write(claim, KEY, me) == Claimed(None)
    assert await db.write(answer, KEY, SAID) == SAID
    for again in (me, await owner(db, "another")):
        assert await db.write(claim, KEY, again) == SAID


async def test_answers_come_back_byte_for_byte(db: Database) -> None:
    me = await owner(db, "me")
    said: list[Answer] = []

    @given(
        st.integers(200, 599), st.binary(), st.dictionaries(st.text("Abc-", min_size=1), st.text("xyz/ü"), max_size=3)
    )
    def examples(status: int, body: bytes, headers: dict[str, str]) -> None:
        said.append(Answer(status, body, headers))

    def repeats(tx: Session) -> list[Answer | Claimed]:
        keys = [Key("", f"{number}", "") for number in range(len(said))]
        for key, stored in zip(keys, said, strict=True):
            claim(tx, key, me)
            answer(tx, key, stored)
        return [claim(tx, key, me) for key in keys]

    examples()
    assert await db.write(repeats) == said


async def test_a_key_is_for_one_body_one_caller_and_one_operation(db: Database) -> None:
    me = await owner(db, "me")
    await db.write(claim, KEY, me)
    other_body = Key(KEY.scope, KEY.key, fingerprint(b"{ }"))
    with pytest.raises(KeyReused):
        await db.write(claim, other_body, me)
    await db.write(answer, KEY, SAID)
    with pytest.raises(KeyReused):
        await db.write(claim, other_body, me)
    assert await db.write(claim, Key("member b: submit_job", KEY.key, KEY.fingerprint), me) == Claimed(None)


async def test_a_key_whose_owner_lives_is_not_taken_over(db: Database) -> None:
    me = await owner(db, "me")
    await db.write(claim, KEY, me)
    for again in (me, await owner(db, "another")):
        with pytest.raises(StillRunning):
            await db.write(claim, KEY, again)


async def test_who_takes_over_from_the_dead_is_told_what_was_made(db: Database) -> None:
    me, heir = await owner(db, "me"), await owner(db, "heir")
    await db.write(claim, KEY, me, "job_1")
    await dies(db, me)
    assert await db.write(claim, KEY, heir) == Claimed("job_1")
    with pytest.raises(StillRunning):
        await db.write(claim, KEY, await owner(db, "third"))


async def test_of_an_owner_thought_dead_and_its_heir_the_first_to_answer_is_right(db: Database) -> None:
    me, heir = await owner(db, "me"), await owner(db, "heir")
    await db.write(claim, KEY, me)
    await dies(db, me)
    await db.write(claim, KEY, heir)
    assert await db.write(answer, KEY, SAID) == SAID
    assert await db.write(answer, KEY, Answer(402, b"late")) == SAID
    assert await db.write(claim, KEY, me) == SAID


async def test_a_claim_that_is_let_go_is_the_next_ones(db: Database) -> None:
    me = await owner(db, "me")
    await db.write(claim, KEY, me, "job_1")
    await db.write(abandon, KEY)
    assert await db.write(claim, KEY, me) == Claimed("job_1")
    await db.write(answer, KEY, SAID)
    await db.write(abandon, KEY)
    assert await db.write(claim, KEY, me) == SAID


async def test_a_claim_whose_transaction_fails_was_none(db: Database) -> None:
    me = await owner(db, "me")

    def refuse(tx: Session) -> None:
        claim(tx, KEY, me)
        raise LookupError

    with pytest.raises(LookupError):
        await db.write(refuse)
    assert await db.write(claim, KEY, me) == Claimed(None)


async def test_of_twenty_at_once_one_has_the_key(db: Database) -> None:
    me = await owner(db, "me")

    def make(tx: Session, number: int) -> Answer | Claimed:
        claimed = claim(tx, KEY, me)
        if isinstance(claimed, Claimed):
            put(tx, f"made by {number}")
        return claimed

    outcomes = await asyncio.gather(*(db.write(make, number) for number in range(20)), return_exceptions=True)
    assert outcomes.count(Claimed(None)) == 1
    assert sum(isinstance(outcome, StillRunning) for outcome in outcomes) == 19


async def test_keys_are_dropped_after_a_week(db: Database) -> None:
    me = await owner(db, "me")

    def age(tx: Session) -> None:
        old = database_now(tx) - KEPT - timedelta(minutes=1)
        tx.execute(update(idempotency).where(idempotency.c.key != "new").values(created_at=old))

    for name in ("old", "new", "unanswered", "older"):
        await db.write(claim, Key("", name, ""), me)
        if name != "unanswered":
            await db.write(answer, Key("", name, ""), SAID)
    assert await db.write(prune) == 0
    await db.write(age)
    assert await db.write(prune, 2) == 2
    assert await db.write(prune) == 1
    assert await db.write(claim, Key("", "new", ""), me) == SAID
    assert await db.read(how_many) == 1


async def test_a_process_that_starts_is_alive_and_on_sqlite_the_only_one(database_url: str) -> None:
    async with opened(database_url) as db:
        await db.write(claim, KEY, await owner(db, "before"))
        wait = await Owner(db, "after").iteration()
        assert 0 < wait < 10
        await Owner(db, "after").start()
        if db.sqlite:
            assert await db.write(claim, KEY, "after") == Claimed(None)
        else:
            with pytest.raises(StillRunning):
                await db.write(claim, KEY, "after")
        with pytest.raises(StillRunning):
            await db.write(claim, KEY, "after")
