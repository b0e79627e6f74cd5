"""The certificate that a port shows, and those it asks of its callers."""

import ssl
from pathlib import Path

import msgspec

from eventlog.errors import SettingError

# What OpenSSL calls TLS 1.2 with forward secrecy; the suites of 1.3 are always on.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Tls(msgspec.Struct, frozen=True):
    """PEM files: the port's certificate chain, its key, and the authority of callers' certificates.

    Without an authority no certificate is asked of a caller.
    """

    certificate: str
    key: str
    client_ca: str = ""

    @classmethod
    def of(cls, certificate: str, key: str, client_ca: str, prefix: str) -> "Tls | None":
        """What the settings with this prefix name, None where they name nothing.

        Raises SettingError where only a part is named, or where the files do not fit each other.
        """
        if not (certificate or key or client_ca):
            return None
        if not (certificate and key):
            raise SettingError(
                f"{prefix}TLS_*: expected both a certificate and its key, or neither and no client "
                "authority"
            )
        tls = cls(
            *(str(Path(path).absolute()) if path else "" for path in (certificate, key, client_ca))
        )
        tls.context()
        return tls

    def variables(self) -> dict[str, str]:
        """The files by what their settings are called."""
        return {"CERTIFICATE": self.certificate, "KEY": self.key, "CLIENT_CA": self.client_ca}

    def context(self) -> ssl.SSLContext:
        """What Python's servers are given; raises SettingError naming what cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(CIPHERS)
        for path in filter(None, (self.certificate, self.key, self.client_ca)):
            if not Path(path).is_file():
                raise SettingError(f"TLS: {path} is no file; expected one in PEM")
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise SettingError(
                f"TLS: {self.certificate} and {self.key}: {error}; expected a certificate chain "
                "and its key, not encrypted, in PEM"
            ) from None
        if self.client_ca:
            try:
                context.load_verify_locations(self.client_ca)
            except OSError as error:
                raise SettingError(
                    f"TLS: {self.client_ca}: {error}; expected certificates in PEM"
                ) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")
