"""Holding what an enterprise is said to be, and what a voucher is for, against the names that a programme gives. Pure."""

from collections.abc import Sequence

from caravan.contracts.programmes import ProgrammeTerms
from caravan.kernel.problems import FieldError, Invalid


def check_names(terms: ProgrammeTerms, kinds: Sequence[str], use: str | None, *, kinds_at: str, use_at: str) -> None:
    """Raises Invalid for a kind of enterprise or a use that the programme doesn't name: it would count for nothing. `kinds_at`, `use_at`:
    the pointers of both."""
    named_kinds = {rate.kind for rate in terms.rates}
    uses = {*terms.eligibility.uses, *(rate.use for rate in terms.rates)}
    given = [(f"{kinds_at}/{place}", kind, named_kinds) for place, kind in enumerate(kinds)]
    if use is not None:
        given.append((use_at, use, uses))
    errors = [
        FieldError(
            pointer=pointer,
            code="not_named",
            detail=_remedy(sorted(filter(None, named))),
        )
        for pointer, name, named in given
        if name not in named
    ]
    if errors:
        raise Invalid(errors=errors)


def _remedy(named: Sequence[str]) -> str:
    if not named:
        return "The programme names none: leave it out"
    return f"The programme names {', '.join(named)}: give one of these, or leave it out"
