"""`caravan reconcile nights` against an accounting that tells of two nights."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from caravan.cli import app
from caravan.contracts.reconciliations import BooksReconciliation, Finding, ReconciliationScope, SiteReconciliation
from caravan.kernel import ids
from caravan.kernel.pages import Page

SITE = SiteReconciliation(
    site=ids.new("sit"),
    start=datetime(2026, 3, 30, 16, tzinfo=UTC),
    end=datetime(2026, 3, 31, 16, tzinfo=UTC),
    compared=1204,
    differing=0,
    open=2,
    newer=0,
    not_kept=0,
)
GOOD = BooksReconciliation(
    id=ids.new("rec"),
    scope=ReconciliationScope.ALL,
    at=datetime(2026, 3, 31, 19, tzinfo=UTC),
    checked=12,
    found=0,
    findings=(),
    sites=(SITE,),
)
BAD = GOOD.model_copy(
    update={
        "scope": ReconciliationScope.CHANGED,
        "checked": 3,
        "found": 1,
        "findings": (Finding(check="usage", subject="job_1", detail="41 and 40"),),
    }
)


@contextmanager
def accounting(*nights: BooksReconciliation) -> Iterator[str]:
    content = Page[BooksReconciliation](items=list(nights), next=None).model_dump_json().encode()

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path.startswith("/accounting/v1/reconciliations?")
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("nights", "code"), [((), 0), ((GOOD, BAD), 0), ((BAD, GOOD), 1)])
def test_nights_are_listed_and_the_last_one_makes_the_exit_code(
    nights: tuple[BooksReconciliation, ...], code: int
) -> None:
    with accounting(*nights) as url:
        env = {"CARAVAN_TOKEN": "x", "CARAVAN_URL": url, "COLUMNS": "200"}
        shown = CliRunner().invoke(app, ["reconcile", "nights"], env=env)
        told = CliRunner().invoke(app, ["reconcile", "nights", "--json"], env=env)
    assert (shown.exit_code, told.exit_code) == (code, code)
    if nights:
        assert "1 days, 1,204 runs" in shown.stdout
        assert "found nothing" in shown.stdout and "job_1" in shown.stdout and "41 and 40" in shown.stdout
    else:
        assert "No night" in shown.stdout
