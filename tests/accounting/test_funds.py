"""Deposits, credit, budgets and holds, through HTTP."""

import asyncio
from datetime import timedelta

from sqlalchemy import Engine, delete, event, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import BudgetChange, BudgetDraft, CreditLimitDraft, DepositDraft
from caravan.kernel import ids
from caravan.kernel.money import Money
from services.accounting.funds.models import BudgetRow, Fund
from services.accounting.funds.verify import verify
from tests.accounting.world import T0, World
from tests.support import Json, Person, ok, pointers, refused


def budget_draft(world: World, limit: str, *, project: bool = True, days: int | None = None) -> BudgetDraft:
    return BudgetDraft(
        organization=world.organization,
        project=world.project if project else None,
        name="spring",
        limit=Money.parse(limit),
        starts_at=T0 - timedelta(days=1),
        ends_at=None if days is None else T0 - timedelta(days=1) + timedelta(days=days),
    )


async def budget(world: World, limit: str, *, project: bool = True, days: int | None = None) -> Json:
    return ok(await world.admin.post("/budgets", budget_draft(world, limit, project=project, days=days)), 201)


async def test_a_deposit_is_free_to_spend_and_stands_in_the_ledger(world: World) -> None:
    deposit = await world.deposit("100.00")
    assert (await world.funds())["available"] == "100.00"
    entries = ok(await world.finance.get("/ledger/entries", organization=world.organization))["items"]
    assert [entry["reference"] for entry in entries] == [deposit["id"]]
    assert ok(await world.member.get("/deposits"))["items"] == [deposit]
    await world.consistent()


async def test_a_repeated_deposit_is_one_deposit(world: World, finance: Person) -> None:
    draft = DepositDraft(organization=world.organization, amount=Money(5000), reference="bank 17")
    first, again = [await finance.post("/deposits", draft, {"Idempotency-Key": "k"}) for _ in range(2)]
    assert first.content == again.content
    assert (await world.funds())["deposited"] == "50.00"
    problem = refused(await finance.post("/deposits", draft, {"Idempotency-Key": "other"}), 409, "already_exists")
    assert problem["existing"] == ok(first, 201)["id"]
    assert (await world.funds())["deposited"] == "50.00"


async def test_a_deposit_needs_a_known_organization_and_an_amount_above_zero(world: World, finance: Person) -> None:
    for organization, amount, code, pointer in (
        (ids.new("org"), 1, "unknown_reference", "/organization"),
        (world.organization, 0, "invalid", "/amount"),
        (world.organization, -1, "invalid", "/amount"),
        (world.organization, 10**17, "invalid", "/amount"),
    ):
        draft = DepositDraft(organization=organization, amount=Money(amount), reference="bank 1")
        problem = refused(await finance.post("/deposits", draft, {"Idempotency-Key": "k"}), 422, code)
        assert pointers(problem) == [pointer]


async def test_credit_is_money_too(world: World, finance: Person) -> None:
    path = f"/funds/{world.organization}/credit-limit"
    ok(await finance.put(path, CreditLimitDraft(amount=Money(700)), version=0))
    assert (await world.job().hold("7.00"))["granted"]
    assert (await world.job().hold("0.01"))["short"] == "funds"


async def test_a_credit_limit_is_set_by_the_version_that_was_read(world: World, finance: Person) -> None:
    path = f"/funds/{world.organization}/credit-limit"
    read = await world.member.get(path)
    assert (ok(read)["amount"], read.headers["ETag"]) == ("0.00", '"0"')
    refused(await finance.put(path, CreditLimitDraft(amount=Money(700))), 428, "version_needed")
    for version, amount in ((0, 700), (1, 300)):
        limit = await finance.put(path, CreditLimitDraft(amount=Money(amount)), version=version)
        assert limit.headers["ETag"] == f'"{version + 1}"'
    refused(await finance.put(path, CreditLimitDraft(amount=Money(900)), version=1), 412, "stale")
    assert ok(await world.member.get(path)) == ok(limit)
    assert (await world.funds())["credit"] == "3.00"
    refused(await finance.get(f"/funds/{ids.new('org')}/credit-limit"), 404, "not_found")


async def test_a_refusal_names_the_limit_that_is_short_what_is_held_asked_and_would_fit(world: World) -> None:
    await world.deposit("100.00")
    await world.job().hold("30.00")
    answer = await world.job().hold("80.00")
    assert not answer["granted"]
    assert {name: answer[name] for name in ("short", "limit", "held", "asked", "fits")} == {
        "short": "funds",
        "limit": "100.00",
        "held": "30.00",
        "asked": "80.00",
        "fits": "70.00",
    }
    tight = await budget(world, "40.00")
    answer = await world.job().hold("80.00")
    assert (answer["short"], answer["budget"], answer["limit"]) == ("budget", tight["id"], "40.00")
    assert (answer["held"], answer["fits"]) == ("30.00", "10.00")
    assert (await world.job().hold("10.00"))["granted"]
    await world.consistent()


