"""Pages: every item once, in order, and cursors that fit only where they came from."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.kernel.pages import _PageParams
from caravan.kernel.problems import Invalid
from caravan.kernel.tokens import Caller
from tests.kernel.webapp import client_of, create_app

ALICE = Caller("alice", frozenset({"org/org_1:member"}))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(tmp_path)) as client:
        yield client


@pytest.mark.parametrize("limit", [1, 7, 50, 119, 120, 121, 200])
async def test_following_next_gives_every_item_once_in_order(client: httpx.AsyncClient, limit: int) -> None:
    items: list[int] = []
    cursor, pages = None, 0
    while True:
        page = (
            await client.get("/v1/animals", params={"limit": limit} | ({"cursor": cursor} if cursor else {}))
        ).json()
        items += page["items"]
        pages += 1
        cursor = page["next"]
        if cursor is None:
            break
        assert len(page["items"]) == limit
    assert items == list(range(120))
    assert pages == -(-120 // limit)


async def test_a_page_has_fifty_items_when_no_limit_is_given(client: httpx.AsyncClient) -> None:
    assert len((await client.get("/v1/animals")).json()["items"]) == 50


@given(st.lists(st.integers(), unique=True, max_size=30), st.integers(min_value=1, max_value=10))
def test_pages_of_any_list_join_to_the_list(values: list[int], limit: int) -> None:
    values = sorted(v for v in values if abs(v) < 2**63)
    seen: list[int] = []
    cursor = None
    while True:
        listing = _PageParams(limit, cursor).listing("values", ALICE, (int, str))
        rest = [v for v in values if listing.after is None or v > int(listing.after[0])]
        page = listing.page(rest[: listing.fetch], key=lambda v: (v, f"v{v}"))
        seen += page.items
        cursor = page.next
        if cursor is None:
            break
    assert seen == values


def cursor_of(name: str = "jobs", caller: Caller | None = ALICE, state: str | None = "running") -> str:
    page = _PageParams(1, None).listing(name, caller, (str,), state=state).page(["a", "b"], key=lambda v: (v,))
    assert page.next is not None
    return page.next


@pytest.mark.parametrize(
    ("name", "caller", "kinds", "state"),
    [
        ("quotes", ALICE, (str,), "running"),
        ("jobs", Caller("bob", ALICE.permissions), (str,), "running"),
        ("jobs", Caller("alice", frozenset({"org/org_2:member"})), (str,), "running"),
        ("jobs", None, (str,), "running"),
        ("jobs", ALICE, (str,), "failed"),
        ("jobs", ALICE, (str,), None),
        ("jobs", ALICE, (int,), "running"),
        ("jobs", ALICE, (str, str), "running"),
    ],
)
def test_a_cursor_of_another_list_caller_or_filter_is_refused(
    name: str, caller: Caller | None, kinds: tuple[type[str] | type[int], ...], state: str | None
) -> None:
    with pytest.raises(Invalid) as caught:
        _PageParams(1, cursor_of()).listing(name, caller, kinds, state=state)
    assert [error.pointer for error in caught.value.errors] == ["query/cursor"]
    assert _PageParams(1, cursor_of()).listing("jobs", ALICE, (str,), state="running").after == ("a",)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: urlsafe_b64encode(b).decode()))
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        _PageParams(50, cursor).listing("jobs", ALICE, (str,), state="running")


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_cursor_with_any_byte_changed_is_refused(position: int, change: int) -> None:
    cursor = cursor_of()
    raw = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[position % len(raw)] ^= change
    with pytest.raises(Invalid):
        _PageParams(50, urlsafe_b64encode(raw).rstrip(b"=").decode()).listing("jobs", ALICE, (str,), state="running")


@pytest.mark.parametrize("limit", ["0", "-1", "201", "1.5", "", "many"])
async def test_a_limit_outside_1_to_200_is_refused(client: httpx.AsyncClient, limit: str) -> None:
    answer = await client.get("/v1/animals", params={"limit": limit})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["query/limit"]
