"""The monitor's settings, from environment variables DRIFTLINE_MONITOR_*."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from eventlog.settings import Home, PositiveInt, from_environment
from monitoring.storage.database import DatabaseAddress
from monitoring.windows.retention import Retention

PREFIX = "DRIFTLINE_MONITOR_"
KEEP_PREFIX = f"{PREFIX}KEEP_"


class MonitorSettings(msgspec.Struct, frozen=True):
    """Settings of one monitor process; the policy of each version is in its manifest."""

    host: str = "127.0.0.1"
    port: int = 3100
    allow_anonymous: bool = False  # callers on other machines need no credentials
    tls_certificate: str = ""  # PEM file; requires the key
    tls_key: str = ""  # PEM file of the certificate's private key
    tls_client_ca: str = ""  # PEM file; if set, callers need a certificate of this authority
    page_url: str = ""  # address of the status page in links; empty: http://host:port
    # Host names that requests may use in addition to IP addresses and localhost, comma separated;
    # *.example.org allows all its subdomains, * allows any name.
    page_hosts: str = ""
    # Maximum connections to the page; fewer if the process may open fewer files.
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 512
    # Time limit of a client for each of: TLS handshake, headers, 320 KiB of body, reply.
    client_timeout_s: Annotated[int, msgspec.Meta(ge=1)] = 20
    database: str = ""  # postgresql://user:password@host/name; empty: a file below DRIFTLINE_HOME
    source: Literal["segments", "kafka"] = "segments"  # log to read: local segments, or Kafka
    group: str = "driftline-monitor"  # Kafka consumer group
    patience: float = 30.0  # seconds after which a missing sequence number in Kafka counts as lost
    poll_records: PositiveInt = 2_000  # records ingested per transaction
    idle_pause: float = 0.2  # seconds between polls of a log without new events
    # Cache of references for scoring, in values (rows times columns); a million need 80 MB.
    reference_values: int = 5_000_000
    # Bytes of queued scoring jobs in the database; above this, the log is read slowly.
    waiting_bytes: int = 4 << 30
    # Processes that score windows of different models in parallel; each needs 300 MB or more.
    scorers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    # Seconds to score a window, without waits for a busy processor; beyond, it is retried once.
    scoring_timeout: float = 300.0
    scoring_memory: int = 2 << 30  # bytes of a scoring process; beyond, its window is retried once
    webhook_url: str = ""  # receiver of retraining requests; empty: they stay in the outbox
    # Request format of the receiver; all but cloudevents are adapters for the named system.
    webhook_format: Literal[
        "cloudevents",
        "github",
        "airflow",
        "airflow3",
        "argo",
        "prefect",
        "dagster",
        "alertmanager",
        "slack",
    ] = "cloudevents"
    webhook_token: str = ""  # sent as Authorization: Bearer
    # Signing secrets (whsec_...), comma separated; each webhook has a signature of every secret.
    webhook_secrets: str = ""
    # Days until a delivered retraining request without a candidate is overdue; 0: never.
    answer_within_days: Annotated[float, msgspec.Meta(ge=0, le=3650)] = 2.0
    # Receiver of approval requests, signed with the same secrets; empty: none.
    approval_webhook_url: str = ""
    approval_webhook_format: Literal["cloudevents", "github", "alertmanager", "slack"] = (
        "cloudevents"
    )
    approval_webhook_token: str = ""  # sent as Authorization: Bearer
    # Receiver of alarms that request no retraining, signed with the same secrets; empty: none.
    alarm_webhook_url: str = ""
    alarm_webhook_format: Literal["cloudevents", "github", "alertmanager", "slack"] = "cloudevents"
    alarm_webhook_token: str = ""  # sent as Authorization: Bearer
    webhook_allowed_hosts: str = ""  # comma separated; their scheme and address are not checked

    @property
    def page(self) -> str:
        """The status page's address, without a slash at the end."""
        scheme = "https" if self.tls_certificate else "http"
        return self.page_url.rstrip("/") or f"{scheme}://{self.host}:{self.port}"


def database_address(home: Home) -> DatabaseAddress:
    """Return the address of the monitor's database."""
    return from_environment(MonitorSettings, PREFIX).database or home.monitor


def lock_file(home: Home) -> Path | None:
    """Return the lock file of a home's only monitor; None for PostgreSQL, which monitors share."""
    return home.lock("monitor") if isinstance(database_address(home), Path) else None


def retention() -> Retention:
    """Return the retention periods, from DRIFTLINE_MONITOR_KEEP_*."""
    return from_environment(Retention, KEEP_PREFIX)


def split_list(value: str) -> list[str]:
    """Split a comma-separated setting."""
    return [part.strip() for part in value.split(",") if part.strip()]
