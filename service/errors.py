"""The service's branch of the error tree; see eventlog/errors.py for the whole.

ServingError
├── InvalidRequest      what was selector cannot be read or does not fit the version's signature
├── Unsupported         a content type or encoding that is not read here
│   └── UnknownEncoding     a gRPC message in a compression that is not read here
├── UnknownService      a gRPC service whose health was asked for and that there is not
├── TooLarge            more bytes or rows than the service takes in one request
│   └── LimitExceeded       a gRPC message or its metadata beyond what the port takes
├── Overloaded          the version's queue is full; try again later
├── Expired             the caller's deadline passed before the run
├── NotReady            the version exists and is not loaded
└── RunFailed           the runner could not answer

An unknown model or version is the registry's to report (UnknownModel, UnknownVersion).
"""

from eventlog.errors import DriftlineError

_LONGEST_MESSAGE = 1_000  # characters; messages quote what clients sent, and trailers are small


def message_of(error: DriftlineError) -> str:
    """What a caller and the log are told about an error."""
    message = str(error)
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."


class ServingError(DriftlineError):
    """Something about answering a request."""


class InvalidRequest(ServingError):
    """What was asked cannot be read or does not fit; `tensor` names the tensor at fault, if one."""

    def __init__(self, message: str, *, tensor: str = "") -> None:
        super().__init__(f"input {tensor!r}: {message}" if tensor else message)
        self.tensor = tensor


class Unsupported(ServingError):
    """A content type or encoding that is not read here."""


class UnknownEncoding(Unsupported):
    """A gRPC message in a compression that is not read here."""


class UnknownService(ServingError):
    """A gRPC service whose health was asked for and that there is not."""


class TooLarge(ServingError):
    """More bytes or rows than the service takes in one request."""


class LimitExceeded(TooLarge):
    """A gRPC message or its metadata beyond what the port takes."""


class Overloaded(ServingError):
    """The version's queue is full; `retry_after` is the number of seconds to wait."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Expired(ServingError):
    """The caller's deadline passed before the run."""


class NotReady(ServingError):
    """The version exists and is not loaded."""


class RunFailed(ServingError):
    """The runner could not answer."""
