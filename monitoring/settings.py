"""The monitor's settings, from DRIFTLINE_MONITOR_*."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from eventlog.settings import Home, PositiveInt, from_environment
from monitoring.storage.database import Where
from monitoring.windows.retention import Retention

PREFIX = "DRIFTLINE_MONITOR_"
KEEP_PREFIX = f"{PREFIX}KEEP_"


class MonitorSettings(msgspec.Struct, frozen=True):
    """How one monitor process runs; what is watched and how is said by each manifest."""

    host: str = "127.0.0.1"
    port: int = 3100
    allow_anonymous: bool = False  # whether other machines may reach `host` without credentials
    tls_certificate: str = ""  # PEM files; both or neither
    tls_key: str = ""
    tls_client_ca: str = ""  # whose certificates callers must show, if any
    page_url: str = ""  # how others reach the page; by default http://host:port
    # Names, besides IP addresses and localhost, by which the page may be called, comma separated;
    # *.example.org for those below one, * for any.
    page_hosts: str = ""
    # Of the page; fewer if fewer open files are allowed.
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 512
    # For a handshake, a head, 320 KiB of a body, or reading a reply.
    client_timeout_s: Annotated[int, msgspec.Meta(ge=1)] = 20
    database: str = ""  # postgresql://user:password@host/name; empty: a file below DRIFTLINE_HOME
    source: Literal["segments", "kafka"] = "segments"  # which log to read
    group: str = "driftline-monitor"  # of readers that share the topics' partitions
    patience: float = 30.0  # seconds until a number that was passed over in Kafka counts as lost
    poll_records: PositiveInt = 2_000  # taken in per transaction
    idle_pause: float = 0.2  # seconds between looks at a quiet log
    # Values of references, rows times columns, that scoring keeps at hand; a million take 80 MB.
    reference_values: int = 5_000_000
    # Scorings that wait, in the database; beyond them the log is hardly read on.
    waiting_bytes: int = 4 << 30
    # Processes that score windows, of different models at once; each takes 300 MB and more.
    scorers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    scoring_timeout: float = 300.0  # seconds for one window; then the scoring is retried once
    scoring_memory: int = 2 << 30  # bytes of a scoring process; then the scoring is retried once
    webhook_url: str = ""  # where retraining requests go; empty: they stay in the outbox
    # What the receiver understands; the others are adapters for the systems of these names.
    webhook_format: Literal[
        "cloudevents", "github", "airflow", "airflow3", "alertmanager", "slack"
    ] = "cloudevents"
    webhook_token: str = ""  # shown to the receiver as Authorization: Bearer
    webhook_secrets: str = ""  # whsec_..., comma separated: the first is new, the others rotate out
    # Days until a delivered retraining request without a candidate is overdue; 0: never.
    answer_within_days: Annotated[float, msgspec.Meta(ge=0, le=3650)] = 2.0
    # Where requests for approval go, signed with the same secrets; empty: nowhere.
    approval_webhook_url: str = ""
    approval_webhook_format: Literal["cloudevents", "github", "alertmanager", "slack"] = (
        "cloudevents"
    )
    approval_webhook_token: str = ""  # shown to that receiver as Authorization: Bearer
    webhook_allowed_hosts: str = ""  # exempt from https and the address check, comma separated

    @property
    def page(self) -> str:
        """The page's address, without a slash."""
        scheme = "https" if self.tls_certificate else "http"
        return self.page_url.rstrip("/") or f"{scheme}://{self.host}:{self.port}"


def database(home: Home) -> Where:
    """Where the monitor's database is."""
    return from_environment(MonitorSettings, PREFIX).database or home.monitor


def lock_file(home: Home) -> Path | None:
    """The file that the one monitor of a home locks; None with PostgreSQL, which several share."""
    return home.lock("monitor") if isinstance(database(home), Path) else None


def retention() -> Retention:
    """What the monitor keeps, and for how long: DRIFTLINE_MONITOR_KEEP_*."""
    return from_environment(Retention, KEEP_PREFIX)


def listed(value: str) -> list[str]:
    """The parts of a comma-separated setting."""
    return [part.strip() for part in value.split(",") if part.strip()]
