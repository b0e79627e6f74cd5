"""Check the settings of keys, certificates and addresses at start-up; create the authorizer."""

import socket
from collections.abc import Callable, Sequence

from access.authorizer import Authorizer
from access.browser_guard import BrowserGuard
from access.errors import AccessError
from access.exposure import check_exposure, is_loopback
from access.keyfile import KeyFile
from access.oidc import configured_tokens, oidc_settings
from access.ports import Address
from access.tls import Tls
from eventlog.durable_files import close_to_others
from eventlog.errors import SettingError
from eventlog.settings import Home
from service.auth.id_secrets import check_id_secrets, id_secrets
from service.settings import PREFIX, Settings


def check_start(settings: Settings, home: Home) -> None:
    """Restrict the home to its owner, then call `check_settings`; raises SettingError."""
    close_to_others(home.root)
    check_settings(settings, home)
    id_secrets(home, settings.id_secrets, f"{PREFIX}ID_SECRETS")  # before the workers need them


def check_settings(settings: Settings, home: Home) -> None:
    """Check keys, secrets, certificates and addresses; change nothing.

    Raises SettingError, also if other machines could reach the service without credentials.
    """
    keys = KeyFile.of(home).require()
    check_id_secrets(home, settings.id_secrets, f"{PREFIX}ID_SECRETS")
    tls = tls_of(settings)
    provider = oidc_settings()
    check_exposure(
        settings.host,
        PREFIX,
        credentials=keys is not None
        or (tls is not None and bool(tls.client_ca))
        or provider is not None,
        allow_anonymous=settings.allow_anonymous,
    )


def addresses(settings: Settings) -> list[Address]:
    """Return every address that the service listens on."""
    service_addresses = [
        Address(settings.host, settings.port, f"--port or {PREFIX}PORT"),
        Address(
            settings.host, settings.grpc_port, f"--grpc-port or {PREFIX}GRPC_PORT", shared=True
        ),
    ]
    if settings.admin_port:
        setting = f"{PREFIX}ADMIN_PORT"
        service_addresses.append(Address(settings.host, settings.admin_port, setting, shared=True))
    return service_addresses


def tls_of(settings: Settings) -> Tls | None:
    """Return the TLS certificates of the service's ports, None without TLS; raises SettingError."""
    return Tls.of(settings.tls_certificate, settings.tls_key, settings.tls_client_ca, PREFIX)


def check_encrypted(settings: Settings, arguments: Sequence[str]) -> None:
    """Raise SettingError if certificates are set but a worker would serve REST in plain text.

    BentoML reads certificates only from its command line; `arguments` is the worker's command line.
    """
    if tls_of(settings) is not None and not any(
        argument.startswith("--ssl-certfile") for argument in arguments
    ):
        raise SettingError(
            f"{PREFIX}TLS_CERTIFICATE is set, but BentoML was started without --ssl-certfile and "
            "--ssl-keyfile and would serve REST in plain text: add both, or use driftline serve"
        )


def create_authorizer(
    settings: Settings, home: Home, refused: Callable[[AccessError], None]
) -> Authorizer:
    """Create the authorizer of one worker from the home's keys; raises SettingError."""
    client_certificates = bool(settings.tls_client_ca)
    file = KeyFile.of(home)
    file.require()
    return Authorizer(
        file,
        open_without_keys=is_loopback(settings.host)
        or settings.allow_anonymous
        or client_certificates,
        refused=refused,
        tokens=configured_tokens(),
    )


def create_browser_guard(
    settings: Settings, refused: Callable[[AccessError], None]
) -> BrowserGuard:
    """Create the check of Host and Origin headers, for callers that need no key."""
    names = [socket.gethostname(), *settings.allowed_hosts.split(",")]
    return BrowserGuard(names, f"{PREFIX}ALLOWED_HOSTS", refused)
