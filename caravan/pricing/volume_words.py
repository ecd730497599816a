"""The words of a volume discount, in Chinese and English: a sum that can be checked by head. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from caravan.contracts.base import Words
from caravan.contracts.prices import Component, VolumeTier
from caravan.kernel.money import Money
from caravan.pricing.explained_words import COMPONENTS, Unit, decimal
from caravan.pricing.volume import tier_parts, volume_discount


def discounted(component: Component, tiers: Sequence[VolumeTier], quantity: int, basis: Money) -> Words:
    """What the total is, what of it lies above which threshold, and what that takes off."""
    reached, together = tier_parts(component, tiers, quantity), Unit(component).together(quantity)
    zh, en = f"用量折扣：共 {together.zh}，计 {basis} 元", f"volume discount: {together.en} came to {basis}"
    if not reached:
        return Words(zh=f"{zh}，未达到折扣门槛", en=f"{en}, which reaches no threshold")
    of = Words(zh="个作业", en="jobs") if component is Component.JOB else COMPONENTS[component]
    steps = [(tier.above, percent(tier.percent_off), part) for tier, part in reached]
    zh_steps = "，".join(f"超过 {above} {of.zh}的 {part} 减免 {off}%" for above, off, part in steps)
    en_steps = ", ".join(f"{part} above {above} {of.en} at {off}% off" for above, off, part in steps)
    shares = " + ".join(f"{off} x {part}" for _, off, part in steps)
    whole = Fraction(basis.fen, 100) * sum(Fraction(tier.percent_off) * part for tier, part in reached)
    exact, off = decimal(whole / 100 / quantity), Money(volume_discount(component, tiers, quantity, basis.fen))
    product = f"{basis} x ({shares}) / (100 x {quantity}) = {exact}"
    if exact == str(off):
        return Words(zh=f"{zh}；{zh_steps}；{product}", en=f"{en}; {en_steps}; {product}")
    return Words(zh=f"{zh}；{zh_steps}；{product}，四舍五入为 {off}", en=f"{en}; {en_steps}; {product}, rounded {off}")


def percent(value: Decimal) -> str:
    """Without zeros that say nothing: `12.5`, `10`."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
