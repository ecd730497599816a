"""Who bears a line and why, and what an adjustment corrects: in words that can be checked by head. Pure.

What a price is made of, day by day, is said by `caravan.pricing.explained`.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from caravan.contracts.base import Words
from caravan.contracts.explanations import Correction, ExplainedBearer, Moved
from caravan.contracts.statements import BearerKind, BearerReason
from caravan.kernel.money import Money
from caravan.pricing.explained_days import Stretch, joined
from caravan.pricing.explained_words import Unit, factor, summed, written
from services.accounting.charging.lines import Portion

BEARERS: Final = {
    BearerKind.ORGANIZATION: Words(zh="由企业承担", en="the organization bears it"),
    BearerKind.PROVIDER: Words(zh="由算力中心承担", en="the centre bears it"),
    BearerKind.NOBODY: Words(zh="不收费", en="nobody pays for it"),
}
BORE: Final = {
    BearerKind.ORGANIZATION: Words(zh="此前由企业承担", en="the organization bore it"),
    BearerKind.PROVIDER: Words(zh="此前由算力中心承担", en="the centre bore it"),
    BearerKind.NOBODY: Words(zh="此前不收费", en="nobody paid for it"),
}
"""Of a line of which nothing is left."""
REASONS: Final = {
    BearerReason.NOTIONAL: Words(
        zh="该集群当时试行计价：金额只作展示",
        en="its site priced that time and didn't bill it: the amount is shown only",
    ),
    BearerReason.TRACKED: Words(zh="该集群当时仅记录用量", en="its site only counted usage at that time"),
    BearerReason.SITE_FAULT: Words(
        zh="这次运行因算力中心的故障而结束或失联，企业不为此付费",
        en="the run ended by the site's fault or was lost there, which no organization pays for",
    ),
    BearerReason.OVERRUN: Words(
        zh="超出这次运行获准的规格或时长，或者超出作业的预留金额，企业不为此付费",
        en="it is beyond the shape or time that the run was granted, or beyond what was held for the job: no organization pays for it",
    ),
    BearerReason.PREEMPTED: Words(
        zh="算力中心结束了这次运行，把资源让给其他作业，企业不为此付费",
        en="the centre ended the run to make room for another job, which no organization pays for",
    ),
    BearerReason.DUPLICATE: Words(
        zh="同一任务被重复运行，这次运行本不应发生",
        en="it is a second run of the same task, which should never have run",
    ),
}

PREEMPTED: Final = Words(
    zh="其中有被抢占的运行（为其他作业让出资源），按安排时该产品的规定也由企业承担",
    en="runs that made room for another job, too, as their offering said when they were placed",
)


def stretches(portions: Iterable[Portion]) -> list[Stretch]:
    """The seconds of one line: its portions by run and time, joined where they meet."""
    return joined(Stretch(portion.run, portion.start, portion.end, portion.units) for portion in portions)


def arithmetic(unit: Unit, factors: Sequence[Stretch], quantity: int, unit_price: Decimal) -> Words:
    """`2 cores x 40 s = 80 core-seconds; 80 x 36.00 / 3600 = 0.80`. Without factors it begins at the quantity."""
    return summed(unit, [factor(unit, one.units, one.end - one.start) for one in factors], 0, quantity, unit_price)


def bearer(kind: BearerKind, reason: BearerReason | None, preempted: bool = False) -> ExplainedBearer:
    """Who bears a line, and why not the organization; or why that also bears what was `preempted`, if something of the line was."""
    who = BEARERS[kind]
    why = PREEMPTED if preempted and kind is BearerKind.ORGANIZATION else None
    if reason is not None:
        why = REASONS[reason]
    if why is not None:
        who = Words(zh=f"{who.zh}：{why.zh}", en=f"{who.en}: {why.en}")
    return ExplainedBearer(bearer=kind, reason=reason, words=who)


def correction(period: str, name: str, billed_before: Money, now: Money) -> Correction:
    """What an adjustment adds to what was billed of a closed period."""
    difference = now - billed_before
    return Correction(
        period=period,
        period_name=name,
        billed_before=billed_before,
        now=now,
        difference=difference,
        words=Words(
            zh=f"更正账期 {name}：现为 {now}，此前已计 {billed_before}，差额 {difference}",
            en=f"corrects the period {name}: now {now}, billed before {billed_before}, difference {difference}",
        ),
    )


class Decided(NamedTuple):
    """A price correction, and why it was proposed."""

    id: str
    reason: str


def moved(row: Any, other: Any, unit: Unit, contests: Sequence[str], corrections: Sequence[Decided]) -> Moved:
    """What the adjustment `other`, a row of `lines`, has more where `row` has less, or less where that has more; who bears it, where that
    is another; and by what it was moved.
    """
    counted, price, amount = unit.together(abs(other.quantity)), written(Decimal(other.unit_price)), Money(other.amount)
    kind, reason = BearerKind(other.bearer), BearerReason(other.reason) if other.reason else None
    _, gaining = sorted((row, other), key=lambda one: int(one.quantity))
    if gaining is other:
        who = bearer(kind, reason).words
        said = Words(
            zh=f"改记在 {other.id}：增加 {counted.zh}，单价 {price}，金额 {amount}",
            en=f"instead, {other.id} has {counted.en} more at {price}: {amount}",
        )
    else:
        who = BORE[kind]
        said = Words(
            zh=f"转自 {other.id}：减少 {counted.zh}，单价 {price}，金额 {amount}",
            en=f"it comes from {other.id}, which has {counted.en} less at {price}: {amount}",
        )
    parts = [said]
    if (row.bearer, row.reason) != (other.bearer, other.reason):
        parts.append(who)
    parts += [
        Words(
            zh=f"算力中心的申诉 {contest} 成立，这次运行不再因其结局而由算力中心承担",
            en=f"finance upheld the contest {contest}: the centre doesn't bear the run for how it ended any more",
        )
        for contest in contests
    ]
    parts += [
        Words(zh=f"按价格更正 {one.id}：{one.reason}", en=f"by the price correction {one.id}: {one.reason}")
        for one in corrections
    ]
    return Moved(
        line=other.id,
        quantity=other.quantity,
        unit_price=Decimal(other.unit_price),
        amount=amount,
        price_list=other.price_list,
        bearer=kind,
        reason=reason,
        contests=tuple(contests),
        price_corrections=tuple(one.id for one in corrections),
        words=in_one(parts),
    )


def in_one(parts: Sequence[Words]) -> Words:
    """One sentence of several."""
    return Words(zh="；".join(one.zh for one in parts), en="; ".join(one.en for one in parts))


def adjusted(arithmetic: Words, billed_before: Money, difference: Money) -> Words:
    """The arithmetic of a total as it is known now, less what was billed before."""
    return Words(
        zh=f"现为 {arithmetic.zh}；此前已计 {billed_before}；差额 {difference}",
        en=f"now {arithmetic.en}; {billed_before} billed before; difference {difference}",
    )
