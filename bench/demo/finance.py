"""The third audience: finance, which closes the books and lets them be checked."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from rich.text import Text

from bench.demo.enterprise import ARRAY, ENDLESS, FAILING, MONTE_CARLO
from bench.demo.telling import WentWrong, clock, no, yes
from bench.demo.world import World
from caravan.client import each
from caravan.contracts.funds import Hold, HoldStatus
from caravan.contracts.statements import Period, PeriodCut, PeriodState, Statement, TrialBalance
from caravan.contracts.usage import UsageExport
from caravan.kernel import clock as time
from caravan.kernel.money import ZERO, Money

ROOT: Final = Path(__file__).parents[2]
BAR: Final = 24


async def explains_a_charge(world: World) -> None:
    """Seconds x cores x price = amount, split where the price changed while the job ran."""
    teller = world.teller
    teller.chapter("逐秒解释一笔费用", "One charge explained: seconds x price = amount, split where the price changed")
    await settled(world, MONTE_CARLO)
    found = await world.enterprise.accounting.explain_job(world.jobs[MONTE_CARLO])
    priced = [explained for explained in found.lines if explained.line.unit_price]
    if len(priced) != 2:
        raise WentWrong(f"the charge was to be split at the price change: {[e.arithmetic.en for e in priced]}")
    rows = [
        (
            explained.line.tariff,
            f"{clock(factor.start)} – {clock(factor.end)}",
            f"{factor.seconds} s x {factor.units}",
            f"{factor.quantity}",
            str(explained.line.unit_price),
            str(explained.line.amount),
        )
        for explained in priced
        for factor in explained.factors
    ]
    rows.append(("", "", "", "", "合计 charged", str(found.charged)))
    teller.table(
        (
            "费率 tariff",
            "!时段 span",
            ">时长×核 seconds x cores",
            ">核秒 core-seconds",
            ">每核时 price",
            ">金额 amount",
        ),
        rows,
    )
    for explained in priced:
        teller.say(f"    {explained.line.tariff}: {explained.arithmetic.zh}")
        teller.say(f"    {explained.line.tariff}: {explained.arithmetic.en}")
    teller.say("This offering prices cores alone: memory, nodes and jobs stand on lines of 0.00, not shown here.")
    total = sum((explained.line.amount for explained in found.lines), ZERO)
    if total != found.charged:
        raise WentWrong(f"the lines sum to {total}, charged is {found.charged}")


async def follows_the_money(world: World) -> None:
    """A hold's life: what was set aside, what was captured, what was freed."""
    teller = world.teller
    teller.chapter("冻结、扣款、结清", f"Hold, capture, settle: the money of {MONTE_CARLO} on a time line")
    hold = await settled(world, MONTE_CARLO)
    scale = max(hold.amount.fen, 1)
    rows = []
    for one in hold.movements:
        width = round(BAR * one.held.fen / scale)
        bar = Text.assemble(("█" * width, "yellow"), ("·" * (BAR - width), "dim"))
        sign = "+" if one.amount.fen > 0 and one.step in ("granted", "revised") else ""
        rows.append((clock(one.at), _STEPS.get(one.step, one.step), f"{sign}{one.amount}", str(one.held), bar))
    teller.table(
        ("!时刻 at", "动作 step", ">金额 amount", ">仍冻结 still held", "!"),
        rows,
    )
    teller.say(
        f"Set aside {hold.amount} = captured {hold.captured} + freed {hold.amount - hold.captured}; "
        f"settled, so {hold.held} is held now."
    )


_STEPS: Final = {
    "granted": "冻结 hold granted",
    "revised": "调整 revised",
    "captured": "扣款 captured",
    "corrected": "调价 corrected",
    "released": "释放 released",
    "settled": "结清 settled",
}


async def bills_what_was_used(world: World) -> None:
    """The failed and the cancelled job are billed for what they used, and the rest of their holds is freed."""
    teller = world.teller
    teller.chapter("失败与取消按实际用量计费", "The failed and the cancelled job: billed for what they used")
    rows = []
    for name in (FAILING, ENDLESS, ARRAY):
        hold = await settled(world, name)
        found = await world.enterprise.accounting.explain_job(world.jobs[name])
        job = await world.enterprise.broker.get_job(world.jobs[name])
        rows.append(
            (
                name,
                job.state.value,
                "\n".join(explained.arithmetic.en for explained in found.lines if explained.line.unit_price),
                str(hold.amount),
                str(found.charged),
                str(hold.amount - hold.captured),
            )
        )
        if found.charged == ZERO or found.charged != hold.captured:
            raise WentWrong(f"{name} was charged {found.charged}, captured {hold.captured}")
    teller.table(
        ("作业 job", "!状态 state", "计算 arithmetic", ">冻结 held", ">计费 billed", ">释放 freed"),
        rows,
    )


