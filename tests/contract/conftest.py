"""Sites for the contract suite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.backends import HARNESSES, Harness, Site


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    return HARNESSES[request.param][0](tmp_path, request.getfixturevalue)


@pytest.fixture
async def site(harness: Harness) -> AsyncIterator[Site]:
    async with harness.open() as backend:
        site = Site(harness, backend)
        yield site
        await site.clear()
