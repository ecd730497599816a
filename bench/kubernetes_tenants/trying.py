"""Both tenants of a stand look at both jobs, in all ways: what each sees of its own, and of the other's."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

import httpx

from bench.kubernetes_tenants.stand import Stand, Tenant
from bench.kubernetes_tenants.ways import (
    ADMINISTRATOR,
    BY_KUBERNETES,
    CARAVAN,
    JOB,
    LOOK,
    NOT_THE_AGENTS,
    TOKEN,
)
from bench.leaking import ANYBODY, Row, told_by_caravan
from tests.backends.kubernetes_site import AGENT

NOBODY: Final = ""


async def by_jobs(stand: Stand) -> list[Row]:
    """Each looks around from inside its job, which then ends."""
    names = [one.namespace for one in stand.tenants]
    return [_row(stand, JOB, "all that is there", list(zip(names, await stand.look(), strict=True)))]


async def by_kubernetes(stand: Stand) -> list[Row]:
    """What the API server says to each tenant's service account, if somebody had its token, and to who has none."""
    rows: list[Row] = []
    tls = ssl.create_default_context(cafile=str(stand.cluster.authority))
    async with httpx.AsyncClient(verify=tls, base_url=stand.cluster.url, timeout=60) as http:
        admin = stand.cluster.headers()
        rows += await _asked(stand, http, ADMINISTRATOR, [(ANYBODY, admin)], BY_KUBERNETES)
        rows += await _asked(stand, http, "Kubernetes, without a token", [(NOBODY, {})], BY_KUBERNETES)
        agent = [(NOBODY, stand.cluster.headers(AGENT))]
        rows += await _asked(stand, http, "Kubernetes, as the platform's agent", agent, NOT_THE_AGENTS)
        accounts = [(NOBODY, admin | _as_its_account(one)) for one in stand.tenants]
        rows += await _asked(stand, http, "Kubernetes, as a job's service account", accounts, BY_KUBERNETES)
    return rows


def _as_its_account(one: Tenant) -> dict[str, str]:
    """What the administrator adds to be taken for the account that a job of the tenant runs as."""
    return {"Impersonate-User": f"system:serviceaccount:{one.namespace}:default"}


async def _asked(
    stand: Stand,
    http: httpx.AsyncClient,
    place: str,
    lookers: Sequence[tuple[str, Mapping[str, str]]],
    paths: Sequence[str],
) -> list[Row]:
    rows = []
    for path in paths:
        answers = []
        for (who, headers), of in product(lookers, stand.tenants):
            at = path.format(namespace=of.namespace, pod=of.pod, job=of.kubernetes_job)
            answers.append((who, (await http.get(f"/{at}", headers=headers)).text))
        rows.append(_row(stand, place, path, answers))
    return rows


async def by_caravan(stand: Stand) -> list[Row]:
    told = await told_by_caravan([(one.customer, one.job) for one in stand.tenants])
    return [_row(stand, CARAVAN, path, answers) for path, answers in told.items()]


async def walls(stand: Stand, namespace: str) -> list[str]:
    """What is missing around the pods of a namespace."""
    policies = (await stand.ask("GET", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"))["items"]
    told = (await stand.ask("GET", f"/api/v1/namespaces/{namespace}"))["metadata"]["labels"]
    missing = [] if any(_denies_all(one["spec"]) for one in policies) else [f"{namespace}: no policy denies by default"]
    if told.get("pod-security.kubernetes.io/enforce") != "restricted":
        missing.append(f"{namespace}: pods need not be of the profile restricted")
    return missing


async def tokens(stand: Stand, namespace: str) -> list[str]:
    """Pods of a namespace that are given one."""
    pods = (await stand.ask("GET", f"/api/v1/namespaces/{namespace}/pods"))["items"]
    return [f"{namespace}: {one['metadata']['name']} has a token" for one in pods if _projects(one["spec"])]


def _denies_all(spec: Mapping[str, Any]) -> bool:
    return (
        not spec["podSelector"]
        and {*spec["policyTypes"]} == {"Ingress", "Egress"}
        and not (spec.get("ingress") or spec.get("egress"))
    )


def _projects(spec: Mapping[str, Any]) -> bool:
    sources = [source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    return any("serviceAccountToken" in source for source in sources)


def _row(stand: Stand, place: str, way: str, answers: Sequence[tuple[str, str]]) -> Row:
    """`answers`: who may see their own words, and what they were told."""
    row = stand.words.seen(place, way, answers)
    if place == JOB and any(TOKEN in answer for _, answer in answers):
        row = replace(row, other=(*row.other, "a token of the cluster's"))
    stand.trial.say(str(row))
    return row


async def planted(stand: Stand) -> dict[str, bool]:
    """What a centre could get wrong -> whether it was found."""
    alice, bob = stand.tenants
    found: dict[str, bool] = {}
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "too-much"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": bob.namespace}],
    }
    path = f"/apis/{group}/v1/namespaces/{alice.namespace}/rolebindings"
    await stand.ask("POST", path, binding)
    found["a role for another's service account"] = await _until_found(stand)
    await stand.ask("DELETE", f"{path}/too-much")
    said = await stand.by_a_pod_with_a_token(bob.namespace, LOOK)
    found["a token in a pod"] = TOKEN in said and bool(await tokens(stand, bob.namespace))
    third = await stand.let_in(alice.settings, "Bahe Optics 灞河光学")
    seen = stand.words.found_in(await third.said(f"#!/bin/sh\n{LOOK}\n"))
    found["one namespace and folder for two organizations"] = (alice.namespace, "file") in seen
    found["a namespace without walls"] = len(await walls(stand, "default")) == 2
    return found


async def _until_found(stand: Stand) -> bool:
    """Whoever decides who may do what hears of a role a moment later."""
    for _ in range(50):
        if any(row.other for row in await by_kubernetes(stand)):
            return True
        await asyncio.sleep(0.1)
    return False
