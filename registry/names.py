"""Names of models and aliases."""

import re

from registry.errors import InvalidName

_MODEL_NAME = re.compile(r"[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?")
_REQUEST = re.compile(r"[A-Za-z0-9][-_.:A-Za-z0-9]{0,99}")
_ALIAS = re.compile(r"[a-z][-_a-z0-9]{0,62}")


def is_model_name(model: str) -> bool:
    """Return whether a model can have this name."""
    return _MODEL_NAME.fullmatch(model) is not None


def require_model_name(model: str) -> None:
    """Raise InvalidName if a model cannot have this name."""
    if not is_model_name(model):
        raise InvalidName(
            f"model name {model!r}: expected 1 to 63 lowercase letters, digits, '-', '.' and '_', "
            "the first and last a letter or digit"
        )


def require_alias(alias: str) -> None:
    """Raise InvalidName if an alias cannot have this name."""
    if not _ALIAS.fullmatch(alias):
        raise InvalidName(
            f"alias {alias!r}: expected a lowercase letter, then up to 62 letters, digits, - and _"
        )


def require_request_id(request: str) -> None:
    """Raise InvalidName unless `request` is an id of a retraining request, or ""."""
    if request and not _REQUEST.fullmatch(request):
        raise InvalidName(
            f"request {request[:100]!r}: expected the id of a retraining request, such as "
            "rr_0123456789abcdef01234567: the webhook id, or see driftline webhooks list"
        )
