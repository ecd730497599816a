"""Production as an operator runs it: migrated by hand, tokens by the identity provider's keys, and no fake in sight."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from bench.platform import Platform, eventually, until
from caravan.client import CatalogClient
from caravan.contracts.offerings import SiteDraft, SiteHealth
from caravan.contracts.parties import ProviderDraft, ProviderKind
from caravan.contracts.problems import AdapterUnknown, ConsentNeeded
from caravan.kernel.keys import new_private_key, public_jwk
from caravan.kernel.tokens import Signer

ISSUER = "https://idp.example"


def caravan(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "caravan.cli", *arguments]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=False)


@pytest.mark.slow
async def test_production_serves_once_it_is_migrated_and_trusts_only_the_keys_it_was_given(tmp_path: Path) -> None:
    pem = new_private_key()
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [public_jwk(pem)]}))
    environment = {
        "CARAVAN_MODE": "production",
        "CARAVAN_ISSUER": ISSUER,
        "CARAVAN_JWKS": str(tmp_path / "jwks.json"),
        "CARAVAN_SERVICE_KEY": str(tmp_path / "key.pem"),
    }
    platform = Platform(tmp_path, environment=environment)
    installed = environment | {"CARAVAN_DATA_DIR": str(platform.data)}
    refused = caravan("serve", env=installed)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1 and "Run: caravan migrate" in refused.stderr
    assert caravan("migrate", env=installed).returncode == 0
    async with platform.start():
        signer = Signer(pem, issuer=ISSUER, audience="caravan")
        url, root = platform.url("catalog"), platform.url("catalog").removesuffix("/catalog")
        async with CatalogClient(url, signer.sign("operator", ["platform:admin"])) as operator:
            applied = await operator.apply_provider(
                ProviderDraft(name="Centre", kind=ProviderKind.OTHER, region="Xi'an")
            )
            provider = (await operator.approve_provider(applied.id)).id
        site = SiteDraft(
            provider=provider, name="One", region="Xi'an", adapter="local", settings={"folder": str(tmp_path / "site")}
        )
        async with CatalogClient(url, signer.sign("centre", [f"provider/{provider}:admin"])) as centre:
            with pytest.raises(ConsentNeeded):
                await eventually(centre.create_site, site)
            with pytest.raises(AdapterUnknown) as unknown:
                await centre.create_site(site.model_copy(update={"adapter": "fake", "settings": {}}))
            assert unknown.value.members["known"] == ("kubernetes", "local", "slurm")
            consenting = {**site.settings, "i_accept_jobs_on_this_machine": True}
            here = (await centre.create_site(site.model_copy(update={"settings": consenting}))).id

            async def health() -> SiteHealth | None:
                return (await centre.get_site(here)).health

            told = await until(health, "the broker's agent has looked at the site")
            assert told.state == "refused" and "CARAVAN_JOBS_ON_THIS_MACHINE=true" in told.detail
        async with httpx.AsyncClient() as http:
            headers = {"Authorization": f"Bearer {platform.token('platform:admin')}"}
            assert (await http.get(f"{url}/v1/providers", headers=headers)).status_code == 401
            nowhere = await http.get(f"{root}/nowhere")
            assert nowhere.status_code == 404
            assert nowhere.json()["request_id"] == nowhere.headers["x-request-id"]
    async with (
        platform.start(CARAVAN_JOBS_ON_THIS_MACHINE="true"),
        CatalogClient(url, signer.sign("centre", [f"provider/{provider}:admin"])) as centre,
    ):

        async def healthy() -> bool:
            found = await health()
            return found is not None and found.state == "healthy"

        await until(healthy, "the operator has agreed")
