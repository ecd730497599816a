"""The mutants of a module's source, by cosmic-ray's operators."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from bench.mutation.survivors import Mutation

OPERATORS: Final = (
    "AddNot",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_FloorDiv",
    "ReplaceBinaryOperator_Mul_FloorDiv",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBreakWithContinue",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ZeroIterationForLoop",
)
"""One step each: an edge that is in instead of out, a sign, a condition. Wilder ones (`+` to `<<`) die of these tests, too."""

UNTRIED: Final = ("@dataclass(", "@lru_cache(")
"""Lines that decide no answer, but how classes are laid out and how much is kept. What is assigned to a frozen one mypy sees."""


class Mutant(NamedTuple):
    mutation: Mutation
    code: str


def mutants(root: Path, module: str) -> Iterator[Mutant]:
    """Of the file `module` under `root`, each once."""
    source = (root / module).read_text()
    seen = {source}
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        for occurrence in count():
            code = mutate_code(source, operator, occurrence)
            if code is None:
                break
            if code not in seen:
                seen.add(code)
                mutation = Mutation(module, *_changed(source.splitlines(), code.splitlines()))
                if not mutation.before.startswith(UNTRIED):
                    yield Mutant(mutation, code)


def _changed(before: list[str], after: list[str]) -> tuple[str, str]:
    steps = [step for step in SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if step[0] != "equal"]
    lines = ((before[a:b], after[c:d]) for _, a, b, c, d in steps)
    old, new = zip(*lines, strict=True)
    return _joined(old), _joined(new)


def _joined(parts: tuple[list[str], ...]) -> str:
    return " ".join(" ".join(line.split()) for part in parts for line in part)
