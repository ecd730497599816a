"""Tokens: whom a good one stands for, and that every kind of bad one is refused with a reason."""

import base64
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from caravan.kernel.keys import (
    FileKeys,
    FixedKeys,
    UrlKeys,
    development_key,
    load_private_key,
    new_private_key,
    public_jwk,
    read_jwks,
)
from caravan.kernel.problems import Unauthenticated
from caravan.kernel.settings import Settings
from caravan.kernel.tokens import Caller, Signer, Verifier, create_signer, create_verifier

PEM = new_private_key()
JWK = public_jwk(PEM)
RSA_PEM = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
RSA_JWK = public_jwk(RSA_PEM)


class Names(TypedDict):
    issuer: str
    audience: str


NAMES: Names = {"issuer": "https://id.example.org", "audience": "caravan"}


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def jwks(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": list(keys)})


def verifier(*keys: dict[str, Any]) -> Verifier:
    return Verifier(FixedKeys(read_jwks(jwks(*(keys or (JWK, RSA_JWK))))), **NAMES)


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token; a change to None leaves the claim out."""
    now = int(datetime.now(UTC).timestamp())
    good: dict[str, Any] = {
        "iss": NAMES["issuer"],
        "aud": NAMES["audience"],
        "sub": "alice",
        "iat": now,
        "exp": now + 300,
        "permissions": ["org/org_1:member"],
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(body: dict[str, Any], pem: bytes = PEM, **header: Any) -> str:
    """A token signed by hand, as an attacker would: `header` replaces members of the honest one."""
    honest = public_jwk(pem)
    head = {"alg": honest["alg"], "typ": "JWT", "kid": honest["kid"]} | header
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}"
    key = load_private_key(pem)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{signed}.{b64(signature)}"


def hmac_token(secret: bytes, **header: Any) -> str:
    head = {"alg": "HS256", "typ": "JWT", "kid": JWK["kid"]} | header
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims()).encode())}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def unsigned_token() -> str:
    head = {"alg": "none", "typ": "JWT", "kid": JWK["kid"]}
    return f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims()).encode())}."


def public_pem(pem: bytes) -> bytes:
    return (
        load_private_key(pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize("pem", [PEM, RSA_PEM], ids=["ES256", "RS256"])
async def test_a_good_token_gives_its_caller(pem: bytes) -> None:
    caller = await verifier().verify(token(claims(aud=["other", "caravan"]), pem))
    assert caller == Caller("alice", frozenset({"org/org_1:member"}))


@pytest.mark.parametrize("pem", [PEM, RSA_PEM], ids=["ES256", "RS256"])
async def test_the_signers_tokens_are_accepted(pem: bytes) -> None:
    made = Signer(pem, **NAMES).sign("bob", ["platform:admin"])
    assert (await verifier().verify(made)).is_admin


STRANGER = new_private_key()
SECRET_JWK = {"kty": "oct", "k": b64(b"shared-secret-of-32-bytes-length"), "kid": "shared", "alg": "HS256"}
LONG_AGO = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())

BAD: dict[str, tuple[Callable[[], str], str]] = {
    "none": (lambda: unsigned_token(), "algorithm is not accepted"),
    "HS256 with the public key in PEM": (lambda: hmac_token(public_pem(PEM)), "algorithm is not accepted"),
    "HS256 with the public RSA key": (
        lambda: hmac_token(public_pem(RSA_PEM), kid=RSA_JWK["kid"]),
        "algorithm is not accepted",
    ),
    "HS256 with the JWK's text": (lambda: hmac_token(json.dumps(JWK).encode()), "algorithm is not accepted"),
    "another key under a trusted kid": (lambda: token(claims(), STRANGER, kid=JWK["kid"]), "signature"),
    "another key under its own kid": (lambda: token(claims(), STRANGER), "not trusted"),
    "another key, shipped in the header": (lambda: token(claims(), STRANGER, jwk=public_jwk(STRANGER)), "not trusted"),
    "no kid": (lambda: token(claims(), kid=None), "which key"),
    "kid of another type": (lambda: token(claims(), kid=["a"]), "which key"),
    "algorithm of another key type": (lambda: token(claims(), RSA_PEM, kid=JWK["kid"]), "not that of its key"),
    "PS256": (lambda: token(claims(), RSA_PEM, alg="PS256"), "algorithm is not accepted"),
    "ES384": (lambda: token(claims(), alg="ES384"), "algorithm is not accepted"),
    "algorithm in lower case": (lambda: token(claims(), alg="es256"), "algorithm is not accepted"),
    "expired": (lambda: token(claims(exp=LONG_AGO)), "expired"),
    "without expiry": (lambda: token(claims(exp=None)), "`exp`"),
    "without audience": (lambda: token(claims(aud=None)), "`aud`"),
    "another audience": (lambda: token(claims(aud="payroll")), "another audience"),
    "without issuer": (lambda: token(claims(iss=None)), "`iss`"),
    "another issuer": (lambda: token(claims(iss="https://elsewhere.example.org")), "another issuer"),
    "without subject": (lambda: token(claims(sub=None)), "`sub`"),
    "subject of another type": (lambda: token(claims(sub=7)), "not well formed"),
    "empty subject": (lambda: token(claims(sub="")), "subject"),
    "subject with a line break": (lambda: token(claims(sub="a\nb")), "subject"),
    "not valid yet": (lambda: token(claims(nbf=4102444800)), "nbf"),
    "expiry that isn't a number": (lambda: token(claims(exp="soon")), "not well formed"),
    "expiry that is a list": (lambda: token(claims(exp=[1])), "not well formed"),
    "permissions that are a string": (lambda: token(claims(permissions="platform:admin")), "permissions"),
    "permissions that are numbers": (lambda: token(claims(permissions=[1])), "permissions"),
    "claims that are a list": (lambda: token([1]), "not well formed"),  # type: ignore[arg-type]
    "text": (lambda: "hello", "not a signed JWT"),
    "empty": (lambda: "", "not a signed JWT"),
    "dots": (lambda: "..", "not a signed JWT"),
    "a header of nested arrays": (lambda: f"{b64(b'[' * 5000)}.e30.AA", "not a signed JWT"),
    "not ASCII": (lambda: "令牌.令牌.令牌", "not a signed JWT"),
    "too long": (lambda: "a" * 9000, "longer than"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused_with_its_reason_and_never_echoed(name: str) -> None:
    make, reason = BAD[name]
    bad = make()
    with pytest.raises(Unauthenticated) as caught:
        await verifier().verify(bad)
    assert reason is not None
    assert reason in caught.value.detail
    assert bad == "" or bad not in caught.value.detail


async def test_a_tampered_token_is_refused() -> None:
    head, _, signature = token(claims()).split(".")
    forged = b64(json.dumps(claims(permissions=["platform:admin"])).encode())
    with pytest.raises(Unauthenticated, match="signature"):
        await verifier().verify(f"{head}.{forged}.{signature}")


async def test_a_token_without_permissions_may_nothing() -> None:
    caller = await verifier().verify(token(claims(permissions=None)))
    assert caller.permissions == frozenset()


async def test_a_remembered_token_expires_all_the_same() -> None:
    now = datetime.now(UTC)
    seen = Verifier(FixedKeys(read_jwks(jwks(JWK))), **NAMES, now=lambda: now)
    made = token(claims())
    assert (await seen.verify(made)).subject == "alice"
    now += timedelta(seconds=400)
    with pytest.raises(Unauthenticated, match="expired"):
        await seen.verify(made)


async def test_the_memory_of_tokens_is_bounded() -> None:
    small = Verifier(FixedKeys(read_jwks(jwks(JWK))), **NAMES, cache_size=3)
    for number in range(10):
        await small.verify(token(claims(sub=f"user-{number}")))
    assert len(small._cache) == 3


def test_a_jwk_set_gives_only_keys_that_may_sign() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key().public_numbers()
    small_rsa = {"kty": "RSA", "kid": "small", "n": b64(weak.n.to_bytes(128, "big")), "e": "AQAB"}
    keys = read_jwks(
        jwks(
            JWK,
            SECRET_JWK,
            small_rsa,
            RSA_JWK | {"kid": "enc", "use": "enc"},
            RSA_JWK | {"kid": "other-alg", "alg": "PS256"},
            {k: v for k, v in RSA_JWK.items() if k != "kid"},
            {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "kid": "p384"},
        )
    )
    assert set(keys) == {JWK["kid"]}


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{}",
        '{"keys": {}}',
        jwks(),
        jwks(SECRET_JWK),
        jwks({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "k"}),
    ],
)
def test_a_document_without_a_usable_key_is_refused(document: str) -> None:
    with pytest.raises(ValueError):
        read_jwks(document)


class Ticks:
    """A monotonic clock in a test's hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_changed_key_file_is_read_again_and_a_removed_key_ends_its_tokens(tmp_path: Path) -> None:
    path, ticks = tmp_path / "jwks.json", Ticks()
    path.write_text(jwks(JWK))
    seen = Verifier(FileKeys(path, monotonic=ticks), **NAMES)
    old, new = token(claims()), token(claims(), RSA_PEM)
    await seen.verify(old)
    with pytest.raises(Unauthenticated, match="not trusted"):
        await seen.verify(new)

    path.write_text(jwks(RSA_JWK))
    os.utime(path, ns=(1, 1))
    await seen.verify(old)  # the file is looked at once a second at most
    ticks.now += 1.5
    assert (await seen.verify(new)).subject == "alice"
    with pytest.raises(Unauthenticated, match="not trusted"):
        await seen.verify(old)

    path.write_text("broken")
    ticks.now += 1.5
    assert (await seen.verify(new)).subject == "alice"  # the keys that were read last


class KeyServer:
    """Serves a JWK set, counts how often it is asked, and can be down."""

    def __init__(self, document: str) -> None:
        self.document, self.asked, self.down = document, 0, False

    def client(self) -> httpx.AsyncClient:
        def answer(request: httpx.Request) -> httpx.Response:
            self.asked += 1
            return httpx.Response(503) if self.down else httpx.Response(200, text=self.document)

        return httpx.AsyncClient(transport=httpx.MockTransport(answer))


async def test_keys_of_a_url_are_kept_and_fetched_for_an_unknown_kid_every_ten_seconds_at_most() -> None:
    server, ticks = KeyServer(jwks(JWK)), Ticks()
    async with server.client() as client:
        seen = Verifier(UrlKeys("https://id.example.org/jwks", client=client, monotonic=ticks), **NAMES)
        old, new = token(claims()), token(claims(), RSA_PEM)
        await seen.verify(old)
        for _ in range(5):
            with pytest.raises(Unauthenticated, match="not trusted"):
                await seen.verify(new)
        assert server.asked == 1

        server.document = jwks(JWK, RSA_JWK)
        ticks.now += 11
        assert (await seen.verify(new)).subject == "alice"
        assert server.asked == 2

        server.down = True
        ticks.now += 301
        assert (await seen.verify(old)).subject == "alice"  # while the URL is down, the keys of before
        assert server.asked == 3

        server.down, server.document = False, jwks(RSA_JWK)
        ticks.now += 11
        with pytest.raises(Unauthenticated, match="not trusted"):
            await seen.verify(old)


def test_processes_that_start_at_once_agree_on_one_development_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(development_key(tmp_path / "keys"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 12
    assert len(set(keys)) == 1
    assert [p.name for p in (tmp_path / "keys").iterdir()] == ["platform.pem"]
    assert (tmp_path / "keys" / "platform.pem").stat().st_mode & 0o777 == 0o600


async def test_development_trusts_the_key_it_made(tmp_path: Path) -> None:
    settings = Settings(mode="development", data_dir=tmp_path)
    made = create_signer(settings).service_token("broker")
    caller = await create_verifier(settings).verify(made)
    assert caller.subject == "service:broker"
    assert caller.is_service("broker")


async def test_production_services_sign_with_their_own_key(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(jwks(RSA_JWK, JWK))
    (tmp_path / "key.pem").write_bytes(PEM)
    settings = Settings(issuer="https://id", jwks=str(tmp_path / "jwks.json"), service_key=tmp_path / "key.pem")
    caller = await create_verifier(settings).verify(create_signer(settings).service_token("catalog"))
    assert caller.is_service("catalog")


def test_production_without_a_service_key_says_so(tmp_path: Path) -> None:
    settings = Settings(issuer="https://id", jwks=str(tmp_path / "jwks.json"))
    with pytest.raises(RuntimeError, match="CARAVAN_SERVICE_KEY"):
        create_signer(settings)


def test_an_unreadable_key_file_says_which(tmp_path: Path) -> None:
    settings = Settings(issuer="https://id", jwks=str(tmp_path / "none.json"))
    with pytest.raises(RuntimeError, match=r"CARAVAN_JWKS \(.*none.json\)"):
        create_verifier(settings)


def test_a_service_token_is_kept_until_half_of_its_life_is_over() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    signer = Signer(PEM, **NAMES, now=lambda: now)
    first = signer.service_token("broker")
    now += timedelta(seconds=100)
    assert signer.service_token("broker") == first
    assert signer.service_token("catalog") != first
    now += timedelta(seconds=100)
    assert signer.service_token("broker") != first
