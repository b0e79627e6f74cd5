"""The service's branch of the error tree; see eventlog/errors.py for the whole tree.

ServingError
├── InvalidRequest      the request is malformed or does not fit the version's signature
│   └── InvalidLabels       the model's task does not allow the labels
├── Unsupported         an unsupported content type or encoding
│   └── UnknownEncoding     an unsupported compression of a gRPC message
├── UnknownService      a health check of an unknown gRPC service
├── TooLarge            more bytes or rows than one request may have
│   └── LimitExceeded       a gRPC message or its metadata over the port's limit
├── Overloaded          the version's queue is full; retry later
│   └── KeyLimitReached     the caller's key has reached a limit
├── Expired             the deadline passed before the end of the run
├── NotReady            the version exists but is not loaded
├── NoWorker            no worker of the service can start; the command ends
└── RunFailed           the run failed
    ├── OutOfMemory         the run needs more memory than is available or allowed
    ├── ProcessDied         the process of an isolated model ended during the run
    └── ValuesRefused       ONNX Runtime failed on these values, which may be invalid

The registry raises UnknownModel and UnknownVersion.
"""

from collections.abc import Mapping

from eventlog.errors import DriftlineError

_LONGEST_MESSAGE = 1_000  # characters; messages quote clients' input, and gRPC trailers are small


def message_of(error: DriftlineError) -> str:
    """Return the error's message, shortened for the client and the log."""
    message = str(error)
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."


class ServingError(DriftlineError):
    """The request cannot be answered."""


class InvalidRequest(ServingError):
    """The request is malformed or does not fit; `tensor` is the name of the invalid input."""

    def __init__(self, message: str, *, tensor: str = "") -> None:
        super().__init__(f"input {tensor!r}: {message}" if tensor else message)
        self.tensor = tensor


class InvalidLabels(InvalidRequest):
    """The model's task does not allow the labels; `by_shard` counts a request's invalid labels."""

    def __init__(self, message: str, by_shard: Mapping[str, int]) -> None:
        super().__init__(message)
        self.by_shard = by_shard


class Unsupported(ServingError):
    """An unsupported content type or encoding."""


class UnknownEncoding(Unsupported):
    """An unsupported compression of a gRPC message."""


class UnknownService(ServingError):
    """A health check of an unknown gRPC service."""


class TooLarge(ServingError):
    """More bytes or rows than one request may have."""


class LimitExceeded(TooLarge):
    """A gRPC message or its metadata over the port's limit."""


class Overloaded(ServingError):
    """The version's queue is full; retry after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KeyLimitReached(Overloaded):
    """The caller's key has reached a limit; no event is written."""


class Expired(ServingError):
    """The deadline passed before the end of the run."""


class NotReady(ServingError):
    """The version exists but is not loaded."""


class NoWorker(ServingError):
    """No worker of the service can start."""


class RunFailed(ServingError):
    """The run failed."""


class OutOfMemory(RunFailed):
    """The run needs more memory than is available or allowed."""


class ProcessDied(RunFailed):
    """The process of an isolated model ended during the run, or was killed at the deadline."""


class ValuesRefused(RunFailed):
    """ONNX Runtime failed on these values; its message is `detail`, for the log only."""

    def __init__(self, detail: str) -> None:
        super().__init__("the model's run failed; see the server's log")
        self.detail = detail
