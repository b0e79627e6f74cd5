"""Map the error tree to gRPC status codes."""

import grpc

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
)

CODES: dict[type[DriftlineError], grpc.StatusCode] = {
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    UnknownHost: grpc.StatusCode.PERMISSION_DENIED,
    InvalidKey: grpc.StatusCode.INVALID_ARGUMENT,
    AccessError: grpc.StatusCode.INTERNAL,
    UnknownModel: grpc.StatusCode.NOT_FOUND,
    UnknownVersion: grpc.StatusCode.NOT_FOUND,
    InvalidFeatures: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    TooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    LimitExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unsupported: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownEncoding: grpc.StatusCode.UNIMPLEMENTED,
    UnknownService: grpc.StatusCode.NOT_FOUND,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Expired: grpc.StatusCode.DEADLINE_EXCEEDED,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    LogUnavailable: grpc.StatusCode.UNAVAILABLE,
    RunFailed: grpc.StatusCode.INTERNAL,
    ServingError: grpc.StatusCode.INTERNAL,
    RegistryUnavailable: grpc.StatusCode.UNAVAILABLE,
    RegistryError: grpc.StatusCode.INTERNAL,
    EventLogError: grpc.StatusCode.INTERNAL,
    SettingError: grpc.StatusCode.INTERNAL,
    AlreadyRunning: grpc.StatusCode.INTERNAL,
}


def code_of(error: DriftlineError) -> grpc.StatusCode:
    """Return the status code of an error's class or of its nearest base class in the table."""
    codes = (CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    return next(codes, grpc.StatusCode.INTERNAL)
