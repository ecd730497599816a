"""A stored line explained day by day, through the feeds and HTTP."""

from sqlalchemy import Connection, text

from caravan.contracts import events
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Accelerator, AcceleratorUnit
from caravan.contracts.usage import UsageRecord
from caravan.kernel import ids
from caravan.kernel.migrations import migrate, on_connection
from caravan.kernel.money import Money
from tests.accounting.test_charging import close, finish_now, job_with_hold
from tests.accounting.world import Job, World, at, mode, span, tariff
from tests.support import Json, ok, refused

DIE = "acc_ascend-910c-die-64g"


async def explained(world: World, line: Json) -> Json:
    return ok(await world.member.get(f"/lines/{line['id']}/explanation"))


async def line_of(job: Job, component: str = "cpu_core_hour", **wanted: str | None) -> Json:
    (found,) = [
        line
        for line in await job.lines()
        if line["component"] == component and all(line[name] == value for name, value in wanted.items())
    ]
    return found


def hold_dies(job: Job, run: str, dies: int) -> None:
    """For the first hour after T0."""
    held = span(0, 3600).model_copy(update={"accelerators": dies, "accelerator": DIE})
    record = UsageRecord(
        hour=at(0), revision=1, spans=(held,), run=run, attempt=job.attempt, job=job.id, run_started_at=at(0)
    )
    job.world.broker.say(events.USAGE_STATED, job.id, record)


