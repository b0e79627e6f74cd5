"""Map the error tree to HTTP status codes."""

import msgspec

from access.errors import AccessError, Forbidden, InvalidKey, Unauthenticated, UnknownHost
from eventlog.errors import (
    AlreadyRunning,
    DriftlineError,
    EventLogError,
    LogUnavailable,
    SettingError,
)
from registry.errors import (
    InvalidFeatures,
    RegistryError,
    RegistryUnavailable,
    UnknownModel,
    UnknownVersion,
)
from service.errors import (
    Expired,
    InvalidRequest,
    LimitExceeded,
    NotReady,
    Overloaded,
    RunFailed,
    ServingError,
    TooLarge,
    UnknownEncoding,
    UnknownService,
    Unsupported,
    message_of,
)

STATUS: dict[type[DriftlineError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    UnknownHost: 421,
    InvalidKey: 400,
    AccessError: 500,
    UnknownModel: 404,
    UnknownVersion: 404,
    InvalidFeatures: 400,
    InvalidRequest: 400,
    TooLarge: 413,
    LimitExceeded: 413,
    Unsupported: 415,
    UnknownEncoding: 415,
    UnknownService: 404,
    Overloaded: 429,
    Expired: 504,
    NotReady: 503,
    LogUnavailable: 503,
    RunFailed: 500,
    ServingError: 500,
    RegistryUnavailable: 503,
    RegistryError: 500,
    EventLogError: 500,
    SettingError: 500,
    AlreadyRunning: 500,
}


def status_of(error: DriftlineError) -> int:
    """Return the status of an error's class or of its nearest base class in the table."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def headers_of(error: DriftlineError) -> dict[str, str]:
    """Return the headers of an error reply: `retry-after` or `www-authenticate`."""
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": 'Bearer realm="driftline"'}
    if isinstance(error, Overloaded):
        return {"retry-after": str(error.retry_after)}
    return {"retry-after": "1"} if status_of(error) == 503 else {}


def body_of(error: DriftlineError) -> bytes:
    """Return an error's JSON body in the format of the Open Inference Protocol."""
    return msgspec.json.encode({"error": message_of(error)})
