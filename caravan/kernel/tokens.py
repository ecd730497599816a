"""Tokens: who calls, and what they may do. The only module that imports python-jose.

A token is a JWT signed with RS256 or ES256 by a key of the trusted JWK set, with `iss`, `aud`, `sub` and `exp`, and
`permissions`: a list of strings such as `org/<id>:member`. The key is chosen by `kid`, its type decides the algorithm, and no
shared secret is ever a key. Every key of the set may sign for any subject: keep it to the identity provider's and the services' own.

`Verifier` turns a token into a `Caller`; `Signer` makes tokens from a PEM key, for services and for development.
"""

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from jose import jwk, jwt
from jose.exceptions import ExpiredSignatureError, JWTError

from caravan.kernel import clock
from caravan.kernel.keys import FileKeys, FixedKeys, Keys, UrlKeys, development_key, public_jwk, read_jwks
from caravan.kernel.problems import Unauthenticated
from caravan.kernel.settings import ServiceName, Settings

MAX_TOKEN_BYTES: Final = 8192
LEEWAY_SECONDS: Final = 5
"""How far two machines' clocks may differ."""
SERVICE_TOKEN_LIFE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by the token: a subject and its permissions.

    `platform:admin`, `platform:finance` and `platform:programmes` (the office that runs programmes) are apart, none implies another;
    `is_platform_reader` is either of the first two, for routes where reading is sensible for both. An
    organization's admin is a member of it too. Authority comes from permissions only, never from how a subject is spelled.
    """

    subject: str
    permissions: frozenset[str]

    @property
    def is_admin(self) -> bool:
        return "platform:admin" in self.permissions

    @property
    def is_finance(self) -> bool:
        return "platform:finance" in self.permissions

    @property
    def is_office(self) -> bool:
        return "platform:programmes" in self.permissions

    @property
    def is_platform_reader(self) -> bool:
        return self.is_admin or self.is_finance

    def organizations(self) -> frozenset[str]:
        """Ids of the organizations where the caller is a member or an admin."""
        return self._ids("org/", (":admin", ":member"))

    def is_org_admin(self, organization: str) -> bool:
        return f"org/{organization}:admin" in self.permissions

    def is_org_member(self, organization: str) -> bool:
        return f"org/{organization}:member" in self.permissions or self.is_org_admin(organization)

    def providers(self) -> frozenset[str]:
        """Ids of the providers that the caller administers."""
        return self._ids("provider/", (":admin",))

    def is_provider_admin(self, provider: str) -> bool:
        return f"provider/{provider}:admin" in self.permissions

    def sites(self) -> frozenset[str]:
        """Ids of the sites whose agent the caller is."""
        return self._ids("site/", (":agent",))

    def is_agent(self, site: str) -> bool:
        return f"site/{site}:agent" in self.permissions

    def is_service(self, name: ServiceName | None = None) -> bool:
        """Whether the caller is a service of the platform (this one, when named)."""
        if name is not None:
            return f"service:{name}" in self.permissions
        return any(permission.startswith("service:") for permission in self.permissions)

    def _ids(self, prefix: str, roles: tuple[str, ...]) -> frozenset[str]:
        return frozenset(
            permission[len(prefix) :].rpartition(":")[0]
            for permission in self.permissions
            if permission.startswith(prefix) and permission.endswith(roles)
        )


class Verifier:
    """Turns a bearer token into a `Caller`, or raises `Unauthenticated` saying what is wrong with it.

    A verified token is remembered until it expires (at most `cache_size` of them; all are forgotten when the trusted keys
    change), because checking an RSA signature costs more than most of what a request then does.
    """

    OPTIONS: Final = {
        "require_exp": True,
        "require_aud": True,
        "require_iss": True,
        "require_sub": True,
        "leeway": LEEWAY_SECONDS,
    }

    def __init__(
        self, keys: Keys, *, issuer: str, audience: str, now: clock.Clock = clock.now, cache_size: int = 4096
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._cache: OrderedDict[bytes, tuple[Caller, int]] = OrderedDict()
        self._cache_size = cache_size
        self._generation = keys.generation

    async def verify(self, token: str) -> Caller:
        """The caller that `token` stands for."""
        await self._keys.refresh()
        if self._generation != self._keys.generation:
            self._cache.clear()
            self._generation = self._keys.generation
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._cache.get(digest)
        if known is not None:
            caller, expires = known
            if self._now().timestamp() <= expires + LEEWAY_SECONDS:
                self._cache.move_to_end(digest)
                return caller
            del self._cache[digest]
            raise Unauthenticated("The token has expired. Get a new one.")
        caller, expires = await self._check(token)
        self._cache[digest] = caller, expires
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return caller

    async def _check(self, token: str) -> tuple[Caller, int]:
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
        try:
            header = jwt.get_unverified_header(token)
        except JWTError:
            raise Unauthenticated("The token is not a signed JWT.") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ("RS256", "ES256"):
            raise Unauthenticated("The token's algorithm is not accepted: use RS256 or ES256.")
        if not isinstance(kid, str):
            raise Unauthenticated("The token doesn't say which key signed it (`kid`).")
        key = await self._keys.find(kid)
        if key is None:
            raise Unauthenticated("The token is signed by a key that is not trusted here.")
        if key.algorithm != algorithm:
            raise Unauthenticated("The token's algorithm is not that of its key.")
        try:
            claims = jwt.decode(
                token,
                jwk.construct(key.pem, key.algorithm),
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options=self.OPTIONS,
            )
        except ExpiredSignatureError:
            raise Unauthenticated("The token has expired. Get a new one.") from None
        except (JWTError, ValueError, TypeError, OverflowError) as error:
            raise Unauthenticated(_reason(str(error))) from None
        return _caller(claims), int(claims["exp"])


_REASONS: Final = (
    ("Signature verification failed", "The token's signature is not by the key that it names."),
    ('required key "exp"', "The token doesn't say when it expires (`exp`)."),
    ('required key "aud"', "The token doesn't say whom it is for (`aud`)."),
    ('required key "iss"', "The token doesn't say who issued it (`iss`)."),
    ('required key "sub"', "The token doesn't say whom it stands for (`sub`)."),
    ("Invalid audience", "The token is for another audience."),
    ("Invalid issuer", "The token is by another issuer."),
    ("not yet valid", "The token is not valid yet (`nbf`)."),
)


def _reason(words: str) -> str:
    return next((plain for part, plain in _REASONS if part in words), "The token's claims are not well formed.")


_SUBJECT = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff]{1,200}")


def _caller(claims: Mapping[str, Any]) -> Caller:
    subject, permissions = claims["sub"], claims.get("permissions", [])
    if not _SUBJECT.fullmatch(subject):
        raise Unauthenticated("The token's subject is not a name of 1 to 200 characters without spaces.")
    if not isinstance(permissions, list) or not all(isinstance(p, str) and _SUBJECT.fullmatch(p) for p in permissions):
        raise Unauthenticated("The token's `permissions` is not a list of names.")
    return Caller(subject, frozenset(permissions))


class Signer:
    """Makes tokens with a private key. Its `kid` is the public key's thumbprint (RFC 7638)."""

    def __init__(self, pem: bytes, *, issuer: str, audience: str, now: clock.Clock = clock.now) -> None:
        self.public_jwk = public_jwk(pem)
        self._key = jwk.construct(pem.decode("ascii"), self.public_jwk["alg"])
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._kept: dict[tuple[str, frozenset[str]], tuple[str, float]] = {}

    def sign(self, subject: str, permissions: Iterable[str], life: timedelta = SERVICE_TOKEN_LIFE) -> str:
        """A new token for `subject`, good for `life` from now."""
        issued = int(self._now().timestamp())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "iat": issued,
            "exp": issued + int(life.total_seconds()),
            "permissions": sorted(permissions),
        }
        return jwt.encode(claims, self._key, self.public_jwk["alg"], headers={"kid": self.public_jwk["kid"]})

    def service_token(self, name: ServiceName, permissions: Iterable[str] = ()) -> str:
        """A service's own token (`service:<name>`), made anew when half of its five minutes are over."""
        return self.kept_token(f"service:{name}", {f"service:{name}", *permissions})

    def kept_token(self, subject: str, permissions: Iterable[str]) -> str:
        """A token that is kept and given again until half of its five minutes are over."""
        wanted = subject, frozenset(permissions)
        now = self._now().timestamp()
        token, renew_at = self._kept.get(wanted, ("", 0.0))
        if now >= renew_at:
            token, renew_at = self.sign(*wanted), now + SERVICE_TOKEN_LIFE.total_seconds() / 2
            self._kept[wanted] = token, renew_at
        return token


