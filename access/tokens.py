"""The port to an identity provider: verified tokens."""

from typing import NamedTuple, Protocol


class VerifiedToken(NamedTuple):
    """The claims of a valid token; by `expires` it must be verified again."""

    subject: str
    roles: frozenset[str]
    expires: float  # seconds since 1970


class TokenSource(Protocol):
    """Verifies bearer tokens without waiting for anything."""

    def verify(self, token: bytes) -> VerifiedToken | None:
        """Return what a token states, None unless it is valid now."""
        ...
