"""Create API keys, and decide which calls a key allows. Pure except for randomness.

A key has the form `dl_<id>_<secret>`. The id identifies the key's record, and the secret is 256
random bits in hex. Only the SHA-256 of the secret is stored. Slow, salted hashes protect passwords
against guessing. 256 random bits cannot be guessed, and SHA-256 takes only about a microsecond.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from access.errors import InvalidKey
from telemetry.clock import parse_duration

Scope = Literal[
    "open",
    "any",
    "predict",
    "read",
    "operate",
    "review",
    "try",
    "register",
    "approve",
    "promote",
    "admin",
]
GLOBAL = ("read", "operate")
PER_MODEL = (
    "predict",
    "review",
    "try",
    "register",
    "approve",
    "promote",
    "admin",
)  # for all models, or for one model as NAME:MODEL
SCOPES = (*PER_MODEL, *GLOBAL)
LIVE_PER_NAME = 2  # the key in use and its replacement
_BEARER = b"bearer "
_NOBODY = "0" * 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SCOPE = re.compile(rf"({'|'.join(PER_MODEL)})(:[^\s:]+)?|{'|'.join(GLOBAL)}")


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """The stored part of a key; times are seconds since 1970."""

    id: str
    name: str  # name of the key's owner; two live keys may have the same name
    digest: str  # SHA-256 of the secret, in hex
    scopes: list[str]  # after reading a key file, they include the scopes of the roles
    created: float
    expires: float | None = None
    revoked: float | None = None
    roles: list[str] = []  # names of sets of scopes; approvals can require a role

    def is_live(self, now: float) -> bool:
        """Return whether the key is neither revoked nor expired at this time."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class Grant(msgspec.Struct, frozen=True):
    """The scopes, owner and expiry of one valid credential."""

    scopes: frozenset[str]
    expires: float = float("inf")
    actor: str = ""  # name of the caller in the registry's history, for example key:NAME
    roles: frozenset[str] = frozenset()

    def allows(self, scope: Scope, model: str | None = None) -> bool:
        """Return whether the scope is granted for the model, or for any model if it is None."""
        scopes = self.scopes
        if scope in scopes or scope == "any":
            return True
        if scope == "read":
            return "operate" in scopes
        if model is None:
            return any(granted.startswith(f"{scope}:") for granted in scopes)
        return f"{scope}:{model}" in scopes


def certificate_grant(name: str) -> Grant:
    """Return the grant of a client certificate on a port without keys, which has every scope."""
    return Grant(frozenset(SCOPES), actor=f"cert:{name}")


class KeyRing:
    """The keys that were live when the ring was created."""

    def __init__(self, keys: Iterable[Key], now: float) -> None:
        """Ignore revoked and expired keys."""
        self._keys = {key.id: key for key in keys if key.is_live(now)}

    def grant(self, authorization: bytes, now: float) -> Grant | None:
        """Return the grant of `Bearer dl_<id>_<secret>`, or None if the key is not valid."""
        prefix, _, rest = bearer(authorization).partition(b"_")
        identity, _, secret = rest.partition(b"_")
        key = self._keys.get(identity.decode("latin-1"))
        # Unknown ids are compared too, so that the response time does not reveal which ids exist.
        digest = _NOBODY if key is None else key.digest
        same = hmac.compare_digest(hashlib.sha256(secret).hexdigest().encode(), digest.encode())
        if key is None or not same or prefix != b"dl" or not key.is_live(now):
            return None
        expires = float("inf") if key.expires is None else key.expires
        return Grant(frozenset(key.scopes), expires, f"key:{key.name}", frozenset(key.roles))


def bearer(authorization: bytes) -> bytes:
    """Return the credential of a header `Bearer CREDENTIAL`, or b"" for another scheme."""
    if authorization[: len(_BEARER)].lower() != _BEARER:
        return b""
    return authorization[len(_BEARER) :].strip()


def make_key(  # noqa: PLR0913  # its fields
    keys: Iterable[Key],
    *,
    name: str,
    scopes: list[str],
    expires: str,
    now: float,
    roles: Iterable[str] = (),
) -> tuple[Key, str]:
    """Return a new key's record and its text, which is shown only once.

    `expires` is a duration such as `90d`, or "" for never. Raises InvalidKey.
    """
    if not _NAME.fullmatch(name):
        raise InvalidKey(f"name {name!r}: expected up to 63 letters, digits, dots, - or _")
    role_names = sorted(set(roles))
    check_scopes(scopes)
    if not (scopes or role_names):
        raise InvalidKey("no scope and no role: a key without them allows nothing")
    if sum(key.name == name and key.is_live(now) for key in keys) >= LIVE_PER_NAME:
        raise InvalidKey(
            f"{name} has {LIVE_PER_NAME} live keys; at most two are allowed: revoke one of them"
        )
    secret = secrets.token_hex(32)
    key = Key(
        id=secrets.token_hex(6),
        name=name,
        digest=hashlib.sha256(secret.encode()).hexdigest(),
        scopes=sorted(set(scopes)),
        created=now,
        expires=now + _span(expires) if expires else None,
        roles=role_names,
    )
    return key, f"dl_{key.id}_{secret}"


def check_scopes(scopes: Iterable[str]) -> None:
    """Raise InvalidKey for a scope that does not exist."""
    if wrong := [scope for scope in scopes if not _SCOPE.fullmatch(scope)]:
        raise InvalidKey(
            f"scope {wrong[0]!r}: expected {', '.join(SCOPES)}; {', '.join(PER_MODEL)} can name a "
            "model, as in predict:MODEL"
        )


def check_role(name: str, scopes: Iterable[str]) -> None:
    """Raise InvalidKey if the role's name or one of its scopes is not valid."""
    if not _NAME.fullmatch(name):
        raise InvalidKey(f"role {name!r}: expected up to 63 letters, digits, dots, - or _")
    check_scopes(scopes)


def scopes_of(roles: Iterable[str], role_scopes: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the scopes of roles; an unknown role has no scopes."""
    return {scope for role in roles for scope in role_scopes.get(role, ())}


def revoke_key(stored_keys: Iterable[Key], identity: str, now: float) -> list[Key]:
    """Return the keys with this key revoked; raises InvalidKey if no unrevoked key has this id."""
    keys = list(stored_keys)
    for place, key in enumerate(keys):
        if key.id == identity and key.revoked is None:
            keys[place] = msgspec.structs.replace(key, revoked=now)
            return keys
    raise InvalidKey(f"key {identity!r}: expected the id of a key that is not revoked")


def _span(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidKey(f"expires {text!r}: {error}") from None
