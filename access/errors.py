"""Errors of authentication and authorization; eventlog/errors.py shows the whole tree.

AccessError
├── Unauthenticated     no key, or an unknown, expired or revoked key
├── Forbidden           a valid key without the required scope
│   └── ForeignOrigin       no key is required, and a page of another site sent the request
├── UnknownHost         no key is required, and the Host header is not a configured name
└── InvalidKey          a key that cannot be created or found

Messages to callers never reveal which keys, models or routes exist.
"""

from eventlog.errors import DriftlineError


class AccessError(DriftlineError):
    """Any error of authentication or authorization."""


class Unauthenticated(AccessError):
    """No key, or an unknown, expired or revoked key."""


class Forbidden(AccessError):
    """A valid key without the required scope."""


class ForeignOrigin(Forbidden):
    """No key is required, and a page of another site sent the request."""


class UnknownHost(AccessError):
    """No key is required, and the Host header is not a configured name."""


class InvalidKey(AccessError):
    """A key that cannot be created or found."""
