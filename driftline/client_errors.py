"""Errors of the Python client.

ClientError             error reply of the service, with its message and HTTP status
├── Unreachable         no connection: nothing was sent
└── NoReply             no reply in time, or the connection was lost: it may have been answered
"""


class ClientError(Exception):
    """An error reply; the message is that of the service, `status` the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        """Store status and message; status 0: there was no reply."""
        super().__init__(message)
        self.status = status


class Unreachable(ClientError):
    """The service cannot be reached: the connection was refused or timed out."""


class NoReply(ClientError):
    """The service did not reply in time; a prediction may have been made and logged."""
