"""Errors of the Python client.

ClientError             error reply of the service, with its message and HTTP status
├── Unreachable         no connection: nothing was sent
└── NoReply             no reply in time, or a lost connection: the service may have answered
"""


class ClientError(Exception):
    """An error reply with the service's message and HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        """Store status and message; the status is 0 if there was no reply."""
        super().__init__(message)
        self.status = status


class Unreachable(ClientError):
    """The service cannot be reached: the connection was refused or timed out."""


class NoReply(ClientError):
    """No reply arrived in time; the service may have made and logged a prediction."""
