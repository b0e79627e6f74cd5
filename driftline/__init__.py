"""Driftline's public API: `register`, the client, and the `driftline` command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftline.client import (
        AsyncClient,
        Client,
        ClientError,
        NoReply,
        Prediction,
        RequestId,
        Unreachable,
    )
    from driftline.python_api import register

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "NoReply",
    "Prediction",
    "RequestId",
    "Unreachable",
    "register",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that commands that do not use it start faster."""
    if name == "register":
        try:
            return import_module("driftline.python_api").register
        except ModuleNotFoundError as error:
            raise ImportError(
                f"driftline.register: package {error.name} is not installed: "
                "pip install 'driftline[registry]'"
            ) from None
    if name in __all__:
        return getattr(import_module("driftline.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
