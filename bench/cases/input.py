"""Bad input and bad tokens: each gets a problem that names the field or the byte, and nothing is stored."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from bench.case import Trial, Verdict, case
from bench.platform import Market, Platform, open_market
from caravan.kernel import clock
from caravan.kernel.keys import new_private_key
from caravan.kernel.tokens import Signer


@dataclass(frozen=True)
class Bad:
    """A request, and what must be said of it: status, code, and the pointer or the offset that is named."""

    what: str
    method: str
    path: str
    body: bytes | None
    status: int
    code: str
    pointer: str | None = None
    offset: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


def job(market: Market, **changes: Any) -> bytes:
    spec: dict[str, Any] = {
        "name": "n",
        "project": market.project,
        "script": "true",
        "resources": {"walltime_seconds": 60},
    }
    for path, value in changes.items():
        target = spec
        *way, last = path.split("__")
        for part in way:
            target = target[part]
        target[last] = value
    return json.dumps(spec).encode()


def bad_requests(market: Market) -> Sequence[Bad]:
    """Every kind of bad input; ids are a market's, so that nothing else is wrong."""
    jobs, lists = "/broker/v1/jobs", f"/catalog/v1/offerings/{market.offering}/price-lists"
    good = job(market)
    repeated = good[:-1] + b', "name": "again"}'
    tariff = {"name": "a", "starts_at": "2026-01-01T00:00:00Z", "prices": {"cpu_core_hour": "1.00"}}
    overlap = json.dumps({"tariffs": [tariff, {**tariff, "name": "b", "starts_at": "2026-02-01T00:00:00Z"}]}).encode()
    deposit = json.dumps({"organization": market.organization, "amount": 100.5, "reference": "r"}).encode()
    invalid_utf8 = good.replace(b'"true"', b'"\xff\xfe"')
    return (
        Bad("a walltime of 0", "POST", jobs, job(market, resources__walltime_seconds=0), 422, "invalid", "/resources/walltime_seconds"),
        Bad("10^9 CPUs", "POST", jobs, job(market, resources__cpus_per_task=10**9), 422, "invalid", "/resources/cpus_per_task"),
        Bad("a NUL byte in a script", "POST", jobs, job(market, script="echo \0"), 422, "invalid", "/script"),
        Bad("a lone surrogate in a script", "POST", jobs, job(market, script="echo \ud800"), 422, "invalid", "/script"),
        Bad("invalid UTF-8", "POST", jobs, invalid_utf8, 400, "not_json", offset=invalid_utf8.index(b"\xff")),
        Bad("a repeated key", "POST", jobs, repeated, 400, "not_json", offset=repeated.rindex(b'"name"')),
        Bad("5 MB of script", "POST", jobs, job(market, script="x" * 5_000_000), 413, "too_large"),
        Bad("a script of 600 kB", "POST", jobs, job(market, script="x" * 600_000), 422, "invalid", "/script"),
        Bad("an unknown field", "POST", jobs, job(market, colour="red"), 422, "invalid", "/colour"),
        Bad("an unknown field within", "POST", jobs, job(market, resources__gpus=1), 422, "invalid", "/resources/gpus"),
        Bad("not JSON at all", "POST", jobs, b'{"name": nope}', 400, "not_json", offset=9),
        Bad("overlapping tariffs", "POST", lists, overlap, 422, "invalid", ""),
        Bad("a made-up cursor", "GET", f"{jobs}?cursor=abcdef", None, 422, "invalid", "query/cursor"),
        Bad("a page size of -1", "GET", f"{jobs}?limit=-1", None, 422, "invalid", "query/limit"),
        Bad("money as a number", "POST", "/accounting/v1/deposits", deposit, 422, "invalid", "/amount"),
        Bad("a script and a container", "POST", jobs, job(market, container={"image": "/a.sif"}), 422, "invalid", ""),
        Bad("a deadline", "POST", jobs, job(market, deadline="2030-01-01T00:00:00Z"), 422, "not_supported_here", ""),
        Bad("a made-up feed cursor", "GET", "/broker/v1/feed?after=nonsense", None, 422, "invalid", "query/after"),
    )  # fmt: skip


