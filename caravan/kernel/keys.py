"""Keys that sign tokens: the trusted public ones (a JWK set, RFC 7517), and how to make and read private ones.

A key is RSA of at least 2048 bits (RS256) or EC P-256 (ES256); others in a set are left out.
"""

import contextlib
import hashlib
import json
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from caravan.kernel import clock
from caravan.kernel.logs import get_logger

log = get_logger(__name__)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that may sign tokens, with the one algorithm it may do so by."""

    kid: str
    algorithm: str
    pem: str


def read_jwks(document: str | bytes) -> dict[str, TrustedKey]:
    """The usable keys of a JWK set (RFC 7517), by `kid`; keys of other kinds, and keys without one, are left out.

    Raises ValueError when the document isn't a JWK set, has a broken key, or has no usable one.
    """
    parsed = json.loads(document)
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise ValueError('not a JWK set: there is no list "keys"')
    keys: dict[str, TrustedKey] = {}
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        if isinstance(kid, str) and (found := _public_key(entry)):
            algorithm, public = found
            if entry.get("use", "sig") == "sig" and entry.get("alg", algorithm) == algorithm:
                pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
                keys[kid] = TrustedKey(kid, algorithm, pem.decode("ascii"))
    if not keys:
        raise ValueError("no key with a kid that is RSA (2048 bits or more) or EC P-256")
    return keys


def _public_key(entry: Mapping[str, Any]) -> tuple[str, rsa.RSAPublicKey | ec.EllipticCurvePublicKey] | None:
    """The algorithm that a JWK's type stands for, and its public half. None for kinds that are not accepted."""
    match entry:
        case {"kty": "RSA", "n": str(n), "e": str(e)}:
            rsa_key = rsa.RSAPublicNumbers(_integer(e), _integer(n)).public_key()
            return ("RS256", rsa_key) if rsa_key.key_size >= 2048 else None
        case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y)}:
            return "ES256", ec.EllipticCurvePublicNumbers(_integer(x), _integer(y), ec.SECP256R1()).public_key()
    return None


def _integer(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


class Keys(Protocol):
    """Where trusted keys come from. `generation` changes when they do."""

    generation: int

    async def refresh(self) -> None:
        """Look whether they have changed, not more often than the source can bear."""

    async def find(self, kid: str) -> TrustedKey | None: ...


class FixedKeys:
    """Keys that are in hand."""

    generation = 0

    def __init__(self, keys: Mapping[str, TrustedKey]) -> None:
        self._keys = dict(keys)

    async def refresh(self) -> None:
        return

    async def find(self, kid: str) -> TrustedKey | None:
        return self._keys.get(kid)


class FileKeys:
    """A JWK set in a file, read again when the file changes (looked at once a second at most).

    A file that has become unreadable or wrong keeps the keys that were read last, with an error in the log.
    """

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self.generation = 0
        self._path = path
        self._monotonic = monotonic
        self._stamp = self._stat()
        self._keys = read_jwks(path.read_bytes())
        self._looked = monotonic()

    async def refresh(self) -> None:
        if self._monotonic() - self._looked < 1.0:
            return
        self._looked = self._monotonic()
        try:
            stamp = self._stat()
            if stamp != self._stamp:
                self._keys = read_jwks(self._path.read_bytes())
                self._stamp = stamp
                self.generation += 1
        except (OSError, ValueError) as error:
            log.error("jwks_unreadable", path=str(self._path), error=str(error))

    async def find(self, kid: str) -> TrustedKey | None:
        return self._keys.get(kid)

    def _stat(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino


class UrlKeys:
    """A JWK set at a URL: kept 300 s, and fetched anew for an unknown `kid` (every 10 s at most).

    While the URL doesn't answer, the keys that were fetched last stay in use, with an error in the log.
    """

    TTL_SECONDS: Final = 300.0
    RETRY_SECONDS: Final = 10.0

    def __init__(
        self, url: str, *, client: httpx.AsyncClient | None = None, monotonic: Callable[[], float] = clock.monotonic
    ) -> None:
        self.generation = 0
        self._url = url
        self._client = client
        self._monotonic = monotonic
        self._keys: dict[str, TrustedKey] = {}
        self._fetched = self._tried = float("-inf")

    async def refresh(self) -> None:
        if self._monotonic() - self._fetched >= self.TTL_SECONDS:
            await self._fetch()

    async def find(self, kid: str) -> TrustedKey | None:
        if kid not in self._keys:
            await self._fetch()
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        if self._monotonic() - self._tried < self.RETRY_SECONDS:
            return
        self._tried = self._monotonic()
        try:
            if self._client is not None:
                answer = await self._client.get(self._url)
            else:
                async with httpx.AsyncClient(timeout=5.0) as client:
                    answer = await client.get(self._url)
            keys = read_jwks(answer.raise_for_status().content)
        except (httpx.HTTPError, ValueError) as error:
            log.error("jwks_unreachable", url=self._url, error=str(error) or type(error).__name__)
            return
        self._fetched = self._monotonic()
        if keys.keys() != self._keys.keys():
            self.generation += 1
        self._keys = keys


def load_private_key(pem: bytes) -> PrivateKey:
    """An RSA or EC P-256 private key in PEM. Raises ValueError for all others."""
    key = serialization.load_pem_private_key(pem, password=None)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("the key is neither RSA of 2048 bits or more nor EC P-256")


def public_jwk(pem: bytes) -> dict[str, str]:
    """The public half of a PEM private key as a JWK; `kid` is its thumbprint (RFC 7638)."""
    public = load_private_key(pem).public_key()
    members: dict[str, str]
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        members = {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}
    else:
        point = public.public_numbers()
        members = {"crv": "P-256", "kty": "EC", "x": _number(point.x, 32), "y": _number(point.y, 32)}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return members | {"kid": _base64url(digest), "use": "sig", "alg": "RS256" if members["kty"] == "RSA" else "ES256"}


def _number(value: int, length: int | None = None) -> str:
    return _base64url(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def new_private_key() -> bytes:
    """A new EC P-256 private key in PEM (PKCS #8)."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def development_key(folder: Path) -> bytes:
    """The development installation's private key, made at first use.

    Processes that start at once agree on one: each writes a file of its own (0600), and the first to link it to the final
    name wins.
    """
    final = folder / "platform.pem"
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = folder / f".{os.getpid()}.{secrets.token_hex(8)}.pem"
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(new_private_key())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(own, final)
        finally:
            own.unlink()
    return final.read_bytes()
