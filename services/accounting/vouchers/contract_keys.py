"""By what the numbers of contracts are compared. Pure."""

import re
import unicodedata
from typing import Final

_DASHES: Final = "\u02d7\u2043\u2212\u2500\u2501\u30fc"
"""Typed for a dash, besides what is one by Unicode: modifier minus, hyphen bullet, minus, box drawing, the Japanese mark of long vowels."""


def contract_key(number: str) -> str:
    """The same of numbers that differ in nothing but width and case (NFKC, upper case), in what can't be seen, and in their dashes: which
    ones, and how many in a row, as a Chinese dash is two.
    """
    typed = unicodedata.normalize("NFKC", number).upper()
    return re.sub("-+", "-", "".join(map(_compared, typed)))


def _compared(one: str) -> str:
    category = unicodedata.category(one)
    if category == "Pd" or one in _DASHES:
        return "-"
    return "" if one.isspace() or category == "Cf" else one
