"""Applying for vouchers through HTTP: what is refused at once, what evidence is kept, and who sees it."""

import hashlib
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from caravan.kernel import ids
from caravan.kernel.money import Money
from services.accounting.vouchers.evidence import APPLICATIONS
from tests.accounting.programmes_cases import ENTERPRISE, Hands, applied, asked, drafted, key, office, published
from tests.accounting.test_site_runs import plan, reads
from tests.accounting.world import World
from tests.support import Json, Person, ok, pointers, refused

PDF = b"%PDF-1.7 \x00\xff"


def others(world: World) -> tuple[Person, ...]:
    """Another organization's admin; a member of this one; and who is both."""
    admin, member = f"org/{ids.new('org')}:admin", f"org/{world.organization}:member"
    return world.service.person("stranger", admin), world.member, world.service.person("both", admin, member)


async def test_an_application_is_kept_as_it_was_made_and_the_office_and_the_organization_see_it(spring: World) -> None:
    named = [{"kind": "awarded_project", "use": "filed_model", "rate": 3000}]
    programme = await published(spring, rates=named)
    enterprise = ENTERPRISE | {"kinds": ["awarded_project"], "affiliates": [spring.provider]}
    contract = {"number": "XA-17", "amount": "5000.00"}
    made = await applied(spring, programme, enterprise=enterprise, use="filed_model", contract=contract)
    assert (made["state"], made["applied_by"], made["applied_at"]) == ("applied", "admin", "2026-03-31T04:00:00Z")
    assert (made["enterprise"], made["use"], made["contract"]) == (enterprise, "filed_model", contract)
    path = f"/voucher-applications/{made['id']}"
    for person in (spring.admin, spring.member, office(spring)):
        assert ok(await person.get(path)) == made
        assert ok(await person.get("/voucher-applications"))["items"] == [made]
    stranger = spring.service.person("stranger", f"org/{ids.new('org')}:admin")
    assert ok(await stranger.get("/voucher-applications"))["items"] == []
    for person in (stranger, spring.finance, spring.seller):
        refused(await person.get(path), 404, "not_found")


async def test_kinds_and_uses_are_those_that_the_programme_names(spring: World) -> None:
    rates = [{"rate": 2000}, {"kind": "awarded_project", "rate": 3000}, {"use": "filed_model", "rate": 3000}]
    body = asked(spring, await published(spring, rates=rates), use="filed_modle")
    body["enterprise"] = ENTERPRISE | {"kinds": ["awarded_project", "awarded"]}
    problem = refused(await spring.admin.post("/voucher-applications", body, key("a")), 422, "invalid")
    assert {one["pointer"]: one["detail"] for one in problem["errors"]} == {
        "/enterprise/kinds/1": "The programme names awarded_project: give one of these, or leave it out",
        "/use": "The programme names filed_model: give one of these, or leave it out",
    }
    body = asked(spring, await published(spring), use="filed_model")
    problem = refused(await spring.admin.post("/voucher-applications", body, key("c")), 422, "invalid")
    assert [one["detail"] for one in problem["errors"]] == ["The programme names none: leave it out"]
    rules = {"uses": ["training"]}
    body = asked(spring, await published(spring, rates=rates, eligibility=rules), use="training")
    ok(await spring.admin.post("/voucher-applications", body, key("b")), 201)


async def test_a_repeat_with_the_same_key_is_one_application(spring: World) -> None:
    body = asked(spring, await published(spring))
    first = await spring.admin.post("/voucher-applications", body, key("k"))
    again = await spring.admin.post("/voucher-applications", body, key("k"))
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert len(ok(await spring.admin.get("/voucher-applications"))["items"]) == 1


async def test_the_queue_is_read_oldest_first_by_state_and_programme(spring: World) -> None:
    one, other = await published(spring), await published(spring)
    first, second = await applied(spring, one), await applied(spring, other)
    third = await applied(spring, one)
    ok(await spring.admin.post(f"/voucher-applications/{first['id']}/withdraw"))

    async def queue(**filters: str) -> list[str]:
        return [item["id"] for item in ok(await office(spring).get("/voucher-applications", **filters))["items"]]

    assert await queue() == [first["id"], second["id"], third["id"]]
    assert await queue(state="applied") == [second["id"], third["id"]]
    assert await queue(state="applied", programme=one["id"]) == [third["id"]]
    page = ok(await office(spring).get("/voucher-applications", limit=2))
    assert await queue(cursor=page["next"]) == [third["id"]]


