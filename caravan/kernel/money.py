"""Money: integer fen, shown as a string with two places. Unit prices: exact decimals of at most six places.

No float comes near either. Rounding is half away from zero and happens in one function, `divide_half_away`.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic.functional_validators import PlainValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_MONEY = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\.[0-9]{2}")
_TOO_LONG = re.compile(r"-?[1-9][0-9]{16,}\.[0-9]{2}")
_PRICE = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, order=True, slots=True)
class Money:
    """An amount of the platform's currency (CNY) in fen. In JSON: `"12.34"`."""

    fen: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `"12.34"`. Raises ValueError for anything but a plain decimal with two places."""
        if not _MONEY.fullmatch(text):
            raise ValueError(f"not an amount with two places: {text!r}")
        return cls(int(text.replace(".", "")))

    def __str__(self) -> str:
        whole, part = divmod(abs(self.fen), 100)
        return f"{'-' if self.fen < 0 else ''}{whole}.{part:02d}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.fen + other.fen)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.fen - other.fen)

    def __neg__(self) -> "Money":
        return Money(-self.fen)

    def __bool__(self) -> bool:
        return self.fen != 0

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _money,
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": f"^{_MONEY.pattern}$",
            "description": "An amount in CNY with two places.",
            "examples": ["12.34"],
        }


ZERO = Money(0)
MAX_FEN: Final = 10**15
"""The largest amount that is asked for at once: ten trillion yuan. Totals of thousands of them fit the database's integers."""


def _money(value: object) -> Money:
    if isinstance(value, Money):
        return value
    if isinstance(value, str) and _MONEY.fullmatch(value):
        return Money.parse(value)
    if isinstance(value, str) and _TOO_LONG.fullmatch(value):
        raise PydanticCustomError("money", "This amount is too large: give 16 digits before the point at most")
    raise PydanticCustomError("money", 'Money is a string with two places, for example "12.34"')


def _unit_price(value: object) -> Decimal:
    if isinstance(value, Decimal):
        value = format(value, "f")
    if isinstance(value, str) and _PRICE.fullmatch(value):
        return Decimal(value)
    raise PydanticCustomError(
        "unit_price", 'A unit price is a string: a decimal of at most six places, not negative, for example "0.35"'
    )


UnitPrice = Annotated[
    Decimal,
    PlainValidator(_unit_price),
    PlainSerializer(lambda price: format(price, "f"), return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_PRICE.pattern}$",
            "description": "CNY per unit, at most six places.",
            "examples": ["0.35"],
        }
    ),
]
"""CNY for one unit of a component. In JSON a string; in databases its text."""


def divide_half_away(numerator: int, denominator: int) -> int:
    """`numerator / denominator` (positive) rounded to an integer, halves away from zero (四舍五入), exact."""
    rounded = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -rounded if numerator < 0 else rounded


def percent(hundredths: int) -> str:
    """A rate in hundredths of a percent, not negative, as people write it: `6.00%`, which spreadsheets read as 0.06."""
    whole, part = divmod(hundredths, 100)
    return f"{whole}.{part:02d}%"
