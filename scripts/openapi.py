"""Writes openapi/<service>.json from the code; with --check it fails where they differ: `python -m scripts.openapi`."""

import difflib
import json
import sys
from importlib import import_module
from itertools import islice
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "openapi"
SERVICES = ("catalog", "broker", "accounting")


def main() -> None:
    stale = False
    for service in SERVICES:
        path, text = FOLDER / f"{service}.json", schema(service)
        if "--check" not in sys.argv:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        committed = path.read_text() if path.exists() else ""
        if committed != text:
            stale = True
            difference = difflib.unified_diff(
                committed.splitlines(), text.splitlines(), str(path), "the code", lineterm=""
            )
            print("\n".join(islice(difference, 40)))
    if stale:
        raise SystemExit("openapi/ differs from the code: run `make openapi` and commit what it writes")


def schema(service: str) -> str:
    settings = import_module(f"services.{service}.settings").Settings(mode="development")
    app = import_module(f"services.{service}.app").create_app(settings)
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
