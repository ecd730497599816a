"""Jobs that run a container: what a spec may say, and which offerings take them."""

import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from caravan.contracts.base import JsonObject, Model, Name, Positive
from caravan.contracts.dispatch import Grant
from caravan.contracts.ids import AttemptId, JobId, OfferingId, TenantId
from caravan.contracts.parties import TenantDraft
from caravan.contracts.spec import Container, EnvName, EnvValue, Index, Resources, Script
from services.broker.adapters.port import TakesContainers, installed
from services.broker.adapters.slurm import adapter as slurm
from services.broker.adapters.slurm.settings import Settings
from tests.broker.conftest import Shop
from tests.broker.market import Market, sold

IMAGE = "docker://registry.example/lab/solver:1.2@sha256:0f"
SITE = {
    "url": "http://slurm.example:6820", "cluster": "one", "user": "caravan", "token": {"key_file": "key"}, "folder": "/shared",
}  # fmt: skip


@pytest.mark.parametrize(
    "image", [IMAGE, "oras://ghcr.example/a/b:1", "/shared/images/a.sif", "/shared/alice/box_1+x@y-z"]
)
def test_an_image_is_at_a_registry_or_at_a_path_of_the_site(image: str) -> None:
    assert Container(image=image).image == image


@pytest.mark.parametrize(
    "image",
    [
        "", "python", "docker://", "docker:///a", "docker-archive:/a", "library://a", "shub://a", "file:///a", "images/a.sif", "-h",
        "docker://-h", "/a b", "/a;b", "/a$b", "/a'b", "/a\nb", "/a:b", "/像", "/shared/images/../../home/bob/a.sif", "/" + "a" * 500,
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(ValidationError):
        Container(image=image)


def test_words_are_kept_as_they_are_and_their_size_is_bounded() -> None:
    words = ("sh", "", "a b", "'\"$HOME`id`\\", "一\n二", "--help")
    assert Container(image=IMAGE, command=words, args=words).args == words
    Container(image=IMAGE, command=("x" * 65_536,), args=("长" * 21_845,))
    for wrong in (("a\0b",), ("",), ("x" * 65_537,), ("x" * 65_536, "长" * 21_846)):
        with pytest.raises(ValidationError):
            Container(image=IMAGE, command=wrong)


@pytest.mark.parametrize(
    ("images", "runs"),
    [
        (["docker://"], True), (["docker://registry.example"], True), (["docker://registry.example/"], True),
        (["docker://registry.example/lab"], True), (["docker://registry.example/lab/solver"], True),
        (["docker://registry.example/lab/solver:1.2"], True), ([IMAGE], True), (["/", "docker://registry.example/lab"], True),
        (["docker://registry.exam"], False), (["docker://registry.example/la"], False), (["docker://registry.example/lab/solver:1"], False),
        (["oras://", "/"], False), ([], False),
    ],
)  # fmt: skip
def test_an_image_is_among_those_that_it_is_below(images: list[str], runs: bool) -> None:
    assert Container(image=IMAGE).among(images) is runs


@pytest.mark.parametrize(
    ("image", "allowed", "runs"),
    [
        ("docker://python:3.13", "docker://python", True),
        ("docker://registry.example/lab@sha256:0a", "docker://registry.example/lab", True),
        ("docker://registry.example:9/lab", "docker://registry.example", False), ("docker://lab:9/a", "docker://lab", False),
        ("/images/a.sif", "/images", True), ("/images@x/a.sif", "/images", False), ("/images@x.sif", "/images/", False),
    ],
)  # fmt: skip
def test_what_begins_as_an_image_does_may_be_another_port_or_folder(image: str, allowed: str, runs: bool) -> None:
    assert Container(image=image).among([allowed]) is runs


def test_an_adapter_has_the_capability_when_it_says_which_images_run() -> None:
    takes = {name for name, adapter in installed().items() if isinstance(adapter, TakesContainers)}
    told = {name for name, adapter in installed().items() if "container" in adapter.descriptor.capabilities}
    assert takes == told == {"kubernetes", "slurm"}


def test_a_slurm_site_runs_containers_where_its_settings_say_how() -> None:
    assert slurm.images(SITE) is None
    assert slurm.images({**SITE, "containers": {"runtime": "apptainer"}}) == ("docker://", "oras://", "/")
    assert slurm.images({**SITE, "containers": {"runtime": "apptainer", "images": ["/i"]}}) == ("/i",)
    assert slurm.images({**SITE, "containers": {"runtime": "slurm"}}) == ("/",)
    assert slurm.images({**SITE, "containers": {"runtime": "slurm", "images": ["docker://"]}}) is None


@pytest.mark.parametrize("folder", ["/a:b", "/a,b"])
def test_a_folder_that_apptainer_would_read_otherwise_refuses_the_site(folder: str) -> None:
    Settings.model_validate({**SITE, "folder": folder, "containers": {"runtime": "slurm"}})
    with pytest.raises(ValidationError, match="apptainer"):
        Settings.model_validate({**SITE, "folder": folder, "containers": {"runtime": "apptainer"}})


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    ("run", "pointer", "code"),
    [
        ({"script": "true", "container": {"image": IMAGE}}, "", "script_or_container"),
        ({"script": None}, "", "script_or_container"),
        ({"script": None, "container": {}}, "/container/image", "missing"),
        ({"script": None, "container": {"image": "/a;b"}}, "/container/image", "string_pattern_mismatch"),
        ({"script": None, "container": {"image": "/a/../b"}}, "/container/image", "image"),
        ({"script": None, "container": {"image": IMAGE, "command": "ls -l"}}, "/container/command", "tuple_type"),
        ({"script": None, "container": {"image": IMAGE, "args": ["a\0"]}}, "/container/args/0", "nul_character"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/quotes", "/v1/jobs"])
async def test_a_wrong_container_is_named(shop: Shop, path: str, run: Any, pointer: str, code: str) -> None:
    platform, spec = shop.market.platform, shop.customer.spec().model_dump(mode="json")
    token = platform.token("enterprise", f"org/{shop.customer.organization}:member")
    transport = httpx.ASGITransport(platform.apps["broker"])
    async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{code}{pointer}"}
        answer = await http.post(path, json=spec | run, headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert "^" not in problem["errors"][0]["detail"]
    if pointer == "":
        assert "script" in problem["errors"][0]["detail"] and "container" in problem["errors"][0]["detail"]


@pytest.mark.asyncio(loop_scope="session")
async def test_offerings_say_why_they_run_no_containers_or_not_this_image(market: Market) -> None:
    some = {"runtime": "apptainer", "images": ["docker://registry.example/lab", "/shared/images"]}
    sites = [
        await market.site(),
        await market.site(adapter="slurm", settings=SITE),
        await market.site(adapter="slurm", settings={**SITE, "containers": some}),
    ]
    offerings = [await market.offering(site) for site in sites]
    customer = await market.customer(sites[0])
    for site in sites[1:]:
        mapped = TenantDraft(site=site, organization=customer.organization, settings={"user": "alice"})
        await market.seller.create_tenant(mapped)
    await market.hand(sites[0])
    for site in sites[1:]:
        await market.hand(site, slurm.descriptor)
    for offering in offerings:
        await sold(customer, offering.id)
    runs = {"docker://registry.example/lab/a:1": True, "/shared/images/a.sif": True, "/home/a.sif": False}
    for image, fits in runs.items():
        spec = customer.spec().model_copy(update={"script": None, "container": Container(image=image)})
        quote = await customer.broker.create_quote(spec)
        assert [candidate.offering for candidate in quote.candidates] == [offerings[2].id] * fits
        told = {refusal.offering: refusal.reasons for refusal in quote.refused}
        for offering in offerings[:2]:
            [reason] = told[offering.id]
            assert (reason.code, reason.field) == ("container", "/container")
        if not fits:
            [reason] = told[offerings[2].id]
            assert (reason.code, reason.field, reason.asked) == ("container_image", "/container/image", image)
            assert reason.limit == "docker://registry.example/lab, /shared/images"


@pytest.mark.asyncio(loop_scope="session")
async def test_the_site_is_given_the_container_as_it_was_asked_for(market: Market) -> None:
    site = await market.site(adapter="slurm", settings={**SITE, "containers": {"runtime": "apptainer"}})
    offering = await market.offering(site)
    customer = await market.customer()
    mapped = TenantDraft(site=site, organization=customer.organization, settings={"user": "alice"})
    await market.seller.create_tenant(mapped)
    hand = await market.hand(site, slurm.descriptor)
    await sold(customer, offering.id)
    container = Container(image=IMAGE, command=("sh", "-c", "echo '$HOME'\n二"), args=("", "--x"))
    job = await customer.submit(customer.spec().model_copy(update={"script": None, "container": container}))
    [item] = (await hand.everything()).values()
    assert item.submission is not None
    assert (item.submission.job, item.submission.script, item.submission.container) == (job.id, None, container)
    assert (await customer.job(job.id)).spec.container == container


class OlderSubmission(Model):
    """As agents had it that knew no containers."""

    tag: Name
    attempt: AttemptId
    job: JobId
    tenant: TenantId
    tenant_settings: JsonObject
    offering: OfferingId
    target: JsonObject
    name: Name
    script: Script
    environment: dict[EnvName, EnvValue]
    resources: Resources
    grant: Grant
    indices: tuple[Index, ...]
    max_parallel: Positive


@pytest.mark.asyncio(loop_scope="session")
async def test_an_agent_older_than_containers_is_given_scripts_as_before(shop: Shop) -> None:
    """It never gets a container: it refuses a site whose settings have `containers`, and only there is a job with one placed."""
    job = await shop.customer.submit()
    agent = shop.market.platform.person("agent", f"site/{shop.site}:agent")
    work = (await agent.get(f"/sites/{shop.site}/work", epoch=shop.hand.epoch)).json()
    [item] = work["items"]
    assert OlderSubmission.model_validate_json(json.dumps(item["submission"])).job == job.id
