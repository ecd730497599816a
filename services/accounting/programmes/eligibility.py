"""Whether an enterprise may have a programme's voucher, and what it lacks. Pure."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date

from caravan.contracts.base import Words
from caravan.contracts.programmes import EligibilityRule, Enterprise, EnterpriseSize, ProgrammeTerms, Unmet

SIZES: dict[EnterpriseSize, str] = {
    EnterpriseSize.MICRO: "微型",
    EnterpriseSize.SMALL: "小型",
    EnterpriseSize.MEDIUM: "中型",
    EnterpriseSize.LARGE: "大型",
}


def unmet(programme: ProgrammeTerms, enterprise: Enterprise, use: str | None, on: date) -> tuple[Unmet, ...]:
    """The rules that it doesn't meet on that day (of the platform's zone); none: it may have one."""
    return tuple(Unmet(rule=rule, words=Words(zh=zh, en=en)) for rule, zh, en in _lacks(programme, enterprise, use, on))


def within(place: str, region: str) -> bool:
    """Whether the division (GB/T 2260) lies in the region: a province ends in four zeros, a prefecture in two."""
    return place.startswith(region[:2] if region.endswith("0000") else region[:4] if region.endswith("00") else region)


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or that month's last one."""
    years, month = divmod(day.month - 1 + months, 12)
    last = monthrange(day.year + years, month + 1)[1]
    return date(day.year + years, month + 1, min(day.day, last))


def _lacks(
    programme: ProgrammeTerms, enterprise: Enterprise, use: str | None, on: date
) -> Iterator[tuple[EligibilityRule, str, str]]:
    rules = programme.eligibility
    if rules.places and not any(within(enterprise.place, region) for region in rules.places):
        regions = ", ".join(rules.places)
        yield (
            EligibilityRule.PLACES,
            f"注册地须在行政区划 {regions}（GB/T 2260）内，现为 {enterprise.place}",
            f"It must be registered in {regions} (GB/T 2260), and is registered in {enterprise.place}",
        )
    if rules.industries and not enterprise.industry.startswith(rules.industries):
        classes = ", ".join(rules.industries)
        yield (
            EligibilityRule.INDUSTRIES,
            f"所属行业须为 {classes}（GB/T 4754），现为 {enterprise.industry}",
            f"Its industry must be of {classes} (GB/T 4754), and is {enterprise.industry}",
        )
    if rules.sizes and enterprise.size not in rules.sizes:
        yield (
            EligibilityRule.SIZES,
            f"企业规模须为{'、'.join(SIZES[size] for size in rules.sizes)}，现为{SIZES[enterprise.size]}",
            f"Its size must be {', '.join(rules.sizes)}, and is {enterprise.size}",
        )
    since = enterprise.registered_on
    if rules.oldest_months is not None and on > months_after(since, rules.oldest_months):
        yield (
            EligibilityRule.OLDEST,
            f"注册时间须不超过 {rules.oldest_months} 个月，注册日期为 {since}",
            f"It must have been registered at most {rules.oldest_months} months ago, and was on {since}",
        )
    if rules.youngest_months is not None and on < months_after(since, rules.youngest_months):
        yield (
            EligibilityRule.YOUNGEST,
            f"注册须满 {rules.youngest_months} 个月，可自 {months_after(since, rules.youngest_months)} 起申请",
            f"It must have been registered for {rules.youngest_months} months: apply from "
            f"{months_after(since, rules.youngest_months)} on",
        )
    if rules.uses and use not in rules.uses:
        uses = ", ".join(rules.uses)
        yield (EligibilityRule.USES, f"用途须为以下之一：{uses}", f"Give one of these as its use: {uses}")
    if rules.suppliers and rules.unaffiliated and not set(rules.suppliers) - set(enterprise.affiliates):
        yield (
            EligibilityRule.SUPPLIERS,
            "与名单内所有供应方均有关联关系；须至少有一家无关联",
            "It is affiliated with all suppliers on the list; at least one must not be affiliated with it",
        )
    if rules.clear_credit and not enterprise.clear_credit:
        yield (
            EligibilityRule.CREDIT,
            "须未被列入失信名单；请在信用修复后再申请",
            "It must not be listed as dishonest; apply again once its credit is restored",
        )
