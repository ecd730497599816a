"""The `caravan` command: run the platform, keep it, and use it.

`server.py` and `agents.py` run services and agents, `keeping.py` is for operators; `market.py`, `sites.py`, `resale.py`, `jobs.py`,
`money.py`, `finance.py`, `programmes.py`, `vouchers.py`, `reimbursements.py`, `usage.py` and `reconciling.py` are the client for
enterprises, centres, finance and the office of programmes, which talks to the services through `caravan.client` alone. Decides nothing.
Open `asking.py` first for the client, `server.py` for the rest.
"""

import typer

from caravan.cli import (
    agents,
    asking,
    contests,
    finance,
    jobs,
    keeping,
    market,
    money,
    programmes,
    reconciling,
    reimbursements,
    resale,
    server,
    sites,
    usage,
    vouchers,
)

app = typer.Typer(
    name="caravan",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One door to a city's compute. 一个入口，用好全市算力。",
    callback=asking.connect,
)
server.add_to(app)
agents.add_to(app)
keeping.add_to(app)
market.add_to(app)
sites.add_to(app)
resale.add_to(app)
jobs.add_to(app)
money.add_to(app)
finance.add_to(app)
contests.add_to(app)
programmes.add_to(app)
vouchers.add_to(app)
reimbursements.add_to(app)
usage.add_to(app)
reconciling.add_to(app)
