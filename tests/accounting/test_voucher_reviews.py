"""Reviewing applications for vouchers through HTTP."""

from typing import Any

import pytest

from caravan.contracts.programmes import EligibilityRule
from caravan.contracts.vouchers import RefusalRule
from caravan.kernel import ids
from tests.accounting.programmes_cases import FIRST, PASSES, applied, office, published, reviewed
from tests.accounting.world import World
from tests.support import Json, Person, ok, refused

FAILS = {
    "passed": False,
    "reason": "营业执照上的注册地不在辖区内",
    "rule": "places",
    "remedy": "迁入辖区后再申请",
}


def path(application: Json, verb: str = "review") -> str:
    return f"/voucher-applications/{application['id']}/{verb}"


def reviewer(world: World, name: str, *more: str) -> Person:
    return world.service.person(name, "platform:programmes", *more)


async def test_two_persons_pass_an_application_one_after_the_other(spring: World) -> None:
    made = await applied(spring, await published(spring))
    once = await reviewed(spring, made, PASSES)
    assert (once["state"], once["voucher"]) == ("under_review", None)
    second = await reviewer(spring, "second").post(path(made), PASSES, {"If-Match": '"2"'})
    approved = ok(second)
    assert (approved["state"], second.headers["ETag"]) == ("approved", '"3"')
    assert [(one["stage"], one["reviewed_by"], one["passed"]) for one in approved["reviews"]] == [
        (1, "reviewer-1", True), (2, "second", True),
    ]  # fmt: skip
    assert ok(await spring.member.get(f"/voucher-applications/{made['id']}")) == approved
    auditor = spring.service.person("auditor", "platform:admin")
    audited = ok(await auditor.get("/audit", entity=made["id"]))["items"]
    assert [(one["action"], one["subject"]) for one in audited][:2] == [
        ("review_voucher_application", "second"), ("review_voucher_application", "reviewer-1"),
    ]  # fmt: skip


@pytest.mark.parametrize("before", [(), (PASSES,)])
async def test_what_does_not_pass_at_either_stage_is_refused_for_good_with_what_would_satisfy_it(
    spring: World, before: tuple[Json, ...]
) -> None:
    made = await applied(spring, await published(spring))
    gone = await reviewed(spring, made, *before, FAILS)
    assert gone["state"] == "refused"
    said = ok(await spring.member.get(f"/voucher-applications/{made['id']}"))["reviews"][-1]
    assert said == FAILS | {
        "stage": len(before) + 1, "reviewed_by": f"reviewer-{len(before) + 1}", "reviewed_at": "2026-03-31T04:00:00Z",
    }  # fmt: skip
    version = {"If-Match": f'"{gone["version"]}"'}
    refused(await reviewer(spring, "third").post(path(made), PASSES, version), 409, "wrong_state")
    refused(await spring.admin.post(path(made, "withdraw")), 409, "wrong_state")
    refused(await office(spring).post(path(made, "issue")), 409, "wrong_state")


async def test_what_is_approved_is_refused_by_a_third_person_until_a_voucher_is_issued(spring: World) -> None:
    programme = await published(spring)
    contract = {"number": "XA-17", "amount": "5000.00"}
    approved = await reviewed(spring, await applied(spring, programme, contract=contract), PASSES, PASSES)
    version = {"If-Match": f'"{approved["version"]}"'}
    problem = refused(await reviewer(spring, "third").post(path(approved), PASSES, version), 409, "wrong_state")
    assert problem["allowed"] == ["applied", "under_review"]
    for one in ("reviewer-1", "reviewer-2", "admin"):
        refused(await reviewer(spring, one).post(path(approved), FAILS, version), 409, "same_reviewer")
    refused(await reviewer(spring, "third").post(path(approved), FAILS, FIRST), 412, "stale")
    gone = ok(await reviewer(spring, "third").post(path(approved), FAILS, version))
    assert (gone["state"], [one["stage"] for one in gone["reviews"]]) == ("refused", [1, 2, 3])
    refused(await office(spring).post(path(approved, "issue")), 409, "wrong_state")
    again = await reviewed(spring, await applied(spring, programme, contract=contract), PASSES, PASSES)
    ok(await office(spring).post(path(again, "issue")))
    version = {"If-Match": f'"{again["version"] + 1}"'}
    refused(await reviewer(spring, "third").post(path(again), FAILS, version), 409, "wrong_state")


