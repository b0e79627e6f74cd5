"""TLS of a port: its certificate, and the client certificates that it requires."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import msgspec

from eventlog.errors import SettingError

# OpenSSL's name for TLS 1.2 suites with forward secrecy; TLS 1.3 suites are always enabled.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Tls(msgspec.Struct, frozen=True):
    """Paths of PEM files: certificate chain, private key, and the CA of client certificates.

    If `client_ca` is empty, clients need no certificate.
    """

    certificate: str
    key: str
    client_ca: str = ""

    @classmethod
    def of(cls, certificate: str, key: str, client_ca: str, prefix: str) -> "Tls | None":
        """Create it from the values of three settings; return None if all are empty.

        `prefix` begins the names of the settings in errors. Raises SettingError if certificate or
        key is missing, or if the files cannot be used together.
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
        tls.context()
        return tls

    def variables(self) -> dict[str, str]:
        """Return the paths by the last part of their settings' names."""
        return {"CERTIFICATE": self.certificate, "KEY": self.key, "CLIENT_CA": self.client_ca}

    def context(self) -> ssl.SSLContext:
        """Create the context for Python's servers; raises SettingError that names a bad file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
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


def limit_handshakes(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Close TLS connections of this loop's later servers whose handshake takes longer.

    uvicorn offers no way to state it; asyncio's own limit is 60 s.
    """
    changed: Any = loop
    for name in ("create_server", "connect_accepted_socket"):
        setattr(changed, name, _with_deadline(getattr(changed, name), seconds))


def _with_deadline(create: Any, seconds: float) -> Any:
    async def create_with_deadline(*args: Any, **options: Any) -> Any:
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", seconds)
        return await create(*args, **options)

    return create_with_deadline


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def certificate_name(tls: ssl.SSLObject | None) -> str:
    """Return the name of a client's certificate, which TLS has verified; "" without one.

    It is the common name or, if there is none, the first alternative name.
    """
    found: dict[str, Any] = (tls.getpeercert() if tls is not None else None) or {}
    parts = [pair for part in found.get("subject", ()) for pair in part]
    names = [value for name, value in parts if name == "commonName"]
    names += [value for _, value in found.get("subjectAltName", ())]
    return next((str(name) for name in names if str(name).isprintable()), "")