async def test_who_is_not_eligible_is_told_every_rule_and_what_would_meet_it(spring: World) -> None:
    rules = {"places": ["610100"], "sizes": ["micro"], "youngest_months": 26, "uses": ["filed_model"]}
    programme = await published(spring, eligibility=rules)
    problem = refused(
        await spring.admin.post("/voucher-applications", asked(spring, programme), key("a")), 422, "not_eligible"
    )
    assert [one["rule"] for one in problem["unmet"]] == ["sizes", "youngest_months", "uses"]
    assert "2026-04-29" in problem["unmet"][1]["words"]["zh"]
    assert ok(await spring.admin.get("/voucher-applications"))["items"] == []


async def test_eligibility_goes_by_the_day_in_the_platforms_zone(spring: World, hands: Hands) -> None:
    programme = await published(spring, eligibility={"youngest_months": 1})
    enterprise = ENTERPRISE | {"registered_on": "2026-03-01"}
    hands.at = datetime(2026, 3, 31, 15, 59, 59, tzinfo=UTC)
    body = asked(spring, programme, enterprise=enterprise)
    refused(await spring.admin.post("/voucher-applications", body, key("a")), 422, "not_eligible")
    hands.at = datetime(2026, 3, 31, 16, tzinfo=UTC)
    ok(await spring.admin.post("/voucher-applications", body, key("b")), 201)


async def test_a_programme_takes_applications_while_it_runs_and_a_draft_is_unknown(spring: World, hands: Hands) -> None:
    programme, draft = await published(spring), await drafted(spring)

    async def answer(of: Json, name: str) -> Json:
        return await spring.admin.post("/voucher-applications", asked(spring, of), key(name))

    assert pointers(refused(await answer(draft, "d"), 422, "unknown_reference")) == ["/programme"]
    hands.at = datetime(2025, 12, 31, 15, 59, 59, tzinfo=UTC)
    closed = refused(await answer(programme, "a"), 409, "programme_closed")
    assert (closed["starts_at"], closed["ends_at"]) == (programme["starts_at"], programme["ends_at"])
    hands.at = datetime(2025, 12, 31, 16, tzinfo=UTC)
    ok(await answer(programme, "b"), 201)
    hands.at = datetime(2026, 12, 31, 16, tzinfo=UTC)
    refused(await answer(programme, "c"), 409, "programme_closed")


async def test_an_amount_above_a_cap_is_refused_with_the_most_that_would_do(spring: World) -> None:
    for caps, contract, cap, most in (
        ({"voucher": "500.00"}, None, "voucher", "500.00"),
        ({"voucher": "500.00", "first_voucher": "200.00"}, None, "first_voucher", "200.00"),
        ({"issued_in_year": "100.00"}, None, "issued_in_year", "100.00"),
        ({"contract": 3000}, {"number": "1", "amount": "1000.00"}, "contract", "300.00"),
    ):
        programme = await published(spring, caps=caps)
        above = asked(spring, programme, str(Money.parse(most) + Money(1)), contract=contract)
        problem = refused(await spring.admin.post("/voucher-applications", above, key(cap)), 422, "above_cap")
        assert (problem["cap"], problem["most"]) == (cap, most)
        assert most in problem["words"]["zh"]
        await applied(spring, programme, most, contract=contract)


async def test_a_contract_is_needed_where_its_share_is_paid_and_applied_with_once(spring: World) -> None:
    programme, other = await published(spring, caps={"contract": 3000}), await published(spring)
    body = asked(spring, programme, "100.00")
    missing = refused(await spring.admin.post("/voucher-applications", body, key("a")), 422, "invalid")
    assert pointers(missing) == ["/contract"]
    contract = {"number": "XA-17", "amount": "1000.00"}
    first = await applied(spring, programme, "100.00", contract=contract)
    body["contract"] = contract
    taken = refused(await spring.admin.post("/voucher-applications", body, key("b")), 409, "already_exists")
    assert taken["existing"] == first["id"]
    await applied(spring, other, contract=contract)
    await applied(spring, programme, "100.00", contract=contract | {"number": "XA-18"})
    ok(await spring.admin.post(f"/voucher-applications/{first['id']}/withdraw"))
    await applied(spring, programme, "100.00", contract=contract)