async def closes_the_period(world: World) -> tuple[list[Period], list[Statement]]:
    """Cut the period now, close it, and put both sides' statements beside each other."""
    teller = world.teller
    teller.chapter("关账与对账单", "Finance cuts and closes the period: both statements side by side")
    began = world.site.created_at
    at = time.floor_second(time.now()) + timedelta(seconds=1)
    closing = []
    async for period in each(world.finance.accounting.list_periods):
        if period.state is PeriodState.OPEN and period.starts_at < at and period.ends_at > began:
            if period.ends_at > at:
                await world.finance.accounting.cut_period(period.id, PeriodCut(at=at))
            closing.append(await world.finance.accounting.close_period(period.id))
    closed = [await _closed(world, period.id) for period in closing]
    for period in closed:
        teller.say(
            f"Period [bold]{period.name}[/] is cut at {clock(period.ends_at)}, and closed at {clock(period.closed_at)}, "
            "once the site had stated all its usage before the cut."
        )
    statements = []
    for period in closed:
        statements += [one async for one in each(world.finance.accounting.list_statements, period=period.id)]
    ours = [s for s in statements if s.party_id == world.organization.id]
    theirs = [s for s in statements if s.party_id == world.provider.id]
    buyer, seller = _sum(ours), _sum(theirs)
    sides = (("企业 organization", ours), ("算力中心 provider", theirs))
    by_name: dict[str, dict[str, Money]] = {}
    for side, found in sides:
        for statement in found:
            async for line in each(world.finance.accounting.list_statement_lines, statement.id, limit=200):
                if not line.line.unit_price:
                    continue
                label = f"{line.job_name or line.line.job}  {line.line.tariff}  {line.line.quantity} 核秒 x {line.line.unit_price}"
                sums = by_name.setdefault(label, {})
                sums[side] = sums.get(side, ZERO) + line.line.amount
    rows: list[Sequence[str | Text]] = [
        (label, *(str(sums.get(side, "")) for side, _ in sides)) for label, sums in sorted(by_name.items())
    ]
    rows.append((Text("含税合计 gross", style="bold"), Text(str(buyer), style="bold"), Text(str(seller), style="bold")))
    rows.append(("其中税额 tax in it", *(str(sum((s.tax for s in found), ZERO)) for _, found in sides)))
    heads = [f"{', '.join(s.number for s in found)}\n{found[0].party_name if found else ''}" for _, found in sides]
    teller.table(("明细 line", *(f">{head}" for head in heads)), rows)
    teller.say(
        _verdict(buyer == seller and bool(ours and theirs), f"{buyer} = {seller}", "双方合计一致 gross is equal")
    )
    await _leave(world, statements)
    if buyer != seller or not ours or not theirs or buyer == ZERO:
        raise WentWrong(f"the statements disagree: organization {buyer}, provider {seller}")
    return closed, statements


async def lets_it_be_checked(world: World, closed: list[Period], statements: list[Statement]) -> None:
    """The trial balance sums to zero, and a script that shares no code comes to the same total."""
    teller = world.teller
    teller.chapter("试算平衡与独立复核", "The trial balance, and an independent script's total beside it")
    books = await world.finance.accounting.get_trial_balance()
    names = {world.organization.id: world.organization.name, world.provider.id: world.provider.name}

    def account(name: str) -> str:
        kind, _, party = name.partition(":")
        return f"{kind} {names.get(party, party)}".strip()

    rows: list[Sequence[str | Text]] = [
        (account(one.account), str(one.debit), str(one.credit), str(one.balance)) for one in books.accounts
    ]
    debit = sum((one.debit for one in books.accounts), ZERO)
    credit = sum((one.credit for one in books.accounts), ZERO)
    rows.append((Text("合计 sum", style="bold"), str(debit), str(credit), Text(str(books.sum), style="bold")))
    teller.table(("科目 account", ">借方 debit", ">贷方 credit", ">余额 balance"), rows)
    folder = await _export(world, closed, statements, books)
    report = await asyncio.to_thread(_independent, folder)
    found, recomputed = (report["totals"][side].get("organization", "0.00") for side in ("found", "recomputed"))
    payable = next((-one.balance for one in books.accounts if one.account == f"payable:{world.provider.id}"), ZERO)
    counts = report["counts"]
    teller.table(
        ("", ">应付算力中心 payable to the provider"),
        [
            ("平台账簿 the platform's ledger", str(payable)),
            ("平台明细 the platform's lines", found),
            (f"独立脚本 the independent script ({counts['usage_records']} 条用量 usage records)", recomputed),
        ],
    )
    equal = report["equal"] and str(payable) == found == recomputed
    teller.say(_verdict(books.sum == ZERO, f"sum {books.sum}", "试算平衡 the trial balance is zero"))
    teller.say(
        _verdict(
            equal,
            f"{counts['lines_compared']} 行 lines, {len(report['differences'])} 处差异 differences",
            "独立复核一致 the independent script agrees, to the fen",
        )
    )
    proved = await asyncio.to_thread(_ledger_verify, world)
    teller.say(
        _verdict(
            not proved["findings"],
            f"{proved['entries']} 分录 entries, {proved['postings']} 过账 postings, {proved['seals']} 封条 seals",
            "账簿自证 caravan ledger verify: all is right",
        )
    )
    if books.sum != ZERO or not equal or proved["findings"]:
        raise WentWrong(f"the books disagree: trial balance {books.sum}, {report['differences']}, {proved['findings']}")


