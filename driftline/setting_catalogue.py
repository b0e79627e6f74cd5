"""Every setting of every part, from the structs that declare them.

The parts' modules are imported when they are asked for; an image that holds no service has no
settings of the service.
"""

import importlib
import inspect
import re
from functools import cache
from typing import Any, NamedTuple, get_args

import msgspec


class Part(NamedTuple):
    """Settings that are read together: a struct, and what its variables begin with."""

    title: str
    prefix: str
    module: str
    struct: str

    def kind(self) -> type[msgspec.Struct] | None:
        """Return the struct; None if the part is not installed."""
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
        """Return the values that are allowed; empty if they are not an enumeration."""
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
        ("DRIFTLINE_HOME", "~/.driftline", "the folder that holds everything"),
        (
            "DRIFTLINE_CONFIG",
            "",
            "file of settings instead of `driftline.toml` in the home; set to nothing: no file",
        ),
        ("DRIFTLINE_KEYS_FILE", "", "file of API keys; empty: `keys.json` in the home"),
        ("DRIFTLINE_API_KEY", "", "the key that Driftline's client and commands send"),
        ("DRIFTLINE_API_KEY_FILE", "", "the file of that key, for commands"),
        ("DRIFTLINE_REGISTRY_SERVER", "", "URL of a registry server, instead of `--server`"),
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
    """Return the source comment of each field, above or behind it."""
    comments: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        if line.strip().startswith("# "):
            above.append(line.strip()[2:])
        elif match := _FIELD.match(line):
            comments[match[1]] = " ".join([*above, *([match[2]] if match[2] else [])])
            above = []
    return comments
