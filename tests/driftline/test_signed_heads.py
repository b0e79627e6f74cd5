"""Signed heads: created next to the registry, verified elsewhere with a public key."""

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from driftline.audit import HistoryChanged
from driftline.cli import driftline
from eventlog.settings import Home
from registry.history.store import History
from registry.signed_heads import (
    InvalidSignedHead,
    InvalidSigningKey,
    ensure_key,
    fingerprint,
    read_signed_head,
)
from tests.driftline.test_audit_command import edit_history

T0 = 1_700_000_000_000_000


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(driftline, ["audit", *map(str, arguments)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    monkeypatch.setenv("DRIFTLINE_HOME", str(home.root))
    history = History(home.registry)
    for number in ("1", "2"):
        history.register("taxi", number, time=T0, actor="ann", digest=number, files={"a": "b"})
    history.promote("taxi", "champion", "1", time=T0, actor="bob")
    return home


@pytest.fixture
def public(home: Home, tmp_path: Path) -> Path:
    file = tmp_path / "public.pem"
    file.write_text(run("key").stdout)
    return file


@pytest.fixture
def export(public: Path, tmp_path: Path) -> Path:
    """A signed export, and nothing else of the registry."""
    file = tmp_path / "history.jsonl"
    result = run("export", file, "--sign")
    assert "3 rows written" in result.output, result.exception
    return file


def _verify(export: Path, public: Path, head: Path | None = None) -> Result:
    kept = head or export.with_name("history.jsonl.head")
    return run("verify", "--file", export, "--head", kept, "--public-key", public)


def test_the_key_is_created_once_and_private_to_its_owner(home: Home) -> None:
    first = run("key")
    assert first.stdout.startswith("-----BEGIN PUBLIC KEY-----")
    assert stat.S_IMODE(home.audit_key.stat().st_mode) == 0o600
    assert run("key").stdout == first.stdout
    assert [path.name for path in home.root.glob("audit-key*")] == ["audit-key.pem"]


def test_two_concurrent_commands_create_one_key(tmp_path: Path) -> None:
    path, made = tmp_path / "key.pem", []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        made.append(fingerprint(ensure_key(path)[0].public_key()))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_a_setting_can_name_the_key_file(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_AUDIT_KEY", str(tmp_path / "elsewhere" / "key.pem"))
    run("key")
    assert (tmp_path / "elsewhere" / "key.pem").exists()
    assert not home.audit_key.exists()


def test_an_export_is_verified_without_the_registry(
    export: Path, public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "elsewhere"))
    result = _verify(export, public)
    assert result.exit_code == 0, result.exception
    assert "head 3 signed by key" in result.output
    assert not (tmp_path / "elsewhere").exists()


def test_a_truncated_or_edited_export_does_not_match_the_head(export: Path, public: Path) -> None:
    whole = export.read_text()
    export.write_text("".join(whole.splitlines(keepends=True)[:2]))
    found = str(_verify(export, public).exception)
    assert found == "the tail is missing: the last revision is 2, expected 3"
    export.write_text(whole.replace('"bob"', '"eve"'))
    assert isinstance(_verify(export, public).exception, HistoryChanged)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("revision", 2),
        ("chain", "0" * 64),
        ("time", 0),
        ("key", "0" * 64),
        ("signature", "AAAA"),
        ("signature", "no base64!"),
    ],
)
def test_a_changed_head_is_refused(export: Path, public: Path, field: str, value: Any) -> None:
    head = export.with_name("history.jsonl.head")
    head.write_text(json.dumps(json.loads(head.read_text()) | {field: value}))
    assert isinstance(_verify(export, public).exception, InvalidSignedHead)


def test_the_head_of_another_key_is_refused(
    export: Path, public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_AUDIT_KEY", str(tmp_path / "other.pem"))
    run("key")
    other = tmp_path / "other.head"
    other.write_text(run("head", "--sign").stdout)
    assert read_signed_head(other).revision == 3
    found = _verify(export, public, other).exception
    assert isinstance(found, InvalidSignedHead)
    assert "is signed by key" in str(found)


def test_a_stored_signed_head_detects_a_recomputed_chain(home: Home, public: Path) -> None:
    kept = public.with_name("kept.head")
    kept.write_text(run("head", "--sign").stdout)
    assert run("verify", "--head", kept, "--public-key", public).exit_code == 0
    edit_history(home, "DELETE FROM history WHERE revision = 3")
    assert run("verify").exit_code == 0
    found = str(run("verify", "--head", kept, "--public-key", public).exception)
    assert "the tail is missing" in found


def test_a_changed_history_is_not_signed(home: Home, public: Path, tmp_path: Path) -> None:
    edit_history(home, "UPDATE history SET actor = 'eve' WHERE revision = 2")
    for arguments in (("head", "--sign"), ("export", tmp_path / "out.jsonl", "--sign")):
        result = run(*arguments)
        assert "revision 2 was changed" in str(result.exception)
        assert str(result.exception).endswith("nothing was signed")
    assert list(tmp_path.glob("out*")) == []


def _other_kind() -> bytes:
    return generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (b"garbage", 0o600, "expected an Ed25519 private key as PEM"),
        (_other_kind(), 0o600, "expected an Ed25519 key, got another kind"),
        (b"", 0o600, "expected an Ed25519 private key as PEM"),
        (None, 0o640, "other users can read it; expected chmod 600"),
    ],
)
def test_an_unusable_key_is_named(
    home: Home, content: bytes | None, mode: int, expected: str
) -> None:
    run("key")
    if content is not None:
        home.audit_key.write_bytes(content)
    home.audit_key.chmod(mode)
    for command in (["key"], ["head", "--sign"]):
        found = run(*command).exception
        assert isinstance(found, InvalidSigningKey)
        assert expected in str(found)


def test_without_a_key_nothing_is_signed(home: Home) -> None:
    found = str(run("head", "--sign").exception)
    assert "audit-key.pem: No such file or directory; driftline audit key creates one" in found


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--public-key", "public.pem"], "expected --head with the file of a signed head"),
        (
            ["--public-key", "public.pem", "--head", f"3:{'0' * 64}"],
            "is not signed; expected a signed head's file",
        ),
        (["--head", "3:12"], "expected REVISION:CHAIN"),
        (["--head", "none.head"], "none.head: No such file"),
        (["--head", "public.pem"], "expected the output of driftline audit head --sign"),
        (["--public-key", "key.pem", "--head", "head"], "expected an Ed25519 public key as PEM"),
    ],
)
def test_invalid_combinations_of_arguments_are_named(
    home: Home, public: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(public.parent)
    Path("key.pem").write_bytes(home.audit_key.read_bytes())
    Path("head").write_text(run("head", "--sign").stdout)
    result = run("verify", *arguments)
    assert result.exit_code != 0
    assert expected in f"{result.output} {result.exception}"
