"""Every setting of every part of Driftline, read from the structs that declare the settings.

Parts that are not installed have no settings, so their modules are imported on use.
"""

import importlib
import inspect
import re
from functools import cache
from typing import Any, NamedTuple, get_args

import msgspec


class Part(NamedTuple):
    """Settings that one struct declares, and the prefix of their variables."""

    title: str
    prefix: str
    module: str
    struct: str

    def kind(self) -> type[msgspec.Struct] | None:
        """Return the struct, or None if the part is not installed."""
        try:
            kind: type[msgspec.Struct] = getattr(importlib.import_module(self.module), self.struct)
        except (ImportError, AttributeError):  # not installed, or shadowed by another package
            return None
        return kind


class Setting(NamedTuple):
    """One setting: its variable, type, default and description."""

    part: str
    variable: str
    kind: Any
    default: Any
    description: str

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values if the type is an enumeration, else ()."""
        return tuple(choice for choice in get_args(self.kind) if isinstance(choice, str))


PARTS = [
    Part("The service: `driftline serve`", "DRIFTLINE_SERVICE_", "service.settings", "Settings"),
    Part("The registry", "DRIFTLINE_", "registry.settings", "RegistrySettings"),
    Part(
        "The registry server: `driftline registry serve`",
        "DRIFTLINE_REGISTRY_SERVER_",
        "driftline.remote.settings",
        "RegistryServerSettings",
    ),
    Part("Tokens of an identity provider", "DRIFTLINE_OIDC_", "access.oidc", "OidcSettings"),
    Part(
        "Registration: bounds of the check of files",
        "DRIFTLINE_REGISTER_",
        "registry.bounded.bounds",
        "RegisterSettings",
    ),
    Part("The event log", "DRIFTLINE_LOG_", "eventlog.settings", "LogSettings"),
    Part("Kafka", "DRIFTLINE_KAFKA_", "eventlog.kafka_settings", "KafkaSettings"),
    Part(
        "The forwarder: `driftline forward`",
        "DRIFTLINE_FORWARDER_",
        "eventlog.settings",
        "ForwarderSettings",
    ),
    Part(
        "The monitor: `driftline monitor`",
        "DRIFTLINE_MONITOR_",
        "monitoring.settings",
        "MonitorSettings",
    ),
    Part(
        "The monitor's retention",
        "DRIFTLINE_MONITOR_KEEP_",
        "monitoring.windows.retention",
        "Retention",
    ),
    Part("Log lines of every process", "DRIFTLINE_LOGGING_", "telemetry.logs", "LoggingSettings"),
]

_EVERYWHERE = "Every process"
# Variables that are not part of a settings struct.
OTHERS = [
    Setting(_EVERYWHERE, name, str, default, description)
    for name, default, description in (
        ("DRIFTLINE_HOME", "~/.driftline", "folder of registry, log, databases and keys"),
        (
            "DRIFTLINE_CONFIG",
            "",
            "settings file instead of `driftline.toml` in the home; if set to nothing, no file",
        ),
        ("DRIFTLINE_KEYS_FILE", "", "file of API keys; if empty, `keys.json` in the home"),
        ("DRIFTLINE_API_KEY", "", "key that Driftline's client and commands send"),
        ("DRIFTLINE_API_KEY_FILE", "", "file with the key that commands send"),
        ("DRIFTLINE_REGISTRY_SERVER", "", "URL of a registry server; `--server` overrides it"),
    )
]
_FIELD = re.compile(r"    (\w+): .*?(?:  # (.*))?$")


@cache
def settings() -> tuple[Setting, ...]:
    """Return every setting of the installed parts."""
    return (*OTHERS, *(setting for part in PARTS for setting in settings_of(part)))


def settings_of(part: Part) -> list[Setting]:
    """Return the settings of a part, in the order of their declaration."""
    kind = part.kind()
    if kind is None:
        return []
    comments = _comments(kind)
    return [
        Setting(
            part.title,
            f"{part.prefix}{field.name.upper()}",
            field.type,
            field.default,
            comments.get(field.name, ""),
        )
        for field in msgspec.structs.fields(kind)
    ]


def _comments(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return each field's comment in the source code, from the lines above and the same line."""
    comments: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        if line.strip().startswith("# "):
            above.append(line.strip()[2:])
        elif match := _FIELD.match(line):
            comments[match[1]] = " ".join([*above, *([match[2]] if match[2] else [])])
            above = []
    return comments
