"""A second agent's process for the contract suite: opens the same site and does what it is told, a JSON line each.

`["stage", submission]` answers the reference, `["release", reference]` answers null; an error answers {"error": its class}.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from caravan.contracts.dispatch import Submission
from services.broker.adapters.port import Backend, BackendError, SiteContext, installed


async def main(adapter: str, site: str, settings: dict[str, Any], secrets: str) -> None:
    context = SiteContext(site=site, settings=settings, secrets=Path(secrets))
    async with installed()[adapter].open(context) as backend:
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await answer(backend, *json.loads(line))), flush=True)


async def answer(backend: Backend, what: str, with_this: Any) -> Any:
    try:
        if what == "stage":
            return await backend.stage(Submission.model_validate_json(json.dumps(with_this)))
        if what == "release":
            return await backend.release(with_this)
    except BackendError as error:
        return {"error": type(error).__name__}
    raise ValueError(what)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]))