def _verdict(good: bool, figure: str, words: str) -> Text:
    return yes(f"{figure}  {words}") if good else no(f"{figure}  NOT: {words}")


def _sum(statements: Sequence[Statement]) -> Money:
    return sum((statement.gross for statement in statements), ZERO)


async def settled(world: World, name: str) -> Hold:
    """The job's hold, once all that it used is charged."""

    async def look() -> Hold | None:
        hold = await world.enterprise.accounting.get_hold(world.jobs[name])
        return hold if hold.status is HoldStatus.SETTLED else None

    return await world.teller.until(look, f"{name} 结清 settles", world.patience_seconds)


async def _closed(world: World, period: str) -> Period:
    async def look() -> Period | None:
        found = await world.finance.accounting.get_period(period)
        return found if found.state is PeriodState.CLOSED else None

    return await world.teller.until(look, "等待各站点用量到齐 all sites' usage comes in", world.patience_seconds)


async def _leave(world: World, statements: Sequence[Statement]) -> None:
    """The statements as files: JSON with their lines, and the CSV document."""
    folder = world.folder / "statements"
    folder.mkdir(parents=True)
    for statement in statements:
        lines = [line async for line in each(world.finance.accounting.list_statement_lines, statement.id, limit=200)]
        content = statement.model_dump(mode="json") | {"lines": [line.model_dump(mode="json") for line in lines]}
        _write(folder / f"{statement.number}.json", content)
        (folder / f"{statement.number}.csv").write_bytes(await world.finance.accounting.get_statement_csv(statement.id))


async def _export(world: World, closed: list[Period], statements: list[Statement], books: TrialBalance) -> Path:
    """What the independent script reads, all by finance's API."""
    folder = world.folder / "export"
    folder.mkdir(parents=True)
    exports = [await world.finance.accounting.export_usage(period.id) for period in closed]
    lists = {one.id: one for export in exports for one in export.price_lists}
    usage = {(one.record.run, one.record.hour, one.record.revision): one for e in exports for one in e.usage}
    merged = UsageExport(usage=tuple(usage.values()), price_lists=tuple(lists.values()))
    periods = [period async for period in each(world.finance.accounting.list_periods)]
    lines = [line async for line in each(world.finance.accounting.list_lines, limit=200)]
    _write(folder / "usage.json", merged.model_dump(mode="json"))
    parts: dict[str, Sequence[BaseModel]] = {"periods": periods, "lines": lines, "statements": statements}
    for name, items in parts.items():
        _write(folder / f"{name}.json", [item.model_dump(mode="json") for item in items])
    _write(folder / "trial_balance.json", books.model_dump(mode="json"))
    return folder


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _ledger_verify(world: World) -> Any:
    """The command an auditor runs, beside the serving platform."""
    command = [sys.executable, "-m", "caravan.cli", "ledger", "verify", "--json"]
    mode = {"CARAVAN_MODE": "development", "CARAVAN_DATA_DIR": str(world.platform.data)}
    done = subprocess.run(command, env=os.environ | mode, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise WentWrong(f"caravan ledger verify can't read the books: {done.stderr}")
    return json.loads(done.stdout)


def _independent(folder: Path) -> Any:
    command = [sys.executable, "-m", "bench.independent.check", str(folder), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise WentWrong(f"the independent script can't read the export: {done.stderr}")
    return json.loads(done.stdout)
