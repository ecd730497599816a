"""`python -m bench.city.independent FOLDER [--json]`: 0 where all claims are what was computed, 1 where not, 2 where it can't be read."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from bench.city.independent.compare import compare
from bench.city.independent.reading import Unreadable
from bench.city.independent.report import Report


def main() -> int:
    """Compare one folder and print each difference, and counts."""
    parser = argparse.ArgumentParser(description="Hold the claims of a played city to what its facts come to.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    try:
        report = compare(arguments.folder)
    except (Unreadable, KeyError, TypeError, ValueError) as error:
        print(f"can't read {arguments.folder}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(_json(report) if arguments.json else _text(report))
    return 1 if report.differences else 0


def _json(report: Report) -> str:
    found = [asdict(difference) for difference in report.differences]
    counts = {"compared": report.compared, "differences": found}
    return json.dumps(counts, ensure_ascii=False, indent=1, default=str)


def _text(report: Report) -> str:
    differences = [
        f"{found.kind}: {found.key}: claimed {found.claimed}, computed {found.computed}" for found in report.differences
    ]
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(report.compared.items()))
    return "\n".join([*differences, f"compared {counts}; {len(differences)} differences"])


if __name__ == "__main__":
    sys.exit(main())
