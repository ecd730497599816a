"""The `caravan` command: run the platform, keep it, and use it.

`server.py` runs services and agents, `keeping.py` is for operators, `client.py` for enterprises. Talks to services through
`caravan.client` alone; decides nothing. Open `server.py` first.
"""

import typer

from caravan.cli import keeping, server

app = typer.Typer(
    name="caravan",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One door to a city's compute. 一个入口，用好全市算力。",
)
server.add_to(app)
keeping.add_to(app)
