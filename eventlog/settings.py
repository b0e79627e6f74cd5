"""Where Driftline keeps its files, and how every settings class reads the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from eventlog.errors import SettingError

LOG_PREFIX = "DRIFTLINE_LOG_"

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


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """DRIFTLINE_LOG_*: how safely events are kept, and for how long."""

    durability: Literal["process", "disk"] = "process"  # survives a killed process, or power loss
    when_full: Literal["reject", "drop"] = "reject"  # refuse requests, or answer them unlogged
    segment_bytes: int = 64 << 20  # a segment is rolled at this size
    segment_seconds: float = 3600.0  # or at this age
    reserve_bytes: int = 2 << 20  # per writer, for requests accepted before the disk was full
    retain_bytes: int = 0  # of all sources together; 0: no limit
    retain_seconds: float = 0.0  # since the last append to a segment; 0: no limit
    # Readers that must have read a segment before it is deleted: "monitor", "forwarder", both with
    # a comma, or empty for every reader that stored a position (before that nothing is deleted).
    retain_for: str = ""
    sweep_seconds: float = 60.0  # between two sweeps


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
        """The forwarder's position in each source."""
        return self.root / "forwarded.json"

    @property
    def dead_letters(self) -> Path:
        """The records that the forwarder could not forward, and why."""
        return self.root / "forwarded.deadletters.db"

    @property
    def consumed(self) -> Path:
        """The monitor's position in each source."""
        return self.root / "consumed.json"

    def lock(self, role: str) -> Path:
        """The file that the one process of a role holds locked while it runs."""
        return self.root / f"{role}.lock"

    @property
    def registry(self) -> Path:
        """The registry's database of aliases and moves (models lie in BentoML's store)."""
        return self.root / "registry.db"

    @property
    def workers(self) -> Path:
        """The registry revision of each running worker of the service."""
        return self.root / "workers"

    @property
    def keys(self) -> Path:
        """The API keys: hashes of their secrets, and what each allows."""
        return self.root / "keys.json"

    @property
    def monitor(self) -> Path:
        """The monitor's database: windows, results, alarms, offsets, outbox."""
        return self.root / "monitor.db"

    @property
    def baselines(self) -> Path:
        """Baselines of versions without a reference, as Parquet files named by their digest."""
        return self.root / "baselines"

    @property
    def reports(self) -> Path:
        """Evidently's HTML reports, one per scored window."""
        return self.root / "reports"
