"""A key store in memory, with an injected clock."""

import itertools

from access.authorizer import Authorizer
from access.errors import AccessError
from access.keys import Key, make_key
from access.tokens import TokenSource
from eventlog.errors import SettingError

NOW = 1_000_000.0


class MemoryKeys:
    """A KeySource that can be changed, taken away or broken."""

    def __init__(self) -> None:
        self.keys: list[Key] | None = None
        self.of_roles: dict[str, list[str]] = {}
        self.broken = False
        self.reads = 0
        self._stamps = itertools.count(1)
        self._stamp: int | None = None

    def stamp(self) -> object:
        return self._stamp

    def read(self) -> list[Key] | None:
        self.reads += 1
        if self.broken:
            raise SettingError("keys.json cannot be read")
        return self.keys

    def roles(self) -> dict[str, list[str]]:
        return self.of_roles

    def put(self, keys: list[Key] | None) -> None:
        self.keys = keys
        self._stamp = None if keys is None else next(self._stamps)

    def add(self, *scopes: str, name: str = "n", expires: str = "", now: float = NOW) -> bytes:
        """A new key's Authorization header."""
        key, text = make_key(
            self.keys or [],
            name=name,
            scopes=list(scopes),
            expires=expires,
            now=now,
        )
        self.put([*(self.keys or []), key])
        return b"Bearer " + text.encode()


class Door:
    """An authorizer over such keys, whose time is moved by hand."""

    def __init__(
        self, *, open_without_keys: bool = True, tokens: TokenSource | None = None
    ) -> None:
        self.keys = MemoryKeys()
        self.now = NOW
        self.refusals: list[AccessError] = []
        self.authorizer = Authorizer(
            self.keys,
            open_without_keys=open_without_keys,
            refused=self.refusals.append,
            clock=lambda: self.now,
            tokens=tokens,
        )
        self.admit = self.authorizer.admit

    def later(self, seconds: float = 2.0) -> None:
        self.now += seconds
