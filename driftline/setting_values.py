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
    """A setting as this process has it."""

    part: str
    variable: str
    value: str  # masked
    source: str  # default, variable, or file PATH
    description: str
    allowed: list[str]  # empty if the values are not an enumeration
    fault: str = ""  # what was expected instead of the value


def value_of(
    setting: Setting, environ: Mapping[str, str], file_of: Callable[[str], Path | None]
) -> Value:
    """Return the value of the setting, from the variable or its default."""
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
    """Return the text without secrets: passwords and queries of URLs, and paths of webhooks."""
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
