"""Create certificates of a test authority."""

import ssl
from pathlib import Path

import trustme


class Certificates:
    """PEM files below a folder: an authority, a server's and a client's certificate with key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.authority = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.authority)
        self._folder = folder
        self.server = self._issue("server", "127.0.0.1", "localhost")
        self.client = self._issue("client", "caller@example.org")

    def _issue(self, name: str, *identities: str) -> tuple[str, str]:
        made = self._authority.issue_cert(*identities)
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(key)
        return str(certificate), str(key)

    def renew(self) -> None:
        """Replace the server's certificate and key, as a tool that renews them does."""
        self._issue("server", "127.0.0.1", "localhost")

    def context(self, *, shown: bool = True) -> ssl.SSLContext:
        """A client's: trusts the authority and shows its own certificate."""
        context = ssl.create_default_context(cafile=self.authority)
        if shown:
            context.load_cert_chain(*self.client)
        return context
