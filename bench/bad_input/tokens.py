"""Each way in which a token can be wrong, and the same ways to make one with nothing wrong."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from bench.platform import Market, Platform
from caravan.kernel import clock
from caravan.kernel.keys import new_private_key
from caravan.kernel.tokens import Signer


class Forge:
    """Tokens for a member of the market's organization, by the installation's key and without it."""

    def __init__(self, platform: Platform, market: Market) -> None:
        now = int(clock.now().timestamp())
        self._settings = platform.settings
        self._signer = platform.signer
        self._pem = next((platform.data / "keys").glob("*.pem")).read_bytes()
        self._permissions = [f"org/{market.organization}:member"]
        self._claims = {
            "iss": platform.settings.issuer,
            "aud": platform.settings.audience,
            "sub": "x",
            "iat": now,
            "exp": now + 600,
            "permissions": self._permissions,
        }

    def bad(self) -> dict[str, str]:
        public = json.dumps(self._signer.public_jwk).encode()
        return {
            "signed with none": unsigned(self._claims),
            "HS256 with the public key": hs256(self._claims, public, self._kid),
            "another key": self._by(new_private_key()),
            "expired": self._signer.sign("x", self._permissions, timedelta(seconds=-60)),
            "without expiry": self._without("exp"),
            "without audience": self._without("aud"),
            "for another audience": self._by(self._pem, audience="elsewhere"),
            "of another issuer": self._by(self._pem, issuer="elsewhere"),
            "not a token": "abc.def.ghi",
        }

    def good(self) -> dict[str, str]:
        """Made in each of the ways in which bad ones are."""
        return {
            "signed by hand": self._without(),
            "of a signer made anew": self._by(self._pem),
            "of the installation's signer": self._signer.sign("x", self._permissions, timedelta(seconds=60)),
        }

    @property
    def _kid(self) -> str:
        return self._signer.public_jwk["kid"]

    def _by(self, pem: bytes, issuer: str | None = None, audience: str | None = None) -> str:
        settings = self._settings
        signer = Signer(pem, issuer=issuer or settings.issuer, audience=audience or settings.audience)
        return signer.sign("x", self._permissions)

    def _without(self, *names: str) -> str:
        """All other claims, signed rightly with the installation's own key."""
        claims = {name: value for name, value in self._claims.items() if name not in names}
        key = serialization.load_pem_private_key(self._pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"the installation's key is a {type(key).__name__}")
        told = told_by({"alg": "ES256", "typ": "JWT", "kid": self._kid}, claims)
        r, s = utils.decode_dss_signature(key.sign(told.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{told}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def unsigned(claims: dict[str, Any]) -> str:
    return f"{told_by({'alg': 'none', 'typ': 'JWT'}, claims)}."


def hs256(claims: dict[str, Any], secret: bytes, kid: str) -> str:
    told = told_by({"alg": "HS256", "typ": "JWT", "kid": kid}, claims)
    return f"{told}.{b64(hmac.new(secret, told.encode(), hashlib.sha256).digest())}"


def told_by(head: dict[str, str], claims: dict[str, Any]) -> str:
    return f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