@pytest.mark.parametrize(
    "typed", ["xa-2026-017", "ＸＡ－２０２６－０１７", "XA - 2026 - 017", "XA–2026——017", "XA−2026\u200b−017"]
)
async def test_a_contract_is_one_however_its_number_is_typed(spring: World, typed: str) -> None:
    programme = await published(spring, caps={"contract": 3000})
    contract = {"number": "XA-2026-017", "amount": "1000.00"}
    first = await applied(spring, programme, "100.00", contract=contract)
    body = asked(spring, programme, "100.00", contract=contract | {"number": typed})
    taken = refused(await spring.admin.post("/voucher-applications", body, key("a")), 409, "already_exists")
    assert taken["existing"] == first["id"]
    ok(await spring.admin.post(f"/voucher-applications/{first['id']}/withdraw"))
    assert (await applied(spring, programme, "100.00", contract=body["contract"]))["contract"]["number"] == typed


async def test_only_an_admin_applies_for_its_organization_and_what_is_wrong_is_named(spring: World) -> None:
    programme = await published(spring)
    body = asked(spring, programme)
    refused(await spring.member.post("/voucher-applications", body, key("a")), 404, "not_found")
    stranger = spring.service.person("stranger", f"org/{ids.new('org')}:admin")
    problem = refused(await stranger.post("/voucher-applications", body, key("a")), 422, "unknown_reference")
    assert pointers(problem) == ["/organization"]
    for changes, code, pointer in (
        ({"amount": "0.00"}, "invalid", "/amount"),
        ({"contract": {"number": "1", "amount": "0.00"}}, "invalid", "/contract/amount"),
        ({"enterprise": ENTERPRISE | {"registered_on": "2026-04-01"}}, "invalid", "/enterprise/registered_on"),
        (
            {"enterprise": ENTERPRISE | {"affiliates": [ids.new("prv")]}},
            "unknown_reference",
            "/enterprise/affiliates/0",
        ),
    ):
        answer = await spring.admin.post("/voucher-applications", body | changes, key(ids.new("req")))
        assert pointers(refused(answer, 422, code)) == [pointer]


async def test_an_application_is_withdrawn_by_its_organization_alone_and_a_repeat_changes_nothing(
    spring: World,
) -> None:
    made = await applied(spring, await published(spring))
    path = f"/voucher-applications/{made['id']}/withdraw"
    for person in (*others(spring), office(spring)):
        refused(await person.post(path), 404, "not_found")
    gone = ok(await spring.admin.post(path))
    assert gone["state"] == "withdrawn"
    assert ok(await spring.admin.post(path)) == gone


async def test_an_enterprise_is_told_what_it_may_apply_for_and_why_not(spring: World) -> None:
    open_ = await published(spring, name="甲", caps={"voucher": "500.00", "first_voucher": "200.00"})
    strict = await published(spring, name="乙", eligibility={"sizes": ["micro"]})
    small = await published(spring, name="丙", pools=[{"year": 2026, "amount": "10.00"}])
    empty = await published(spring, name="丁", pools=[{"year": 2027, "amount": "10.00"}])
    await published(spring, name="戊", starts_at="2026-06-01T00:00:00+08:00")
    await drafted(spring)
    question = {"organization": spring.organization, "enterprise": ENTERPRISE}
    items = ok(await spring.member.post("/eligibility", question))["items"]
    assert [
        (one["programme"], one["name"], [lack["rule"] for lack in one["unmet"]], one["limit"] and one["limit"]["most"])
        for one in items
    ] == [
        (open_["id"], "甲", [], "200.00"), (strict["id"], "乙", ["sizes"], None),
        (small["id"], "丙", [], "10.00"), (empty["id"], "丁", [], "0.00"),
    ]  # fmt: skip
    stranger = spring.service.person("stranger", f"org/{ids.new('org')}:admin")
    refused(await stranger.post("/eligibility", question), 422, "unknown_reference")


