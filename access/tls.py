"""TLS settings of a port: its certificate, and the CA of client certificates.

If the files are replaced, later handshakes use the new files. Open connections do not change.
"""

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from eventlog.errors import SettingError

# OpenSSL's name for TLS 1.2 suites with forward secrecy; TLS 1.3 suites are always enabled.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_CHECK_S = 1.0  # seconds between checks of the files

_logger = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")
_Stamp = tuple[tuple[int, int, int], ...]


class Tls(msgspec.Struct, frozen=True):
    """Paths of PEM files: certificate chain, private key, and the CA of client certificates.

    If `client_ca` is empty, clients need no certificate.
    """

    certificate: str
    key: str
    client_ca: str = ""

    @classmethod
    def of(cls, certificate: str, key: str, client_ca: str, prefix: str) -> "Tls | None":
        """Create the TLS settings from three paths; return None if all three are empty.

        `prefix` is the prefix of the settings' names in errors. Raises SettingError if certificate
        or key is missing, or if the files cannot be used together.
        """
        if not (certificate or key or client_ca):
            return None
        if not (certificate and key):
            raise SettingError(
                f"{prefix}TLS_*: incomplete; set {prefix}TLS_CERTIFICATE and {prefix}TLS_KEY, or "
                "none of these settings"
            )
        tls = cls(
            *(str(Path(path).absolute()) if path else "" for path in (certificate, key, client_ca))
        )
        tls.check()
        return tls

    def variables(self) -> dict[str, str]:
        """Return the paths by the suffix of their settings' names."""
        return {"CERTIFICATE": self.certificate, "KEY": self.key, "CLIENT_CA": self.client_ca}

    def check(self) -> None:
        """Raise SettingError that names a file if it cannot be used."""
        self._fixed_context(())

    def stamp(self) -> _Stamp:
        """Return a value that differs after the files change; raises OSError."""
        statuses = [
            Path(path).stat() for path in filter(None, (self.certificate, self.key, self.client_ca))
        ]
        return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in statuses)

    def context(self, protocols: Sequence[str] = ()) -> ssl.SSLContext:
        """Return a context that reloads its files after they change.

        `protocols` are the protocol names for ALPN. Raises SettingError that names a bad file.
        """
        renewal = TlsRenewal(self, lambda: self._fixed_context(protocols))
        context = renewal.current
        # Called in every handshake, even if the client names no server.
        context.sni_callback = renewal.apply
        return context

    def _fixed_context(self, protocols: Sequence[str]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        context.set_ciphers(CIPHERS)
        for path in filter(None, (self.certificate, self.key, self.client_ca)):
            if not Path(path).is_file():
                raise SettingError(f"TLS: {path} is not a file; expected a file in PEM format")
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise SettingError(
                f"TLS: {self.certificate} and {self.key}: {error}; expected a certificate chain "
                "and its unencrypted key in PEM format"
            ) from None
        if self.client_ca:
            try:
                context.load_verify_locations(self.client_ca)
            except OSError as error:
                raise SettingError(
                    f"TLS: {self.client_ca}: {error}; expected certificates in PEM format"
                ) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class TlsRenewal(Generic[Loaded]):
    """The certificates of a port, reloaded after their files change.

    Certificate and key are often replaced one after the other. If they do not match, a warning is
    logged and the former files stay in use until they match.
    """

    def __init__(
        self, tls: Tls, load: Callable[[], Loaded], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Load the files; raises SettingError."""
        self._tls = tls
        self._load = load
        self._clock = clock
        self._stamp = tls.stamp()
        self._checked_at = clock()
        self.current = load()

    def renewed(self) -> bool:
        """Check the files at most once per second; return whether they were reloaded."""
        if self._clock() - self._checked_at < _CHECK_S:
            return False
        self._checked_at = self._clock()
        try:
            stamp = self._tls.stamp()
            if stamp == self._stamp:
                return False
            self.current = self._load()
        except (OSError, SettingError) as error:
            _logger.warning("TLS: the former files stay in use: %s", error)
            return False
        self._stamp = stamp
        _logger.info("TLS: %s was renewed", self._tls.certificate)
        return True

    def apply(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Use the newest context for a handshake."""
        self.renewed()
        connection.context = self.current  # type: ignore[assignment]


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def certificate_name(tls: ssl.SSLObject | None) -> str:
    """Return the name in a verified client certificate, or "" if the client sent no certificate.

    The name is the common name or, if there is none, the first alternative name.
    """
    certificate: dict[str, Any] = (tls.getpeercert() if tls is not None else None) or {}
    parts = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [value for name, value in parts if name == "commonName"]
    names += [value for _, value in certificate.get("subjectAltName", ())]
    return next((str(name) for name in names if str(name).isprintable()), "")
