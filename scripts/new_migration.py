"""Drafts a service's next migration from its models: `python -m scripts.new_migration catalog "Add the colour of offerings"`.

What the models have and a freshly migrated SQLite database lacks is written to services/<service>/migrations/versions/ and formatted.
Read it before you commit it: a renamed column is drafted as one dropped and one added, and triggers and data are not seen at all.
`make check` then holds migrations and models against each other on both engines. The kernel's tables are part of every
service's models, so a change of them is drafted once for each service.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations.ops import MigrationScript
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, TypeDecorator
from sqlalchemy.types import TypeEngine

from caravan.kernel.migrations import config, migrate, on_connection
from scripts.migrations import SERVICES, metadata

FILE = '''\
"""{message}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down_revision}


def upgrade() -> None:
{upgrade}
'''


def main() -> None:
    match sys.argv[1:]:
        case [service, message] if service in SERVICES:
            print(draft(service, message.rstrip(".")) or f"the migrations of {service} have all that its models have")
        case _:
            raise SystemExit(f'usage: python -m scripts.new_migration {"|".join(SERVICES)} "What it changes"')


def draft(service: str, message: str) -> Path | None:
    """Write the next revision and return its file; None where the models have nothing new."""
    scripts = ScriptDirectory.from_config(config(service))
    last = scripts.get_current_head()
    revision = f"{int(last or 0) + 1:04}"
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/migrated.db"
        if last is not None:
            migrate(url, service)
        upgrade = on_connection(url, lambda connection: difference(connection, service, batch=last is not None))
    if not upgrade:
        return None
    slug = re.sub(r"\W+", "_", message.lower())[:40].strip("_")
    path = Path(scripts.versions) / f"{revision}_{slug}.py"
    path.parent.mkdir(exist_ok=True)
    quoted = f'"{last}"' if last is not None else "None"
    path.write_text(FILE.format(message=message, revision=revision, down_revision=quoted, upgrade=upgrade))
    for arguments in (["check", "--fix-only", "--quiet"], ["format", "--quiet"], ["check", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, path], check=arguments[0] == "format")
    return path


def difference(connection: Connection, service: str, *, batch: bool) -> str:
    """The body of `upgrade`. SQLite alters a table by making it anew (`batch`)."""
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    found: MigrationScript = produce_migrations(context, metadata(service))
    if found.upgrade_ops is None or found.upgrade_ops.is_empty():
        return ""
    code = render_python_code(found.upgrade_ops, render_as_batch=batch, render_item=plain, migration_context=context)
    lines = [line for line in code.splitlines() if not line.lstrip().startswith("# ###")]
    return "\n".join(lines).rstrip()


def plain(kind: str, item: Any, _: object) -> str | Literal[False]:
    """Types as the database has them: a migration stays as it is when the kernel's types change."""
    if kind == "type" and isinstance(item, TypeDecorator):
        stored: TypeEngine[Any] = item.impl_instance
        return f"sa.{stored!r}"
    return False


if __name__ == "__main__":
    main()