async def test_a_line_is_explained_by_the_days_of_its_price_lists_zone(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    midnight = 8 * 3600
    job.use(run, midnight - 30, midnight, cpus=2)
    job.use(run, midnight, midnight + 10, cpus=2, began=midnight - 30)
    await world.deliver()
    line = await line_of(job)
    found = await explained(world, line)
    assert found["line"] == line
    assert [(step["first"], step["times"], step["quantity"]) for step in found["steps"]] == [
        ("2026-03-10", [{"starts": "23:59:30", "ends": "24:00:00"}], 60),
        ("2026-03-11", [{"starts": "00:00:00", "ends": "00:00:10"}], 20),
    ]
    assert (found["seconds"], found["more"], found["correction"], found["restated_in"]) == (40, None, None, None)
    assert found["arithmetic"]["words"] == {
        "zh": "60 + 20 = 80 核秒；80 x 36.00 / 3600 = 0.80",
        "en": "60 + 20 = 80 core-seconds; 80 x 36.00 / 3600 = 0.80",
    }
    assert found["words"] == {
        "zh": "核时，费率 day：80 x 36.00 / 3600 = 0.80；由企业承担",
        "en": "core-hours, tariff day: 80 x 36.00 / 3600 = 0.80; the organization bears it",
    }


async def test_accelerators_are_told_in_the_unit_that_they_are_sold_by(world: World) -> None:
    dear = ids.new("prl")
    world.know_prices(dear, 2, tariff("dear", None, None, accelerator_hour="3"))
    job = await job_with_hold(world, price_list=dear)
    hold_dies(job, ids.new("run"), 8)
    await world.deliver()
    line = await line_of(job, "accelerator_hour")
    before = await explained(world, line)
    assert before["unit"] is None
    assert before["steps"][0]["words"]["en"].endswith("; 8 accelerators x 3600 s = 28800 accelerator-seconds")
    kind = Accelerator(
        id=DIE, vendor="Huawei Ascend", model="910C", memory_mib=65536, unit=AcceleratorUnit.DIE, domestic=True
    )
    world.catalog.say(events.ACCELERATOR, DIE, kind)
    await world.deliver()
    found = await explained(world, line)
    assert found["unit"] == "die"
    assert found["steps"][0]["words"]["zh"].endswith("8 die x 3600 秒 = 28800 die秒")
    assert found["words"]["zh"].startswith("卡时（Huawei Ascend 910C），费率 dear：28800 x 3.00 / 3600 = 24.00；")
    job_words = ok(await world.member.get(f"/jobs/{job.id}/explanation"))["lines"]
    assert "8 dies x 3600 s = 28800 die-seconds; 28800 x 3.00 / 3600 = 24.00" in [
        one["arithmetic"]["en"] for one in job_words
    ]


async def test_an_adjustment_says_what_was_billed_before_and_the_sealed_line_who_tells_its_days(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 40)
    await world.deliver()
    sealed = await line_of(job)
    march = await close(world, 0)
    job.use(run, 0, 30, revision=2)
    await world.deliver()
    late = await line_of(job, corrects=march)
    found = await explained(world, late)
    assert found["correction"] == {
        "period": march,
        "period_name": "2026-03",
        "billed_before": "0.40",
        "now": "0.30",
        "difference": "-0.10",
        "words": {
            "zh": "更正账期 2026-03：现为 0.30，此前已计 0.40，差额 -0.10",
            "en": "corrects the period 2026-03: now 0.30, billed before 0.40, difference -0.10",
        },
    }
    assert (found["seconds"], found["arithmetic"]["quantity"], found["restated_in"]) == (30, 30, None)
    assert found["correction"]["words"]["zh"] in found["words"]["zh"]
    old = await explained(world, sealed)
    assert (old["steps"], old["seconds"], old["restated_in"], old["correction"]) == ([], 0, late["id"], None)
    assert old["arithmetic"]["words"]["en"] == "40 core-seconds; 40 x 36.00 / 3600 = 0.40"


async def test_of_lines_that_were_sealed_one_after_another_the_last_tells_the_days_and_what_is_billed_now(
    world: World,
) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    sealed: list[str] = []
    for revision, end in enumerate((10, 30, 60), start=1):
        job.use(run, 0, end, revision=revision)
        await world.deliver()
        if revision < 3:
            (line,) = [one for one in await job.lines() if one["period"] not in sealed and one["amount"] != "0.00"]
            await world.db.write(finish_now, line["period"])
            sealed.append(line["period"])
    lines = [line for line in await job.lines() if line["component"] == "cpu_core_hour"]
    last = lines[-1]["id"]
    found = [await explained(world, line) for line in lines]
    assert [one["restated_in"] for one in found] == [last, last, None]
    assert [(one["seconds"], one["arithmetic"]["quantity"]) for one in found] == [(0, 10), (0, 30), (60, 60)]
    told = [(one["period"], one["billed_before"], one["now"]) for one in (one["correction"] for one in found[1:])]
    assert told == [(sealed[0], "0.10", "0.30"), (sealed[0], "0.30", "0.60")]
    assert found[0]["correction"] is None
    of_job = ok(await world.member.get(f"/jobs/{job.id}/explanation"))["lines"]
    cores = [one for one in of_job if one["line"]["component"] == "cpu_core_hour"]
    assert [one["arithmetic"]["en"] for one in cores] == [
        "10 core-seconds; 10 x 36.00 / 3600 = 0.10",
        "now 30 core-seconds; 30 x 36.00 / 3600 = 0.30; 0.10 billed before; difference 0.20",
        "now 60 core-seconds; 60 x 36.00 / 3600 = 0.60; 0.30 billed before; difference 0.30",
    ]
    factors = [[(factor["seconds"], factor["quantity"]) for factor in one["factors"]] for one in cores]
    assert factors == [[], [], [(60, 60)]]


async def test_a_jobs_lines_are_summed_by_who_bears_them(world: World) -> None:
    world.know_prices(
        tried := ids.new("prl"), 2, tariff("day", None, None, cpu_core_hour="36"),
        modes=(mode("notional", -3600), mode("billed", 20)),
    )  # fmt: skip
    job, run, faulty = await job_with_hold(world, price_list=tried), ids.new("run"), ids.new("run")
    job.use(run, 0, 60)
    job.use(faulty, 20, 30)
    job.end(faulty, Outcome.SITE)
    await world.deliver()
    found = ok(await world.member.get(f"/jobs/{job.id}/explanation"))
    assert (found["charged"], found["borne_by_provider"], found["notional"]) == ("0.40", "0.10", "0.20")
    assert found["words"] is None, "nobody sells it on"
    shown = [one["line"]["id"] for one in found["lines"]]
    assert sorted(shown) == [line["id"] for line in await job.lines()]
    words = (await explained(world, await line_of(job, reason="notional")))["words"]["en"]
    assert words == "core-hours, tariff day, priced and not billed: 20 x 36.00 / 3600 = 0.20"


async def test_who_bears_a_line_is_said_with_the_reason(world: World) -> None:
    job, faulty, long = await job_with_hold(world, "0.40"), ids.new("run"), ids.new("run")
    job.use(faulty, 0, 20)
    job.end(faulty, Outcome.LOST)
    job.use(long, 0, 60)
    await world.deliver()
    said = {
        reason: (await explained(world, await line_of(job, reason=reason)))["bearer"]["words"]["zh"]
        for reason in ("site_fault", "overrun")
    }
    assert said == {
        "site_fault": "由算力中心承担：这次运行因算力中心的故障而结束或失联，企业不为此付费",
        "overrun": "由算力中心承担：超出这次运行获准的规格或时长，或者超出作业的预留金额，企业不为此付费",
    }
    overrun = await explained(world, await line_of(job, reason="overrun"))
    assert overrun["steps"][0]["times"] == [{"starts": "16:00:40", "ends": "16:01:00"}]


async def topped_up(world: World, hold: str) -> tuple[Job, str]:
    """A job of one ended attempt that used 0.40 of a minimum of 1.00, and its run."""
    least = ids.new("prl")
    prices = tariff("least", None, None, cpu_core_hour="36").model_copy(update={"minimum_charge": Money(100)})
    world.know_prices(least, 2, prices)
    job, run = await job_with_hold(world, hold, price_list=least), ids.new("run")
    job.end_attempt()
    job.use(run, 0, 40)
    await world.deliver()
    return job, run


async def test_a_minimum_charge_says_what_its_attempt_lacks_and_which_part_a_line_has(world: World) -> None:
    job, _ = await topped_up(world, "50.00")
    found = await explained(world, await line_of(job, "minimum_charge"))
    (step,) = found["steps"]
    assert (step["times"], step["units"]) == ([{"starts": "16:00:39", "ends": "16:00:40"}], 60)
    lacks = {
        "zh": "最低收费 1.00 - 这次尝试各秒的费用 0.40 = 0.60",
        "en": "minimum charge 1.00 - 0.40 that the attempt's seconds cost = 0.60",
    }
    assert step["words"] == {
        "zh": f"2026-03-10（星期二），16:00:39：这次尝试的最后一个计费秒；{lacks['zh']}",
        "en": f"2026-03-10 (Tuesday), 16:00:39: the attempt's last billed second; {lacks['en']}",
    }
    amounts = {"minimum": "1.00", "seconds": "0.40", "per_job": "0.00", "lacking": "0.60"}
    assert found["minimum_charge"] == amounts | {"words": lacks}
    assert (
        found["words"]["en"]
        == "up to the minimum charge, tariff least: 60 fen x 0.01 = 0.60; the organization bears it"
    )
    of_job = ok(await world.member.get(f"/jobs/{job.id}/explanation"))["lines"]
    told = {one["line"]["component"]: one["arithmetic"]["en"] for one in of_job}
    assert told["minimum_charge"] == f"{lacks['en']}; 60 fen x 0.01 = 0.60"
    assert told["cpu_core_hour"].startswith("1 core x 40 s = ")
    assert (await explained(world, await line_of(job)))["minimum_charge"] is None
    short, _ = await topped_up(world, "0.70")
    for reason in (None, "overrun"):
        part = await explained(world, await line_of(short, "minimum_charge", reason=reason))
        assert part["steps"][0]["words"]["en"].endswith(f"{lacks['en']}, of which this line has 0.30")


async def test_a_minimum_charge_that_late_usage_reaches_says_so(world: World) -> None:
    job, run = await topped_up(world, "50.00")
    sealed = await line_of(job, "minimum_charge")
    march = await close(world, 0)
    job.use(run, 0, 105, revision=2)
    await world.deliver()
    found = await explained(world, await line_of(job, "minimum_charge", corrects=march))
    reached = "the attempt's seconds cost 1.05: no less than the minimum charge 1.00"
    assert found["words"]["en"] == (
        f"up to the minimum charge, tariff least: 0 fen x 0.01 = 0.00; {reached}; "
        "corrects the period 2026-03: now 0.00, billed before 0.60, difference -0.60; the organization bore it"
    )
    assert (found["steps"], found["minimum_charge"]["lacking"]) == ([], "0.00")
    assert (await explained(world, sealed))["minimum_charge"] is None
    of_job = ok(await world.member.get(f"/jobs/{job.id}/explanation"))["lines"]
    assert [one["arithmetic"]["en"] for one in of_job if one["line"]["component"] == "minimum_charge"] == [
        "60 fen x 0.01 = 0.60",
        f"{reached}; now 0 fen x 0.01 = 0.00; 0.60 billed before; difference -0.60",
    ]
    job.end(run, Outcome.SITE)
    await world.deliver()
    late = await explained(world, await line_of(job, "minimum_charge", corrects=march))
    assert late["minimum_charge"] is None, "nothing of its attempt is billed"


async def test_a_lines_explanation_is_for_who_may_read_the_line(world: World) -> None:
    job = await job_with_hold(world)
    job.use(ids.new("run"), 0, 40)
    await world.deliver()
    path = f"/lines/{(await line_of(job))['id']}/explanation"
    for person in (world.member, world.admin, world.seller, world.finance):
        assert ok(await person.get(path))["arithmetic"]["amount"] == "0.40"
    other = world.service.person("other", f"org/{ids.new('org')}:admin", f"provider/{ids.new('prv')}:admin")
    for stranger in (other, world.service.person("nobody")):
        refused(await stranger.get(path), 404, "not_found")
    refused(await world.finance.get(f"/lines/{ids.new('lin')}/explanation"), 404, "not_found")


def test_an_installation_that_had_passed_the_catalogs_accelerators_takes_them_anew(database_url: str) -> None:
    migrate(database_url, "accounting", "0008")

    def followed(connection: Connection) -> list[str]:
        return list(connection.scalars(text("SELECT feed FROM feed_cursors ORDER BY feed")))

    def follow(connection: Connection) -> None:
        connection.execute(text("INSERT INTO feed_cursors (feed, cursor) VALUES ('broker', 'g:1'), ('catalog', 'g:7')"))

    on_connection(database_url, follow)
    assert on_connection(database_url, followed) == ["broker", "catalog"]
    migrate(database_url, "accounting")
    assert on_connection(database_url, followed) == ["broker"]
