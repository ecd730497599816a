"""`caravan reimbursements …` against accounting, from what is due to the payment."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from typer.testing import CliRunner

from caravan.cli import app
from caravan.kernel.tokens import create_signer
from tests.accounting.test_redemptions import charged
from tests.accounting.test_reimbursement_dues import reimbursed
from tests.accounting.test_reimbursements import programme_of
from tests.accounting.volume import close
from tests.accounting.world import World
from tests.support import ok


@asynccontextmanager
async def served(world: World) -> AsyncIterator[str]:
    """Accounting behind a port; its URL."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(world.service.app, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def test_what_is_due_is_claimed_reviewed_and_paid_by_the_command(sold: World, tmp_path: Path) -> None:
    voucher = await reimbursed(sold, "1000.00")
    job, _ = await charged(sold)
    await close(sold)
    programme, signer = await programme_of(sold, voucher), create_signer(sold.service.app.settings)
    async with served(sold) as url:

        async def caravan(who: str, permission: str, *arguments: str, code: int = 0) -> str:
            env = {
                "CARAVAN_ACCOUNTING_URL": url,
                "CARAVAN_TOKEN": signer.sign(who, (permission,)),
                "COLUMNS": "250",
            }
            done = await asyncio.to_thread(CliRunner().invoke, app, ["reimbursements", *arguments], env=env)
            assert done.exit_code == code, done.output
            return done.output

        admin = f"org/{sold.organization}:admin"
        assert " 5.00 " in await caravan("admin", admin, "due", sold.organization)
        assert "Nothing was filed." in await caravan("admin", admin, "list", "--state", "filed")
        filed = await caravan("admin", admin, "file", sold.organization, programme)
        (made,) = ok(await sold.member.get("/reimbursements"))["items"]
        assert made["id"] in filed
        assert "(409 already_exists)" in await caravan("admin", admin, "file", sold.organization, programme, code=1)
        receipt, copy = tmp_path / "receipt.pdf", tmp_path / "copy.pdf"
        receipt.write_bytes(b"%PDF")
        assert "receipt.pdf" in await caravan("admin", admin, "attach", made["id"], str(receipt))
        office = "platform:programmes"
        assert made["id"] in await caravan("first", office, "list", "--programme", programme)
        await caravan("first", office, "evidence", made["id"], "receipt.pdf", "--to", str(copy))
        assert copy.read_bytes() == b"%PDF"
        assert job.id in await caravan("first", office, "show", made["id"])
        for version, reviewer in enumerate(("first", "second"), start=2):
            passes = ("--passed", "--version", str(version), "--reason", "凭证齐全")
            assert "凭证齐全" in await caravan(reviewer, office, "review", made["id"], *passes)
        payment = ("--reference", "XAFB-1", "--on", "2027-04-14")
        assert "XAFB-1" in await caravan("finance", "platform:finance", "pay", made["id"], *payment)
        assert "(409 wrong_state)" in await caravan("admin", admin, "withdraw", made["id"], code=1)
