"""Tables in terminals of any width."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from caravan.cli.show import table

COLUMNS = ("!voucher", "!programme", "name", ">amount", "why")
ID, OTHER = f"vou_{1:032x}", f"prg_{2:032x}"
NARROWEST = len(ID) + len("programme") + 2 * 2


def shown(width: int, *rows: tuple[str, ...]) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(table(COLUMNS, rows, title="Of 2026"))
    return out.getvalue()


words = st.text("省市联动算力券 of a b", max_size=80)


@given(width=st.integers(NARROWEST, 300), name=words, why=words, fen=st.integers(0, 10**15))
def test_ids_and_amounts_are_whole_at_any_width(width: int, name: str, why: str, fen: int) -> None:
    amount = f"{fen // 100}.{fen % 100:02}"
    text = shown(width, (ID, OTHER, name, amount, why), (OTHER, "", "", "2.00", ""))
    assert all(one in text for one in (ID, OTHER, amount, "2.00", "Of 2026"))
    assert all(cell_len(line) <= width for line in text.splitlines())


def test_rows_stand_below_each_other_where_a_table_has_no_room() -> None:
    rows = ((ID, OTHER, "算力券", "1.00", ""), (OTHER, "", "", "2.00", "over"))
    assert [line.split() for line in shown(80, *rows).splitlines()] == [
        ["Of", "2026"],
        ["voucher", ID],
        ["programme", OTHER],
        ["name", "算力券"],
        ["amount", "1.00"],
        [],
        ["voucher", OTHER],
        ["amount", "2.00"],
        ["why", "over"],
    ]
    assert "┃" in shown(120, *rows) and "┃" in shown(60), "there is room, or nothing to cut"
