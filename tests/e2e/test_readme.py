"""What the README tells a newcomer to type works as it stands."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.platform import Platform

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
async def test_the_tour_ends_with_an_explained_charge(tmp_path: Path, readme: str) -> None:
    tour = re.search(r"<!-- tour.*?-->\n```sh\n(.*?)```", (ROOT / readme).read_text(), re.S)
    assert tour is not None
    async with Platform(tmp_path).start() as platform:
        environment = os.environ | {
            "URL": platform.url("broker").removesuffix("/broker"),
            "CARAVAN_DATA_DIR": str(platform.data),
            "CARAVAN": str(Path(sys.executable).parent / "caravan"),
        }
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", tour[1]],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "hello from" in done.stdout
    assert re.search(r'"arithmetic": {\s*"zh": "1 核 x \d 秒[^"]*",\s*"en": "1 core x \d s', done.stdout), done.stdout[
        -3000:
    ]
