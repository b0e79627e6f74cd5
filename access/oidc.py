"""Bearer tokens of an OpenID Connect provider, in addition to API keys.

A token is a JWT. The provider publishes the public keys that verify its signature (JWKS). The
algorithm must be asymmetric, and must be the algorithm of the key that the token names.
A background thread fetches the keys, so no call waits for the provider. A call with an unknown
key is refused and starts a fetch; a retry then succeeds.
"""

import ipaddress
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from access.tokens import TokenSource, VerifiedToken
from eventlog.errors import SettingError
from eventlog.settings import from_environment

PREFIX = "DRIFTLINE_OIDC_"
_ALGORITHMS = frozenset({
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
})  # fmt: skip
_LONGEST_TOKEN = 16_384
_LARGEST_SET = 1 << 20
_RECHECK_S = 60.0  # seconds after which a token is verified again, in case its key was withdrawn
_RETRY_S = 5.0  # seconds between fetches after a failure, or for unknown keys
_STALE_S = 3_600.0  # how long fetched keys are valid while the provider cannot be reached

_logger = logging.getLogger(__name__)


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Accept tokens of an identity provider (DRIFTLINE_OIDC_*).

    Issuer, audience and jwks_url must be set together.
    """

    issuer: str = ""  # required value of the claim `iss`
    audience: str = ""  # required value of the claim `aud`
    jwks_url: str = ""  # URL of the provider's keys: https, or http on loopback
    # Claim that contains roles of the key file; dots select nested claims: realm_access.roles.
    roles_claim: str = "roles"
    subject_claim: str = "sub"  # claim that the registry's history records as oidc:SUBJECT
    leeway_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 30.0  # tolerated clock difference
    refresh_s: Annotated[float, msgspec.Meta(ge=5)] = 300.0  # seconds between fetches of the keys


def oidc_settings(environ: Mapping[str, str] = os.environ) -> OidcSettings | None:
    """Return the settings, or None if no provider is configured; raises SettingError."""
    settings = from_environment(OidcSettings, PREFIX, environ)
    needed = {
        "ISSUER": settings.issuer,
        "AUDIENCE": settings.audience,
        "JWKS_URL": settings.jwks_url,
    }
    missing = [name for name, value in needed.items() if not value]
    if len(missing) == len(needed):
        return None
    if missing:
        names = ", ".join(PREFIX + name for name in missing)
        raise SettingError(f"{PREFIX}*: incomplete; expected {names} too")
    _check_url(settings.jwks_url)
    return settings


def configured_tokens(environ: Mapping[str, str] = os.environ) -> TokenSource | None:
    """Return a token verifier that starts to fetch keys, or None if no provider is configured.

    Raises SettingError.
    """
    settings = oidc_settings(environ)
    return None if settings is None else TokenVerifier(settings)


class TokenVerifier:
    """Verify tokens of one provider; thread-safe."""

    def __init__(
        self,
        settings: OidcSettings,
        *,
        clock: Callable[[], float] = time.time,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """`start` runs a fetch in another thread. Raises SettingError."""
        try:
            import jwt  # noqa: PLC0415 - belongs to an extra
        except ImportError:
            raise SettingError(f"{PREFIX}ISSUER: needs pip install 'driftline[oidc]'") from None
        self._jwt = jwt
        self._settings = settings
        self._clock = clock
        self._start = start or _in_thread
        self._keys: dict[str, Any] = {}
        self._fetched = 0.0
        self._next_fetch = 0.0
        self._fetching = threading.Lock()
        self._fetch_if_due(clock())

    def verify(self, token: bytes) -> VerifiedToken | None:
        """Return the claims of a token, or None if the token is not valid now."""
        now = self._clock()
        self._fetch_if_due(now)
        if len(token) > _LONGEST_TOKEN or now - self._fetched > _STALE_S:
            return None
        try:
            return self._verified(token.decode("ascii"), now)
        except (self._jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None

    def _verified(self, token: str, now: float) -> VerifiedToken | None:
        header = self._jwt.get_unverified_header(token)
        key = self._keys.get(str(header.get("kid", "")))
        if key is None:
            self._next_fetch = min(self._next_fetch, self._fetched + _RETRY_S)
            self._fetch_if_due(now)
            return None
        if key.algorithm_name not in _ALGORITHMS:
            return None
        claims = self._jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=self._settings.leeway_s,
            options={"require": ["exp", "iss", "aud", self._settings.subject_claim]},
        )
        subject = claims[self._settings.subject_claim]
        if not isinstance(subject, str) or not subject.strip() or not subject.isprintable():
            return None
        expires = float(claims["exp"]) + self._settings.leeway_s
        roles = _roles(claims, self._settings.roles_claim)
        return VerifiedToken(subject[:200], roles, min(expires, now + _RECHECK_S))

    def _fetch_if_due(self, now: float) -> None:
        if now < self._next_fetch or not self._fetching.acquire(blocking=False):
            return
        self._next_fetch = now + _RETRY_S  # `_fetch` sets the real time when it ends
        try:
            self._start(self._fetch)
        except BaseException:
            self._fetching.release()
            raise

    def _fetch(self) -> None:
        url = self._settings.jwks_url
        try:
            key_set = self._jwt.PyJWKSet.from_dict(_download(url))
            self._keys = {str(key.key_id): key for key in key_set.keys if _signs(key)}
            self._fetched = self._clock()
            self._next_fetch = self._fetched + self._settings.refresh_s
        except (self._jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            self._next_fetch = self._clock() + _RETRY_S
            _logger.warning("%s: the keys of the identity provider cannot be read: %s", url, error)
        finally:
            self._fetching.release()


def _in_thread(fetch: Callable[[], None]) -> None:
    threading.Thread(target=fetch, name="jwks", daemon=True).start()


def _download(url: str) -> dict[str, Any]:
    """Return the JSON of a URL; raises ValueError."""
    import httpx  # noqa: PLC0415 - only workers with a provider need it

    body = b""
    try:
        with httpx.stream("GET", url, timeout=5.0) as reply:
            reply.raise_for_status()
            for chunk in reply.iter_bytes():
                body += chunk
                if len(body) > _LARGEST_SET:
                    raise ValueError(f"more than {_LARGEST_SET} bytes")
    except httpx.HTTPError as error:
        raise ValueError(str(error) or type(error).__name__) from None
    return msgspec.json.decode(body, type=dict[str, Any])


def _signs(key: Any) -> bool:
    return bool(key.key_id) and key.public_key_use in {None, "sig"}


def _roles(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """Return the names in a claim, which is a list, or text separated by spaces."""
    names: Any = claims.get(path)
    if names is None:
        names = claims
        for name in path.split("."):
            names = names.get(name) if isinstance(names, dict) else None
    if isinstance(names, str):
        names = names.split()
    if not isinstance(names, list):
        return frozenset()
    return frozenset(name for name in names if isinstance(name, str))


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if (
        not host
        or parts.scheme not in {"http", "https"}
        or (parts.scheme == "http" and not loopback)
    ):
        raise SettingError(f"{PREFIX}JWKS_URL {url!r}: expected https://, or http:// on loopback")
