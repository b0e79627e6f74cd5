"""Unusable certificates are refused at start, by name."""

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from access.tls import Tls
from eventlog.errors import SettingError
from tests.access.certificates import Certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def tls(certificate: str = "", key: str = "", client_ca: str = "") -> Tls | None:
    return Tls.of(certificate, key, client_ca, "DRIFTLINE_X_")


def test_no_files_mean_no_tls() -> None:
    assert tls() is None


def test_matching_files_are_accepted_with_absolute_paths(
    files: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files.authority.parent)
    found = tls("server.pem", "server.key", "authority.pem")
    assert found is not None
    assert found.variables() == {
        "CERTIFICATE": files.server[0],
        "KEY": files.server[1],
        "CLIENT_CA": str(files.authority),
    }


@pytest.mark.parametrize("missing", [{"key": "k"}, {"certificate": "c"}, {"client_ca": "a"}])
def test_an_incomplete_tls_configuration_is_refused(missing: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="DRIFTLINE_X_TLS_"):
        tls(**missing)


def test_files_that_do_not_match_are_refused_by_name(files: Certificates, tmp_path: Path) -> None:
    certificate, key = files.server
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for arguments, named in (
        ((certificate, str(tmp_path / "none.key")), "none.key"),
        ((certificate, files.client[1]), "server.pem"),
        ((certificate, str(locked)), "encrypted"),
        ((str(nonsense), key), "nonsense.pem"),
        ((certificate, key, str(nonsense)), "nonsense.pem"),
    ):
        with pytest.raises(SettingError, match=named):
            tls(*arguments)


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _shown(server: ssl.SSLContext, files: Certificates) -> bytes:
    """Shake hands in memory; return the certificate that the server showed."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = files.context().wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (there, here, there, here, there):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    shown = there.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_replaced_files_apply_to_the_next_handshake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock()
    monkeypatch.setattr("access.tls.TlsRenewal.__init__.__defaults__", (clock,))
    files = Certificates(tmp_path)
    found = tls(*files.server, str(files.authority))
    assert found is not None
    server = found.context(["h2"])
    first = _shown(server, files)
    files.renew()
    assert _shown(server, files) == first  # within the same second
    clock.now += 2
    second = _shown(server, files)
    assert second != first

    # Half of a renewal: the former files stay in use until the rest is there.
    certificate = Path(files.server[0])
    whole = certificate.read_bytes()
    certificate.write_text("half")
    clock.now += 2
    assert _shown(server, files) == second
    certificate.unlink()
    clock.now += 2
    assert _shown(server, files) == second
    certificate.write_bytes(whole)
    clock.now += 2
    assert _shown(server, files) == second
    files.renew()
    clock.now += 2
    assert _shown(server, files) not in {first, second}