async def test_a_hold_counts_in_every_budget_whose_span_has_its_submission(world: World) -> None:
    await world.deposit("100.00")
    own, whole, past = (
        await budget(world, "10.00"),
        await budget(world, "20.00", project=False),
        await budget(world, "1.00", days=1),
    )
    assert (await world.job().hold("8.00"))["granted"]
    assert (await world.job(project=ids.new("prj")).hold("8.00"))["granted"]
    held = [ok(await world.member.get(f"/budgets/{one['id']}"))["held"] for one in (own, whole, past)]
    assert held == ["8.00", "16.00", "0.00"]
    await world.consistent()


async def test_a_budgets_span_has_its_start_and_not_its_end(world: World) -> None:
    await world.deposit("100.00")
    before = await budget(world, "50.00", days=1)
    start, instant = T0 - timedelta(days=1), timedelta.resolution
    for submitted_at in (start - instant, start, T0 - instant, T0):
        assert (await world.job().hold("1.00", submitted_at=submitted_at))["granted"]
    after = await budget(world, "50.00", days=1)
    assert [ok(await world.member.get(f"/budgets/{one['id']}"))["held"] for one in (before, after)] == ["2.00", "2.00"]


async def test_a_new_budget_counts_what_its_span_has_already(world: World) -> None:
    await world.deposit("100.00")
    await world.job().hold("8.00")
    late = await budget(world, "5.00")
    assert (late["held"], late["available"]) == ("8.00", "-3.00")
    assert (await world.job().hold("0.01"))["fits"] == "0.00"


async def test_a_hold_is_idempotent_by_revision(world: World) -> None:
    await world.deposit("100.00")
    job = world.job()
    for _ in range(2):
        assert (await job.hold("30.00", revision=2))["granted"]
    refused(await world.put_hold(job, 1, "5.00"), 409, "hold_outdated")
    assert (await world.funds())["held"] == "30.00"
    assert (await job.hold("50.00", revision=3))["granted"]
    assert (await world.funds())["held"] == "50.00"
    assert (await job.hold("20.00", revision=4))["granted"]
    hold = await job.read()
    assert [(step["step"], step["amount"], step["held"]) for step in hold["movements"]] == [
        ("granted", "30.00", "30.00"),
        ("revised", "20.00", "50.00"),
        ("revised", "-30.00", "20.00"),
    ]
    await world.consistent()


