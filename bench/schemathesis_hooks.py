"""Hooks for schemathesis: generated requests meet things that exist, and long polls don't wait.

`CARAVAN_KNOWN_IDS` is a JSON object: parameter or field name -> an id that exists. About half of the generated ones become it.
"""

import json
import os
from typing import Any

import schemathesis

KNOWN: dict[str, str] = json.loads(os.environ.get("CARAVAN_KNOWN_IDS", "{}"))


def known(name: str, generated: Any) -> Any:
    """The id that exists, for half of the generated values."""
    if name in KNOWN and isinstance(generated, str) and sum(generated.encode("utf-8", "replace")) % 2:
        return KNOWN[name]
    return generated


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    return path_parameters and {name: known(name, value) for name, value in path_parameters.items()}


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    if not query:
        return query
    changed = {name: known(name, value) for name, value in query.items()}
    if isinstance(changed.get("wait"), int | float) and 0 <= changed["wait"] <= 30:
        changed["wait"] = 0
    return changed


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    return {name: known(name, value) for name, value in body.items()} if isinstance(body, dict) else body
