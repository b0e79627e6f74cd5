"""The interface to an identity provider: verified tokens."""

from typing import NamedTuple, Protocol


class VerifiedToken(NamedTuple):
    """The claims of a valid token, which must be verified again at `expires`."""

    subject: str
    roles: frozenset[str]
    expires: float  # seconds since 1970


class TokenSource(Protocol):
    """Verify bearer tokens without blocking."""

    def verify(self, token: bytes) -> VerifiedToken | None:
        """Return the claims of a token, or None if the token is not valid now."""
        ...