def create_verifier(settings: Settings, now: clock.Clock = clock.now) -> Verifier:
    """The verifier that the settings ask for: the trusted JWK set, or in development the installation's own key."""
    keys: Keys
    if settings.jwks is None:
        own = public_jwk(development_key(settings.keys_dir))
        keys = FixedKeys(read_jwks(json.dumps({"keys": [own]})))
    elif settings.jwks.startswith(("http://", "https://")):
        keys = UrlKeys(settings.jwks)
    else:
        try:
            keys = FileKeys(Path(settings.jwks))
        except (OSError, ValueError) as error:
            raise RuntimeError(f"CARAVAN_JWKS ({settings.jwks}) can't be used: {error}") from error
    return Verifier(keys, issuer=settings.issuer, audience=settings.audience, now=now)


def create_signer(settings: Settings, now: clock.Clock = clock.now) -> Signer:
    """The signer of this installation: `service_key`, or in development its own key."""
    if settings.service_key is not None:
        pem = settings.service_key.read_bytes()
    elif settings.development and settings.jwks is None:
        pem = development_key(settings.keys_dir)
    else:
        raise RuntimeError(
            "CARAVAN_SERVICE_KEY is not set: services need a PEM private key whose public key is in CARAVAN_JWKS"
        )
    return Signer(pem, issuer=settings.issuer, audience=settings.audience, now=now)