async def test_the_first_hold_makes_an_organizations_fund_and_later_ones_do_not_try(world: World) -> None:
    made: list[str] = []

    def keep(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO funds"):
            made.append(statement)

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        for _ in range(2):
            assert (await world.job().hold("0.00"))["granted"]
    finally:
        event.remove(Engine, "before_cursor_execute", keep)
    assert len(made) == 1
    assert (await world.funds())["held"] == "0.00"


async def test_a_refused_revision_leaves_the_last_granted_and_does_not_stand_in_the_way(world: World) -> None:
    await world.deposit("100.00")
    job = world.job()
    await job.hold("60.00", revision=1)
    answer = await job.hold("160.00", revision=2)
    assert (answer["granted"], answer["held"], answer["fits"]) == (False, "0.00", "100.00")
    assert (await job.read())["amount"] == "60.00"
    assert (await job.hold("90.00", revision=2))["granted"]
    assert (await job.read())["amount"] == "90.00"


async def test_fifty_at_once_against_a_budget_for_ten(world: World) -> None:
    await world.deposit("1000.00")
    ten = await budget(world, "10.00")
    answers = await asyncio.gather(*(world.job().hold("1.00") for _ in range(50)))
    assert sum(answer["granted"] for answer in answers) == 10
    assert ok(await world.admin.get(f"/budgets/{ten['id']}"))["available"] == "0.00"
    await world.consistent()


async def test_a_budget_changes_by_the_version_that_was_read(world: World) -> None:
    made = await budget(world, "10.00")
    changed = ok(
        await world.admin.put(f"/budgets/{made['id']}", BudgetChange(limit=Money(2000)), version=made["version"])
    )
    assert (changed["limit"], changed["name"], changed["version"]) == ("20.00", "spring", 2)
    refused(await world.admin.put(f"/budgets/{made['id']}", BudgetChange(name="x"), version=1), 412, "stale")
    refused(await world.member.put(f"/budgets/{made['id']}", BudgetChange(name="x"), version=2), 404, "not_found")
    problem = refused(await world.admin.put(f"/budgets/{made['id']}", {"limit": "-1.00"}, version=2), 422, "invalid")
    assert pointers(problem) == ["/limit"]


async def test_a_budget_refuses_what_it_can_not_be(world: World) -> None:
    base = budget_draft(world, "1.00").model_dump(mode="json")
    foreign = world.service.person("foreign", f"org/{ids.new('org')}:admin")
    refused(await foreign.post("/budgets", base), 422, "unknown_reference")
    for field, value in (("limit", "-1.00"), ("ends_at", base["starts_at"]), ("organization", "org_1"), ("extra", 1)):
        assert pointers(refused(await world.admin.post("/budgets", base | {field: value}), 422, "invalid")) == [
            f"/{field}"
        ]
    unknown = base | {"project": ids.new("prj")}
    assert pointers(refused(await world.admin.post("/budgets", unknown), 422, "unknown_reference")) == ["/project"]


async def test_money_is_seen_by_its_own_and_by_finance_only(world: World, broker: Person) -> None:
    await world.deposit("100.00")
    made, job = await budget(world, "50.00"), world.job()
    await job.hold("1.00")
    other = world.service.person("other", f"org/{ids.new('org')}:admin", f"provider/{ids.new('prv')}:admin")
    for path in (
        f"/funds/{world.organization}",
        f"/funds/{world.organization}/credit-limit",
        f"/budgets/{made['id']}",
        f"/holds/{job.id}",
    ):
        ok(await world.member.get(path))
        refused(await other.get(path), 404, "not_found")
    for path in ("/budgets", "/deposits"):
        assert ok(await other.get(path, organization=world.organization))["items"] == []
        assert ok(await other.get(path))["items"] == []
        assert len(ok(await world.member.get(path))["items"]) == 1
        assert len(ok(await world.finance.get(path))["items"]) == 1
    refused(await world.admin.put(f"/holds/{job.id}", {}), 404, "not_found")
    refused(await world.admin.put(f"/funds/{world.organization}/credit-limit", {"amount": "1.00"}), 404, "not_found")
    refused(await other.put(f"/budgets/{made['id']}", BudgetChange(name="x"), version=1), 404, "not_found")


async def test_holds_of_a_batch_are_decided_one_after_another_each_for_itself(world: World) -> None:
    await world.deposit("10.00")
    known, first, dear, last = (world.job() for _ in range(4))
    await known.hold("1.00", revision=3)
    batch = (known, 2, "9.00"), (first, 1, "5.00"), (dear, 1, "5.00"), (last, 1, "4.00")
    for _ in ("first", "again"):
        outdated, *answers = ok(await world.put_holds(*batch))["items"]
        assert (outdated["outdated"], outdated["answer"]) == (3, None)
        assert [one["answer"]["granted"] for one in answers] == [True, False, True]
        assert [one["answer"]["job"] for one in answers] == [first.id, dear.id, last.id]
        assert (await world.funds())["held"] == "10.00"
    assert answers[1]["answer"]["fits"] == "0.00"
    problem = refused(await world.put_holds((first, 2, "1.00"), (dear, 1, "-1.00")), 422, "invalid")
    assert pointers(problem) == ["/holds/1/amount"]
    assert (await world.funds())["held"] == "10.00"
    await world.consistent()


async def test_a_total_that_was_changed_behind_its_holds_is_found(world: World) -> None:
    await world.deposit("100.00")
    made, job = await budget(world, "50.00"), world.job()
    await job.hold("1.00")

    def tamper(tx: Session) -> None:
        tx.execute(update(Fund).values(held=Fund.held + 1, deposited=Fund.deposited + 1))
        tx.execute(update(BudgetRow).values(charged=7))

    await world.db.write(tamper)
    found = await world.db.read(verify)
    assert {subject for subject, _ in found} == {world.organization, made["id"]}
    assert len(found) == 4


async def test_totals_that_are_gone_are_found(world: World) -> None:
    await world.deposit("100.00")
    await world.job().hold("1.00")
    await world.db.write(lambda tx: tx.execute(delete(Fund)))
    found = await world.db.read(verify)
    assert {subject for subject, _ in found} == {world.organization}
    assert [words.split(" is ")[0] for _, words in found] == [
        "deposited",
        "held",
        "deposited and redeemed less charged, by the ledger",
    ]
