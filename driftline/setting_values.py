"""The value of each setting and its origin; secrets are masked."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from driftline.setting_catalogue import Setting
from eventlog.settings import fault

MASK = "***"
_SECRET = re.compile(r"_(TOKEN|SECRETS|PASSWORD|API_KEY)$")


class Value(msgspec.Struct, frozen=True):
    """A setting with its value in this process."""

    part: str
    variable: str
    value: str  # masked
    source: str  # "default", "variable" or "file PATH"
    description: str
    allowed: list[str]  # allowed values of an enumeration, else []
    fault: str = ""  # expected form if the value is invalid


def value_of(
    setting: Setting, environ: Mapping[str, str], file_of: Callable[[str], Path | None]
) -> Value:
    """Return a setting with the value of its variable, or with its default."""
    raw = environ.get(setting.variable)
    text = _plain(setting.default) if raw is None else raw
    file = None if raw is None else file_of(setting.variable)
    return Value(
        setting.part.replace("`", ""),
        setting.variable,
        masked(setting.variable, text),
        "default" if raw is None else f"file {file}" if file else "variable",
        setting.description,
        list(setting.choices),
        "" if raw is None else fault(raw, setting.kind),
    )


def masked(variable: str, text: str) -> str:
    """Return a value with secrets masked: keys, and URLs' passwords, queries and webhook paths."""
    if not text:
        return text
    if _SECRET.search(variable):
        return MASK
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return MASK
    place = parts.netloc
    if "@" in place:
        user, _, host = place.rpartition("@")
        place = f"{user.partition(':')[0]}:{MASK}@{host}" if ":" in user else f"{user}@{host}"
    path = f"/{MASK}" if variable.endswith("WEBHOOK_URL") and parts.path.strip("/") else parts.path
    query = f"?{MASK}" if parts.query else ""
    return f"{parts.scheme}://{place}{path}{query}"


def _plain(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
