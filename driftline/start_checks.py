"""Checks that service and monitor run before they start; `driftline doctor` runs them too.

A check changes nothing. It raises a DriftlineError that names the fault.
"""

from typing import TYPE_CHECKING

from access.exposure import check_exposure
from access.keyfile import KeyFile
from access.oidc import oidc_settings
from access.tls import Tls
from eventlog.errors import SettingError
from eventlog.settings import LOG_PREFIX, Home, LogSettings, from_environment

if TYPE_CHECKING:
    from monitoring.settings import MonitorSettings


def check_stores(home: Home) -> None:
    """Check the log's settings and folder, and the URL of shared files."""
    from registry.artifacts import open_artifacts  # noqa: PLC0415 - not needed for --help
    from registry.settings import artifacts_url  # noqa: PLC0415

    from_environment(LogSettings, LOG_PREFIX)
    if home.log.exists() and not home.log.is_dir():
        raise SettingError(
            f"{home.log} is not a folder; move the file: this is the path of the event log"
        )
    open_artifacts(artifacts_url())


def check_service(home: Home) -> None:
    """Check the stores, credentials and certificates of `driftline serve`."""
    from service.auth.configuration import check_settings  # noqa: PLC0415 - may not be installed
    from service.settings import read_settings  # noqa: PLC0415

    check_stores(home)
    check_settings(read_settings(), home)


def check_monitor(home: Home, settings: "MonitorSettings | None" = None) -> Tls | None:
    """Check the stores, credentials, certificates and webhooks of `driftline monitor`.

    Return the page's certificates, or None without TLS.
    """
    from monitoring.settings import PREFIX, MonitorSettings  # noqa: PLC0415 - may not be installed
    from monitoring.webhooks.delivery import (  # noqa: PLC0415
        Receiver,
        alarm_receiver,
        approval_receiver,
    )

    check_stores(home)
    if settings is None:
        settings = from_environment(MonitorSettings, PREFIX)
    tls = Tls.of(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, PREFIX)
    provider = oidc_settings()
    check_exposure(
        settings.host,
        PREFIX,
        credentials=KeyFile.of(home).require() is not None
        or bool(settings.tls_client_ca)
        or provider is not None,
        allow_anonymous=settings.allow_anonymous,
    )
    for receiver in (Receiver.configured, approval_receiver, alarm_receiver):
        receiver(settings)
    return tls
