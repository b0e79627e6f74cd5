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
        """Return the claims of a token; None if it is not valid now."""
        ...
