"""Writes openapi/<service>.json from the code: `python -m scripts.openapi`.

With --check it fails where they differ, where an example breaks its schema, and where a problem says nothing of itself.
(That each route has an authorization type and an operation id, the app itself checks when it is made.)
"""

import difflib
import json
import sys
import tempfile
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from caravan.kernel.openapi import invalid_examples, known_problems

FOLDER = Path(__file__).parent.parent / "openapi"
SERVICES = ("catalog", "broker", "accounting")


def main() -> None:
    faults: list[str] = []
    for service in SERVICES:
        path, document = FOLDER / f"{service}.json", make(service)
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
            continue
        committed = path.read_text() if path.exists() else ""
        if committed != text:
            lines = difflib.unified_diff(committed.splitlines(), text.splitlines(), str(path), "the code", lineterm="")
            faults += [
                *islice(lines, 40),
                f"{path.name} differs from the code: run `make openapi`, commit what it writes",
            ]
        faults += [f"{service}: {fault}" for fault in invalid_examples(document)]
    if "--check" in sys.argv:
        faults += [f"problem without a docstring: {code}" for code, one in known_problems().items() if not one.__doc__]
    if faults:
        raise SystemExit("\n".join(faults))


def make(service: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = import_module(f"services.{service}.settings").Settings(mode="development", data_dir=Path(folder))
        document: dict[str, Any] = import_module(f"services.{service}.app").create_app(settings).openapi()
        return document


if __name__ == "__main__":
    main()
