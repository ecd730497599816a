"""Bar charts as SVG: parts of amounts, in named groups. Pure; widths are whole pixels."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from xml.etree import ElementTree as Xml

from rich.cells import cell_len

from caravan.kernel.money import Money

WIDTH: Final = 960
LEFT: Final = 270
"""Where bars begin."""
LONGEST: Final = 420
ROW: Final = 26
LABEL_CELLS: Final = 34
MOST: Final = 40
"""Bars of a group; what is behind them is counted."""
WHOLE, PART, INK, FAINT = "#c6d4e1", "#1f6fb2", "#1b1b1b", "#5c6670"


class Bar(NamedTuple):
    """`part` of `whole`; below zero no bar is drawn."""

    label: str
    whole: Money
    part: Money


class Bars(NamedTuple):
    title: str
    bars: Sequence[Bar]


def drawn(title: str, whole: str, part: str, groups: Sequence[Bars]) -> str:
    """An SVG document. `whole` and `part` say what the two colours are."""
    root = Xml.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "font-size": "13"})
    root.set("font-family", "'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif")
    Xml.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    _text(root, 16, 32, title, size=18)
    for x, colour, words in ((16, WHOLE, whole), (LEFT, PART, part)):
        _rect(root, x, 46, 12, colour)
        _text(root, x + 18, 57, words, colour=FAINT)
    y = 72
    scale = max((max(bar.whole.fen, bar.part.fen) for group in groups for bar in group.bars), default=0)
    for group in groups:
        y += 28
        _text(root, 16, y, group.title, size=15)
        y += 10
        for bar in group.bars[:MOST]:
            _bar(root, y, bar, max(scale, 1))
            y += ROW
        if (behind := len(group.bars) - MOST) > 0:
            _text(root, 16, y + 14, f"另有 {behind} 个 {behind} more", colour=FAINT)
            y += ROW
    root.set("viewBox", f"0 0 {WIDTH} {y + 16}")
    root.set("width", str(WIDTH))
    root.set("height", str(y + 16))
    return Xml.tostring(root, encoding="unicode") + "\n"


def _bar(root: Xml.Element, y: int, bar: Bar, scale: int) -> None:
    row = Xml.SubElement(root, "g")
    Xml.SubElement(row, "title").text = bar.label
    _text(row, 16, y + 14, _short(bar.label))
    whole, part = (max(0, one.fen) * LONGEST // scale for one in (bar.whole, bar.part))
    _rect(row, LEFT, y + 2, whole, WHOLE)
    _rect(row, LEFT, y + 2, part, PART)
    _text(row, LEFT + max(whole, part) + 8, y + 14, f"{_read(bar.part)} / {_read(bar.whole)}", colour=FAINT)


def _read(money: Money) -> str:
    """With commas, as people read large amounts."""
    yuan, _, fen = str(money).partition(".")
    return f"{int(yuan):,}.{fen}" if int(yuan) else str(money)


def _short(label: str) -> str:
    if cell_len(label) <= LABEL_CELLS:
        return label
    kept = label
    while cell_len(kept) >= LABEL_CELLS:
        kept = kept[:-1]
    return f"{kept}…"


def _rect(root: Xml.Element, x: int, y: int, width: int, colour: str) -> None:
    place = {"x": str(x), "y": str(y), "width": str(width), "height": "14"}
    Xml.SubElement(root, "rect", place | {"fill": colour})


def _text(root: Xml.Element, x: int, y: int, words: str, *, size: int | None = None, colour: str = INK) -> None:
    place = {"x": str(x), "y": str(y), "fill": colour} | ({} if size is None else {"font-size": str(size)})
    Xml.SubElement(root, "text", place).text = words
