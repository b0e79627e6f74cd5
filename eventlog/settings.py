"""Settings from environment variables, and the paths of Driftline's files."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from eventlog.byte_size import PATTERN
from eventlog.errors import SettingError

LOG_PREFIX = "DRIFTLINE_LOG_"
FORWARDER_PREFIX = "DRIFTLINE_FORWARDER_"

_SIZE = f"^{PATTERN}$"

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]

Settings = TypeVar("Settings", bound=msgspec.Struct)


def from_environment(
    kind: type[Settings], prefix: str, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Read a settings struct from variables named `prefix` + field name in capitals.

    Raises SettingError with the variable, its value and what was expected.
    """
    values = {
        field.name: environ[variable]
        for field in msgspec.structs.fields(kind)
        if (variable := f"{prefix}{field.name.upper()}") in environ
    }
    for field in msgspec.structs.fields(kind):
        if field.name in values and (expected := fault(values[field.name], field.type)):
            variable = f"{prefix}{field.name.upper()}"
            raise SettingError(f"{variable}: {values[field.name]!r}: {expected}")
    return msgspec.convert(values, kind, strict=False)


def fault(value: str, kind: Any) -> str:
    """Return the expected form if the value is invalid, else "".

    Negative and infinite numbers are always invalid.
    """
    try:
        converted = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return f"expected {_expected(kind)}"
    if isinstance(converted, int | float) and not 0 <= converted < math.inf:
        return f"expected {_expected(kind)}" + (" >= 0" if kind in (int, float) else "")
    return ""


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is not Annotated:
        return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")
    plain, bounds = get_args(kind)
    if bounds.pattern is not None:
        return "a size such as 512MiB or 8GiB" if bounds.pattern == _SIZE else bounds.pattern
    signs = ((">=", bounds.ge), (">", bounds.gt), ("<=", bounds.le), ("<", bounds.lt))
    limits = " and ".join(f"{sign} {limit:g}" for sign, limit in signs if limit is not None)
    return f"{_expected(plain)} {limits}".strip()


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Configure durability, segments and retention of the event log (DRIFTLINE_LOG_*)."""

    durability: Literal["process", "disk"] = "process"  # disk: events also survive a power loss
    when_full: Literal["reject", "drop"] = "reject"  # refuse requests, or answer without logging
    segment_bytes: PositiveInt = 64 << 20  # size at which a new segment is started
    segment_seconds: PositiveFloat = 3600.0  # age at which a new segment is started
    reserve_bytes: int = 2 << 20  # per writer, for requests accepted before the disk was full
    retain_bytes: int = 0  # largest total size of all segments; 0: no limit
    retain_seconds: float = 0.0  # retention since a segment's last append; 0: no limit
    # Readers that must have read a segment before it is deleted: "monitor", "forwarder", or both,
    # separated by a comma. If empty, every reader that has stored a position must have read it;
    # if no reader has, nothing is deleted.
    retain_for: str = ""
    sweep_seconds: PositiveFloat = 60.0  # seconds between sweeps


class ForwarderSettings(msgspec.Struct, frozen=True):
    """Configure where `driftline forward` exposes its metrics (DRIFTLINE_FORWARDER_*)."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0  # port of the metrics endpoint; 0: no endpoint
    # Allowed host names in addition to IP addresses and localhost; * allows any name
    metrics_hosts: str = ""


class Home(msgspec.Struct, frozen=True):
    """The paths of the files in the home folder (DRIFTLINE_HOME, default ~/.driftline)."""

    root: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Home":
        """Return the home that DRIFTLINE_HOME names, as an absolute path."""
        return cls(Path(environ.get("DRIFTLINE_HOME", "~/.driftline")).expanduser().absolute())

    @property
    def log(self) -> Path:
        """Return the folder of segments, with one subfolder per source."""
        return self.root / "log"

    @property
    def cursors(self) -> Path:
        """Return the file of the forwarder's positions."""
        return self.root / "forwarded.json"

    @property
    def dead_letters(self) -> Path:
        """Return the forwarder's database of dead letters."""
        return self.root / "forwarded.deadletters.db"

    @property
    def segment_counts(self) -> Path:
        """Return the file of the ledger's counts of complete segments, a cache."""
        return self.root / "segment-counts"

    @property
    def consumed(self) -> Path:
        """Return the file of the monitor's positions."""
        return self.root / "consumed.json"

    def lock(self, role: str) -> Path:
        """Return the lock file of a role, which its process locks while it runs."""
        return self.root / f"{role}.lock"

    @property
    def registry(self) -> Path:
        """Return the registry's database of aliases and changes; BentoML stores the models."""
        return self.root / "registry.db"

    @property
    def audit_key(self) -> Path:
        """Return the file of the private key that signs heads of the registry's history."""
        return self.root / "audit-key.pem"

    @property
    def registry_copy(self) -> Path:
        """Return this machine's copy of a registry database that several machines share."""
        return self.root / "registry-copy.db"

    @property
    def workers(self) -> Path:
        """Return the folder of files that state each running worker's registry revision."""
        return self.root / "workers"

    @property
    def exits(self) -> Path:
        """Return the folder of records about terminated worker processes, by process id."""
        return self.root / "exits"

    @property
    def keys(self) -> Path:
        """Return the file of API keys: hashed secrets and scopes."""
        return self.root / "keys.json"

    @property
    def monitor(self) -> Path:
        """Return the monitor's database: windows, results, alarms, positions, outbox."""
        return self.root / "monitor.db"

    @property
    def baselines(self) -> Path:
        """Return the folder of learned baselines: Parquet files named by their digest."""
        return self.root / "baselines"

    @property
    def gate_reports(self) -> Path:
        """Return the folder of gate reports, as JSON and HTML, named by their digest."""
        return self.root / "gate-reports"

    @property
    def shadows(self) -> Path:
        """Return the file of the shadow process's positions and counts."""
        return self.root / "shadows.json"

    @property
    def rollouts(self) -> Path:
        """Return the file of the monitor's counts of each running rollout."""
        return self.root / "rollouts.json"

    @property
    def comparisons(self) -> Path:
        """Return the folder of comparisons of versions, by model."""
        return self.root / "comparisons"

    @property
    def gate_run(self) -> Path:
        """Return the folder of the gate run in progress, which is removed afterwards."""
        return self.root / "gate-run"

    @property
    def approval_webhooks(self) -> Path:
        """Return the file that lists the approval requests sent by webhook."""
        return self.root / "approval-webhooks.json"

    @property
    def uploads(self) -> Path:
        """Return the folder of received files that the registry server has not registered yet."""
        return self.root / "uploads"

    @property
    def reports(self) -> Path:
        """Return the folder of Evidently's HTML reports, one per scored window."""
        return self.root / "reports"
