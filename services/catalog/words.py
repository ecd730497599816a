"""Text search: what is searched and what is asked are brought to one form, and compared as plain text on both engines.

NFKC makes one of full-width and half-width letters, casefolding one of upper and lower case. Chinese needs no word breaks: a term is
found anywhere in a text. A term with spaces or hyphens left out is found too in `squashed` texts (RTX4090 for RTX 4090).
"""

import re
import unicodedata
from typing import Final

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import InstrumentedAttribute

MAX_TERMS: Final = 10


def normalized(*parts: str) -> str:
    """`parts` as they are stored for searching, a line each."""
    return "\n".join(" ".join(unicodedata.normalize("NFKC", part).casefold().split()) for part in parts)


def squashed(*parts: str) -> str:
    """As `normalized`, followed by each part without its spaces and hyphens."""
    plain = normalized(*parts)
    joined = re.sub(r"[ \-]", "", plain)
    return f"{plain}\n{joined}"


def terms(text: str) -> list[str]:
    """The words of a question; those beyond MAX_TERMS are left out."""
    return normalized(text).split()[:MAX_TERMS]


def matches(
    text: str, columns: tuple[InstrumentedAttribute[str] | InstrumentedAttribute[str | None], ...]
) -> list[ColumnElement[bool]]:
    """Conditions, all to be met: each term stands in some column. A column that an outer join left null has none."""
    return [or_(*(column.contains(term, autoescape=True) for column in columns)) for term in terms(text)]