def bad_tokens(platform: Platform, market: Market) -> dict[str, str]:
    """Each way a token can be wrong."""
    good = platform.signer
    settings = platform.settings
    permissions = [f"org/{market.organization}:member"]

    def other(**changes: str) -> Signer:
        named = {"issuer": settings.issuer, "audience": settings.audience, **changes}
        return Signer(pem, issuer=named["issuer"], audience=named["audience"])

    pem = next((platform.data / "keys").glob("*.pem")).read_bytes()
    now = int(clock.now().timestamp())
    claims = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": "x",
        "iat": now,
        "exp": now + 600,
        "permissions": permissions,
    }
    public = json.dumps(good.public_jwk).encode()
    return {
        "signed with none": unsigned(claims),
        "HS256 with the public key": hs256(claims, public, good.public_jwk["kid"]),
        "another key": Signer(new_private_key(), issuer=settings.issuer, audience=settings.audience).sign(
            "x", permissions
        ),
        "expired": good.sign("x", permissions, timedelta(seconds=-60)),
        "without expiry": signed(platform, {k: v for k, v in claims.items() if k != "exp"}),
        "without audience": signed(platform, {k: v for k, v in claims.items() if k != "aud"}),
        "for another audience": other(audience="elsewhere").sign("x", permissions),
        "of another issuer": other(issuer="elsewhere").sign("x", permissions),
        "not a token": "abc.def.ghi",
    }


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(claims: dict[str, Any]) -> str:
    return f"{b64(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{b64(json.dumps(claims).encode())}."


def hs256(claims: dict[str, Any], secret: bytes, kid: str) -> str:

    head = f"{b64(json.dumps({'alg': 'HS256', 'typ': 'JWT', 'kid': kid}).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{head}.{b64(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


def signed(platform: Platform, claims: dict[str, Any]) -> str:
    """Any claims at all, signed rightly with the installation's own key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    pem = next((platform.data / "keys").glob("*.pem")).read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    kid = platform.signer.public_jwk["kid"]
    head = f"{b64(json.dumps({'alg': 'ES256', 'typ': 'JWT', 'kid': kid}).encode())}.{b64(json.dumps(claims).encode())}"
    r, s = utils.decode_dss_signature(key.sign(head.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{head}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@case(
    "bad-input",
    claim="Bad input and bad tokens are answered by a problem that names the field or the byte; nothing is stored",
    goal="every one as specified, 0 jobs stored",
)
def bad_input(trial: Trial) -> Verdict:
    return asyncio.run(_bad_input(trial))


async def _bad_input(trial: Trial) -> Verdict:
    wrong: list[str] = []
    async with Platform(trial.folder).start() as platform, httpx.AsyncClient(timeout=60) as http:
        market = await open_market(platform)
        everyone = platform.token(
            f"org/{market.organization}:admin",
            f"provider/{market.provider}:admin",
            "platform:finance",
            "platform:admin",
        )
        root = platform.url("broker").removesuffix("/broker")
        requests = bad_requests(market)
        for bad in requests:
            headers = {"Authorization": f"Bearer {everyone}", "Idempotency-Key": bad.what.replace(" ", "-")}
            if bad.body is not None:
                headers["Content-Type"] = "application/json"
            answer = await http.request(bad.method, root + bad.path, content=bad.body, headers=headers)
            if fault := judged(bad, answer):
                wrong.append(f"{bad.what}: {fault}")
        tokens = bad_tokens(platform, market)
        for what, token in tokens.items():
            answer = await http.get(f"{root}/broker/v1/jobs", headers={"Authorization": f"Bearer {token}"})
            if answer.status_code != 401 or answer.json().get("code") != "unauthenticated" or token in answer.text:
                wrong.append(f"a token {what}: {answer.status_code} {answer.text[:200]}")
        jobs = (await http.get(f"{root}/broker/v1/jobs", headers={"Authorization": f"Bearer {everyone}"})).json()[
            "items"
        ]
    total = len(requests) + len(tokens)
    for fault in wrong:
        trial.say(fault)
    return Verdict(
        not wrong and not jobs,
        f"{total - len(wrong)} of {total} as specified, {len(jobs)} jobs stored",
        {"wrong": wrong},
    )


def judged(bad: Bad, answer: httpx.Response) -> str | None:
    """What is wrong with the answer, or None."""
    if answer.headers.get("content-type") != "application/problem+json":
        return f"not a problem: {answer.status_code} {answer.text[:200]}"
    problem = answer.json()
    if (answer.status_code, problem["code"]) != (bad.status, bad.code):
        return f"{answer.status_code} {problem['code']} instead of {bad.status} {bad.code}"
    pointers = [error["pointer"] for error in problem.get("errors", [])]
    if bad.pointer is not None and bad.pointer not in pointers:
        return f"names {pointers}, not {bad.pointer!r}"
    if bad.offset is not None and problem.get("offset") != bad.offset:
        return f"names byte {problem.get('offset')}, not {bad.offset}"
    return None
