"""Certificates that cannot be used are refused at start, by name."""

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


def test_files_that_fit_are_taken_with_absolute_paths(
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
def test_a_part_of_what_tls_needs_is_refused(missing: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="DRIFTLINE_X_TLS_"):
        tls(**missing)


def test_files_that_do_not_fit_are_refused_by_name(files: Certificates, tmp_path: Path) -> None:
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
