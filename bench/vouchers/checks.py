"""What the API says after a step, compared with the model."""

from collections import Counter

from bench.vouchers.runs import borne_by_job
from bench.vouchers.scene import DEPOSIT, Scene
from caravan.contracts.statements import BearerKind
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from services.accounting.ledger.postings import payable, programme_receivable


async def check(scene: Scene, step: str) -> None:
    """All of it is as the model says."""
    await scene.town.expire()
    scene.model.look(to_seconds(scene.town.now))
    await _check_vouchers(scene, step)
    await _check_money(scene, step)
    await _check_papers(scene, step)
    scene.compared.wrong += [f"after {step}: {one}" for one in await scene.town.wrong()]


async def _check_vouchers(scene: Scene, step: str) -> None:
    model, equal = scene.model, scene.compared.equal
    for id, one in model.vouchers.items():
        now = await scene.town.office.get_voucher(id)
        should = (model.state(id), model.pledged(id), model.redeemed(id), one.released, one.clawed_back)
        found = now.state.value, now.pledged.fen, now.redeemed.fen, now.released.fen, now.clawed_back.fen
        equal("voucher", f"{id} after {step}", should, found)
        equal("within", f"{id} after {step}", True, 0 <= now.redeemed.fen <= now.pledged.fen <= now.amount.fen)
    for programme in scene.programmes.values():
        standing = await scene.town.office.get_programme_standing(programme.id, limit=200)
        pools = {one.year: one.committed.fen for one in standing.pools}
        equal(
            "pool",
            f"{programme.name} after {step}",
            {year: model.committed[programme.id, year] for year in pools},
            pools,
        )
        of_years = {(one.organization, one.year): (one.issued.fen, one.redeemed.fen) for one in standing.items}
        should_be = {at: model.of_year(programme.id, *at) for at in of_years}
        equal("year", f"{programme.name} after {step}", should_be, of_years)
        claims = {at: fen for at, fen in (await scene.town.claims(programme.id)).items() if any(fen)}
        claimed = {at: fen for at, fen in model.claimed(programme.id).items() if any(fen)}
        equal("claim", f"{programme.name} after {step}", claimed, claims)


async def _check_money(scene: Scene, step: str) -> None:
    model, equal = scene.model, scene.compared.equal
    borne = [line for line in scene.lines if line.bearer is BearerKind.ORGANIZATION]
    of_jobs = borne_by_job(borne)
    for id, job in scene.jobs.items():
        equal("charge", f"{id} after {step}", job.costs(), of_jobs[id])
    noted = Counter[str]()
    for line in borne:
        noted[line.organization] += scene.noted[line.id]
    for one in scene.buyers:
        funds = await scene.town.finance.get_funds(one.organization)
        uses = [use for use in model.jobs.values() if use.organization == one.organization]
        own = [id for id, held in model.vouchers.items() if held.voucher.organization == one.organization]
        granted = sum(model.pledged(id) for id in own)
        charged = sum(of_jobs[use.id] for use in uses) - noted[one.organization]
        held = sum(use.held - of_jobs[use.id] for use in uses if not use.settled)
        should = (granted, charged, held, DEPOSIT + granted - charged - held)
        found = (funds.granted.fen, funds.charged.fen, funds.held.fen, funds.available.fen)
        equal("funds", f"{one.organization} after {step}", should, found)
    trial = await scene.town.finance.get_trial_balance()
    balances = {account.account: account.balance.fen for account in trial.accounts}
    equal("ledger", f"after {step}", 0, trial.sum.fen)
    sold = sum(of_jobs.values()) - sum(noted.values())
    equal("provider", f"after {step}", -sold, balances.get(payable(scene.sold.provider), 0))
    for programme in scene.programmes.values():
        owed = sum(
            model.redeemed(id) for id, held in model.vouchers.items() if held.voucher.programme["id"] == programme.id
        )
        equal("programme", f"{programme.name} after {step}", owed, balances.get(programme_receivable(programme.id), 0))


async def _check_papers(scene: Scene, step: str) -> None:
    paid, closed = scene.model.claims.paid, scene.closed()
    for line in scene.lines:
        if line.id in scene.known:
            scene.compared.equal(
                "line", f"{line.id} after {step}", paid.of_line(line.id), (line.subsidy or Money(0)).fen
            )
    for one in scene.buyers:
        own = await scene.town.statements(one.organization)
        expected = sorted(close for close, whose in scene.model.statements if whose == one.organization)
        scene.compared.equal("statements", step, expected, sorted(closed[statement.period] for statement in own))
        for statement in own:
            should = scene.model.statements.get((closed[statement.period], one.organization), {})
            found = {two.voucher: (two.on_lines.fen, two.earlier.fen) for two in statement.redemptions}
            what = f"{statement.number} after {step}"
            scene.compared.equal(
                "redemptions",
                what,
                {id: fen for id, fen in should.items() if any(fen)},
                {id: fen for id, fen in found.items() if any(fen)},
            )
            at = statement.period, one.organization
            borne = [line for line in scene.lines if line.bearer is BearerKind.ORGANIZATION]
            gross = sum(line.amount.fen for line in borne if (line.period, line.organization) == at)
            due = gross - sum(sum(fen) for fen in should.values())
            scene.compared.equal("due", what, Money(due), statement.due)
