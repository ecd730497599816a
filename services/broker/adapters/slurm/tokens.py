"""Tokens for slurmrestd: made or read for each Unix user, renewed before they expire, and never shown."""

import asyncio
import base64
import binascii
import hmac
import json
from pathlib import Path
from typing import Protocol

from caravan.kernel import clock
from services.broker.adapters.port import SiteRefused, Unavailable
from services.broker.adapters.slurm.settings import TokenSource

LIFE_SECONDS = 600
RENEW_SECONDS = 60
"""A token with less life left is renewed first. One that doesn't say when it ends, or lies in a file, is read again so often."""
COMMAND_SECONDS = 20.0


class Source(Protocol):
    async def fetch(self, user: str) -> str:
        """A new token. Raises Unavailable."""


class Tokens:
    """The tokens in use, one for each user."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def of(self, user: str) -> str:
        """A token that will be good for a while. Raises Unavailable: none can be had."""
        async with self._locks.setdefault(user, asyncio.Lock()):
            known = self._known.get(user)
            if known is None or known[1] <= clock.monotonic():
                token = await self._source.fetch(user)
                known = self._known[user] = token, clock.monotonic() + _good_seconds(token)
            return known[0]

    def refused(self, user: str, token: str) -> None:
        """slurmrestd doesn't take it: the next one is fetched anew."""
        if self._known.get(user, ("", 0.0))[0] == token:
            del self._known[user]


class Signed:
    """Signed with the cluster's own key (auth/jwt of Slurm: HS256 over iat, exp and sun)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    async def fetch(self, user: str) -> str:
        now = clock.to_seconds(clock.now())
        parts = {"alg": "HS256", "typ": "JWT"}, {"iat": now, "exp": now + LIFE_SECONDS, "sun": user}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_encoded(hmac.digest(self._key, text.encode(), 'sha256'))}"


class InFile:
    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    async def fetch(self, user: str) -> str:
        name = self._name.replace("{user}", user)
        try:
            token = await asyncio.to_thread((self._folder / name).read_text)
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"the token file {name} can't be read: {type(error).__name__}") from None
        return _checked(token, user)


class Printed:
    def __init__(self, program: Path) -> None:
        self._program = program

    async def fetch(self, user: str) -> str:
        """What it prints; `scontrol token` prints `SLURM_JWT=<token>`."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                self._program, user, stdin=asyncio.subprocess.DEVNULL, stdout=pipe
            )
        except OSError as error:
            raise Unavailable(f"the token program can't be started: {error.strerror}") from None
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
        except TimeoutError:
            raise Unavailable(f"the token program doesn't end within {COMMAND_SECONDS:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise Unavailable(f"the token program ended with exit code {process.returncode}")
        return _checked(printed.decode(errors="replace").strip().removeprefix("SLURM_JWT="), user)


def source(asked: TokenSource, secrets: Path | None) -> Source:
    """Raises SiteRefused: there is no such secret."""
    if secrets is None:
        raise SiteRefused("the agent has no folder of secrets, where the site's token would come from")
    if asked.file is not None:
        return InFile(secrets, asked.file)
    name = asked.key_file or asked.command or ""
    try:
        if asked.key_file is not None:
            return Signed((secrets / name).read_bytes())
        (secrets / name).stat()
    except OSError as error:
        raise SiteRefused(f"{name} in the agent's folder of secrets can't be used: {error.strerror}") from None
    return Printed(secrets / name)


def _checked(text: str, user: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or any(character.isspace() for character in token):
        raise Unavailable("what should be a token isn't one")
    whose = _claims(token).get("sun", _claims(token).get("username", user))
    if whose != user:
        raise Unavailable(f"the token is {whose}'s, and one for {user} is needed")
    return token


def _good_seconds(token: str) -> float:
    """How long the token may be used before the next one is fetched."""
    ends = _claims(token).get("exp")
    if not isinstance(ends, int):
        return RENEW_SECONDS
    left = ends - clock.to_seconds(clock.now())
    return max(0.0, min(left - RENEW_SECONDS, LIFE_SECONDS))


def _claims(token: str) -> dict[str, object]:
    """What a JWT says of itself, unchecked; nothing of what isn't one."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
