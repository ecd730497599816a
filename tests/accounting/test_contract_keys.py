"""By what the numbers of contracts are compared, and what becomes of those that were kept before."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from caravan.kernel.migrations import migrate, on_connection
from services.accounting.vouchers.contract_keys import contract_key


@pytest.mark.parametrize(
    "typed",
    [
        *("XA-2026-017", "xa-2026-017", "ＸＡ－２０２６－０１７", "XA－2026－017", "XA - 2026 - 017"),
        *("XA\u20102026\u2011017", "XA\u20132026\u2014017", "XA\u22122026\u2015017", "XA——2026——017", "XA─2026ー017"),
        *("XA-2026-017\u200b", "\ufeffXA-2026-017", "XA\u3000-\u00a02026-017"),
    ],
)
def test_width_case_spaces_and_dashes_make_no_other_contract(typed: str) -> None:
    assert contract_key(typed) == "XA-2026-017"


def test_other_numbers_are_other_contracts() -> None:
    numbers = (
        "XA-2026-017",
        "XA2026017",
        "XA-2026-17",
        "XA-2026-0一7",
        "XA_2026_017",
        "XA-2026-017(2)",
        "合同-2026-017",
        "~",
        "-",
    )
    assert len({contract_key(one) for one in numbers}) == len(numbers)
    assert contract_key("西科〔2026〕（１７）号") == "西科〔2026〕(17)号"


PROGRAMME = text(
    "INSERT INTO programmes (id, state, starts_at, ends_at, terms, version, created_at) "
    "VALUES ('prg_1', 'published', 0, 1, '{}', 1, 0)"
)
APPLICATION = text(
    "INSERT INTO voucher_applications (id, programme, organization, enterprise, amount, contract_number, state, version, "
    "applied_at, applied_by) VALUES (:id, 'prg_1', :organization, '{}', 1, :number, :state, 1, 0, 'hong')"
)
STORED = (
    ("1", "acme", "XA-17", "withdrawn"),
    ("2", "acme", "xa-17", "issued"),
    ("3", "acme", "XA－17", "approved"),
    ("4", "acme", "XA - 17", "applied"),
    ("5", "acme", "XA — 17", "refused"),
    ("6", "acme", "XA-18", "applied"),
    ("7", "other", "XA-17", "applied"),
    ("8", "acme", None, "applied"),
)


def test_what_was_kept_before_is_compared_too_and_what_repeats_says_so(database_url: str) -> None:
    migrate(database_url, "accounting", "0054")

    def keep(connection: Connection) -> None:
        connection.execute(PROGRAMME)
        for id, organization, number, state in STORED:
            connection.execute(APPLICATION, {"id": id, "organization": organization, "number": number, "state": state})

    def read(connection: Connection) -> list[Any]:
        query = "SELECT id, contract_number, contract_key, contract_repeats FROM voucher_applications ORDER BY id"
        return [tuple(row) for row in connection.execute(text(query))]

    on_connection(database_url, keep)
    migrate(database_url, "accounting")
    assert on_connection(database_url, read) == [
        ("1", "XA-17", "XA-17", None),
        ("2", "xa-17", "XA-17", None),
        ("3", "XA－17", "XA-17", "2"),
        ("4", "XA - 17", "XA-17", "2"),
        ("5", "XA — 17", "XA-17", None),
        ("6", "XA-18", "XA-18", None),
        ("7", "XA-17", "XA-17", None),
        ("8", None, None, None),
    ]
