"""Where Driftline keeps its files, and how every settings class reads the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from eventlog.errors import SettingError

Settings = TypeVar("Settings", bound=msgspec.Struct)


def from_environment(
    kind: type[Settings], prefix: str, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Read a settings struct from variables named `prefix` + field name in capitals.

    Raises SettingError naming the variable, what it held and what was expected.
    """
    values = {
        field.name: environ[variable]
        for field in msgspec.structs.fields(kind)
        if (variable := f"{prefix}{field.name.upper()}") in environ
    }
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingError(f"environment {prefix}*: {error}") from None


class Home(msgspec.Struct, frozen=True):
    """The folder that holds everything Driftline writes (DRIFTLINE_HOME, default ~/.driftline)."""

    root: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Home":
        """The home named by DRIFTLINE_HOME, absolute."""
        return cls(Path(environ.get("DRIFTLINE_HOME", "~/.driftline")).expanduser().absolute())

    @property
    def log(self) -> Path:
        """Event-log segments, one folder per source."""
        return self.root / "log"

    @property
    def cursors(self) -> Path:
        """How far the forwarder has brought each source to Kafka."""
        return self.root / "forwarded.json"

    @property
    def registry(self) -> Path:
        """The registry's database of aliases and moves (models lie in BentoML's store)."""
        return self.root / "registry.db"

    @property
    def keys(self) -> Path:
        """The API keys: hashes of their secrets, and what each allows."""
        return self.root / "keys.json"

    @property
    def monitor(self) -> Path:
        """The monitor's database: windows, results, alarms, offsets, outbox."""
        return self.root / "monitor.db"

    @property
    def reports(self) -> Path:
        """Evidently's HTML reports, one per scored window."""
        return self.root / "reports"