async def test_evidence_is_given_back_as_it_was_stored_to_the_organization_and_the_office(spring: World) -> None:
    made = await applied(spring, await published(spring))
    path = f"/voucher-applications/{made['id']}"
    file = f"{path}/evidence/营业执照.pdf"
    stored = ok(await spring.admin.upload(file, b"first"))
    again = await spring.admin.upload(file, PDF)
    stored, digest = ok(again), hashlib.sha256(PDF).hexdigest()
    assert (stored["media_type"], stored["size_bytes"], stored["sha256"]) == ("application/pdf", len(PDF), digest)
    for person in (spring.member, office(spring)):
        answer = await person.get(file)
        assert (answer.content, answer.headers["ETag"]) == (PDF, f'"{digest}"')
        assert answer.headers["Content-Type"] == "application/pdf"
        assert ok(await person.get(path))["evidence"] == [stored]
    for person in (others(spring)[0], spring.finance):
        refused(await person.get(file), 404, "not_found")
    for person in (*others(spring), office(spring)):
        refused(await person.upload(file, PDF), 404, "not_found")
    refused(await spring.admin.get(f"{path}/evidence/other.pdf"), 404, "not_found")
    assert ok(await spring.admin.get(path))["version"] == 3


async def test_evidence_is_bounded_in_kind_size_and_number(spring: World) -> None:
    made = await applied(spring, await published(spring))
    path = f"/voucher-applications/{made['id']}/evidence"
    for name in ("a.exe", "a.PDF.exe", "pdf", ".pdf", "a\u202e.pdf"):
        assert pointers(refused(await spring.admin.upload(f"{path}/{name}", PDF), 422, "invalid")) == ["path/name"]
    for name, kind in (("扫描件.PDF", "application/pdf"), ("a.jpeg", "image/jpeg"), ("a.JPG", "image/jpeg")):
        assert ok(await spring.admin.upload(f"{path}/{name}", PDF))["media_type"] == kind
    problem = refused(await spring.admin.upload(f"{path}/a.exe", PDF), 422, "invalid")
    assert problem["errors"][0]["detail"].startswith("Give a file's name of at most 100 characters that ends in .pdf, ")
    problem = refused(await spring.admin.upload(f"{path}/empty.csv", b""), 422, "invalid")
    assert problem["errors"][0]["detail"] == "This file is empty: send its bytes as the body"
    refused(await spring.admin.upload(f"{path}/large.csv", b"1" * (8 * 1024 * 1024 + 1)), 413, "too_large")
    ok(await spring.admin.upload(f"{path}/0.csv", b"1" * (8 * 1024 * 1024)))
    for number in range(1, 17):
        ok(await spring.admin.upload(f"{path}/{number}.csv", PDF))
    assert pointers(refused(await spring.admin.upload(f"{path}/20.csv", PDF), 422, "invalid")) == ["path/name"]
    ok(await spring.admin.upload(f"{path}/0.csv", PDF))


async def test_evidence_stays_once_the_application_is_withdrawn(spring: World) -> None:
    made = await applied(spring, await published(spring))
    file = f"/voucher-applications/{made['id']}/evidence/a.png"
    ok(await spring.admin.upload(file, PDF))
    ok(await spring.admin.post(f"/voucher-applications/{made['id']}/withdraw"))
    refused(await spring.admin.upload(file, b"other"), 409, "wrong_state")
    assert (await spring.admin.get(file)).content == PDF


@pytest.mark.parametrize(
    ("by", "index"),
    [
        (("state",), "ix_voucher_applications_state_id"),
        (("programme",), "ix_voucher_applications_programme_id"),
        (("programme", "state"), "ix_voucher_applications_programme_state_id"),
    ],
)
async def test_the_queue_costs_with_its_page_and_not_with_all_applications(
    spring: World, by: tuple[str, ...], index: str
) -> None:
    programme, other = await published(spring), await published(spring)
    one = await applied(spring, programme)
    await applied(spring, programme)

    def many(tx: Session) -> None:
        kept = tx.execute(select(APPLICATIONS).where(APPLICATIONS.c.id == one["id"])).one()._asdict()
        place = {"programme": other["id"] if "programme" in by else programme["id"], "state": "withdrawn"}
        tx.execute(insert(APPLICATIONS), [kept | place | {"id": ids.new("vap")} for _ in range(2000)])
        tx.execute(text("ANALYZE"))

    await spring.db.write(many)
    filters = {name: {"state": "applied", "programme": programme["id"]}[name] for name in by}
    page = ok(await office(spring).get("/voucher-applications", limit=1, **filters))
    with reads(("voucher_applications",)) as queries:
        found = ok(await office(spring).get("/voucher-applications", limit=1, cursor=page["next"], **filters))
    assert len(found["items"]) == 1
    told = await spring.db.read(plan, *queries[0])
    assert index in told and "Sort" not in told and "TEMP B-TREE" not in told
