"""The branch of the error tree about who may call; see eventlog/errors.py for the whole.

AccessError
├── Unauthenticated     no key, or none that is known and still good
├── Forbidden           a good key that does not allow what was asked
└── InvalidKey          a key that cannot be made or found as asked

What callers are told never says which keys, models or routes there are.
"""

from eventlog.errors import DriftlineError


class AccessError(DriftlineError):
    """Something about who may call."""


class Unauthenticated(AccessError):
    """No key, or none that is known and still good."""


class Forbidden(AccessError):
    """A good key that does not allow what was asked."""


class InvalidKey(AccessError):
    """A key that cannot be made or found as asked."""