async def test_who_applied_or_reviewed_it_before_does_not_review_it(spring: World) -> None:
    made = await applied(spring, await published(spring))
    refused(await reviewer(spring, "admin").post(path(made), PASSES, FIRST), 409, "same_reviewer")
    once = await reviewed(spring, made, PASSES)
    version = {"If-Match": f'"{once["version"]}"'}
    for review in (PASSES, FAILS):
        refused(await reviewer(spring, "reviewer-1").post(path(made), review, version), 409, "same_reviewer")
    assert ok(await spring.member.get(f"/voucher-applications/{made['id']}")) == once


async def test_who_attached_evidence_does_not_review_it(spring: World) -> None:
    made = await applied(spring, await published(spring))
    colleague = spring.service.person("colleague", f"org/{spring.organization}:admin", "platform:programmes")
    ok(await colleague.upload(f"/voucher-applications/{made['id']}/evidence/a.pdf", b"licence"))
    read = ok(await spring.member.get(f"/voucher-applications/{made['id']}"))
    version = {"If-Match": f'"{read["version"]}"'}
    refused(await colleague.post(path(made), PASSES, version), 409, "same_reviewer")
    await reviewed(spring, read, PASSES)


async def test_an_application_is_reviewed_as_it_was_read(spring: World) -> None:
    made = await applied(spring, await published(spring))
    refused(await office(spring).post(path(made), PASSES), 428, "version_needed")
    file = f"/voucher-applications/{made['id']}/evidence/a.pdf"
    ok(await spring.admin.upload(file, b"other"))
    refused(await office(spring).post(path(made), PASSES, FIRST), 412, "stale")
    read = ok(await office(spring).get(f"/voucher-applications/{made['id']}"))
    await reviewed(spring, read, PASSES)
    refused(await spring.admin.upload(file, b"late"), 409, "wrong_state")


@pytest.mark.parametrize(
    "review",
    [
        {"passed": True, "reason": ""},
        {"passed": False, "reason": "不符合"},
        {"passed": False, "reason": "不符合", "rule": "places"},
        {"passed": False, "reason": "不符合", "remedy": "补正"},
        {"passed": False, "reason": "不符合", "rule": "places", "remedy": ""},
        {"passed": False, "reason": "不符合", "rule": "taste", "remedy": "补正"},
        {"passed": True, "reason": "好", "remedy": "无"},
        {"passed": True, "reason": "好", "rule": "places"},
    ],
)
async def test_a_refusal_names_its_rule_and_what_would_satisfy_it_and_a_pass_does_not(
    spring: World, review: Any
) -> None:
    made = await applied(spring, await published(spring))
    refused(await office(spring).post(path(made), review, FIRST), 422, "invalid")


@pytest.mark.parametrize("rule", ["evidence", "amount", "contract", "other"])
async def test_a_refusal_may_be_for_what_is_asked_itself(spring: World, rule: str) -> None:
    made = await applied(spring, await published(spring))
    gone = await reviewed(spring, made, FAILS | {"rule": rule})
    assert (gone["state"], gone["reviews"][-1]["rule"]) == ("refused", rule)


def test_a_refusal_may_be_by_each_rule_of_eligibility() -> None:
    assert {*EligibilityRule} <= {*RefusalRule}


async def test_only_the_office_reviews(spring: World) -> None:
    made = await applied(spring, await published(spring))
    for person in (spring.admin, spring.finance, spring.seller, spring.service.person("a", "platform:admin")):
        refused(await person.post(path(made), PASSES, FIRST), 404, "not_found")
        refused(await person.post(path(made, "issue")), 404, "not_found")
    unknown = {"id": ids.new("vap")}
    refused(await office(spring).post(path(unknown), PASSES, FIRST), 404, "not_found")


async def test_an_application_is_withdrawn_until_a_voucher_is_issued(spring: World) -> None:
    programme = await published(spring)
    for reviews in ((PASSES,), (PASSES, PASSES)):
        made = await reviewed(spring, await applied(spring, programme), *reviews)
        assert ok(await spring.admin.post(path(made, "withdraw")))["state"] == "withdrawn"
        refused(await office(spring).post(path(made, "issue")), 409, "wrong_state")
    made = await reviewed(spring, await applied(spring, programme), PASSES, PASSES)
    ok(await office(spring).post(path(made, "issue")))
    refused(await spring.admin.post(path(made, "withdraw")), 409, "wrong_state")
