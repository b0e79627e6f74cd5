"""Authorize calls by key and scope, for every transport."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from access.errors import AccessError, Forbidden, Unauthenticated
from access.keys import Grant, Key, KeyRing, Scope, bearer, scopes_of
from access.tokens import TokenSource
from eventlog.errors import SettingError

REFRESH_S = 1.0  # seconds between reads of the key file, after which a revocation applies
_MOST_VERIFIED = 1_024
_log = logging.getLogger(__name__)


class KeySource(Protocol):
    """The key store; every method raises SettingError if the store is unreadable."""

    def stamp(self) -> object:
        """Return a value that differs after every change, or None if no key was ever created."""
        ...

    def read(self) -> list[Key] | None:
        """Return every key, or None if no key was ever created."""
        ...

    def roles(self) -> dict[str, list[str]]:
        """Return the scopes of every role."""
        ...


class Authorizer:
    """Authorize calls by key and scope; apply changed keys without a restart.

    As long as no key was ever created, `open_without_keys` decides whether all calls are allowed
    or refused. Once keys have been read, calls need a key even if the key file is deleted.
    """

    def __init__(
        self,
        source: KeySource,
        *,
        open_without_keys: bool,
        refused: Callable[[AccessError], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        tokens: TokenSource | None = None,
    ) -> None:
        """`refused` is called with every refusal; `clock` returns seconds since the Unix epoch.

        If `tokens` is given, every call needs a key or an identity provider's token.

        Raises SettingError if the keys cannot be read.
        """
        self._source = source
        self._refused = refused
        self._clock = clock
        self._open = open_without_keys and tokens is None
        self._tokens = tokens
        self._roles: dict[str, list[str]] = {}
        # Cache of valid headers. Invalid headers are not cached, so callers without a key cannot
        # fill the cache. Python salts the hashes of bytes in every process, so lookup times
        # reveal nothing about a secret.
        self._verified: dict[bytes, Grant] = {}
        self._stamp: object = None
        self._ring = KeyRing([], 0)
        self._refresh(clock())

    @property
    def is_open(self) -> bool:
        """Return whether every call is allowed."""
        return self._open

    def admit(self, scope: Scope, authorization: bytes | None, model: str | None = None) -> None:
        """Check that the key in this header has the scope for the model.

        If `model` is None, the scope for at least one model is enough.

        Raises Unauthenticated or Forbidden.
        """
        now = self._clock()
        if now >= self._next_refresh:
            self._try_refresh(now)
        if self._open or scope == "open":
            return
        grant = self._verified.get(authorization) if authorization else None
        if grant is None or now >= grant.expires:
            grant = self._verify(authorization, now)
        if not grant.allows(scope, model):
            raise self.counted(Forbidden("this key does not allow this call"))

    def grant_of(self, authorization: bytes | None) -> Grant | None:
        """Return the grant of an admitted header's key, or None if no key is required."""
        return self._verified.get(authorization) if authorization else None

    def holds(self, scope: Scope, authorization: bytes | None, model: str) -> bool:
        """Return whether an admitted header's key has the scope for the model.

        Return False if no key is required, because callers without keys have no scopes.
        """
        grant = self.grant_of(authorization)
        return grant is not None and grant.allows(scope, model)

    def actor_of(self, authorization: bytes | None) -> str:
        """Return the actor of an admitted header, such as key:NAME, or "" if no key is required."""
        grant = self.grant_of(authorization)
        return "" if grant is None else grant.actor

    def _verify(self, authorization: bytes | None, now: float) -> Grant:
        grant = self._grant(authorization, now) if authorization else None
        if authorization is None or grant is None:
            raise self.counted(Unauthenticated("expected a valid key: Authorization: Bearer dl_…"))
        if len(self._verified) >= _MOST_VERIFIED:
            self._verified.clear()
        self._verified[authorization] = grant
        return grant

    def _grant(self, authorization: bytes, now: float) -> Grant | None:
        """Return the grant of a key or token, or None if the header contains neither."""
        grant = self._ring.grant(authorization, now)
        token = bearer(authorization)
        if grant is not None or self._tokens is None or token.count(b".") != 2:
            return grant
        verified = self._tokens.verify(token)
        if verified is None:
            return None
        scopes = frozenset(scopes_of(verified.roles, self._roles))
        return Grant(scopes, verified.expires, f"oidc:{verified.subject}", verified.roles)

    def counted(self, error: AccessError) -> AccessError:
        """Count a refusal and return its error, which the caller raises."""
        self._refused(error)
        return error

    def _try_refresh(self, now: float) -> None:
        try:
            self._refresh(now)
        except SettingError as error:
            _log.error("cannot read the keys; the keys read before stay valid: %s", error)

    def _refresh(self, now: float) -> None:
        """Read the keys if they have changed."""
        self._next_refresh = now + REFRESH_S
        stamp = self._source.stamp()
        if stamp == self._stamp:
            return
        keys = self._source.read()
        self._roles = self._source.roles()
        self._stamp = stamp
        self._ring = KeyRing(keys or [], now)
        self._verified.clear()
        self._open = False
