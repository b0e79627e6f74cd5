"""`driftline doctor`: every check, on sound and on faulty installations."""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from access.keyfile import KeyFile
from access.keys import make_key
from driftline import installation
from driftline.cli import driftline
from driftline.installation import CheckResult
from driftline.port_owner import port_owner
from eventlog.errors import DriftlineError
from eventlog.kafka_settings import KafkaSettings
from eventlog.process_lock import ProcessLock
from eventlog.settings import Home
from monitoring.storage.store import Store
from registry.store import Registry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in [one for one in os.environ if one.startswith("DRIFTLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    home = Home(tmp_path / "home")
    home.root.mkdir(mode=0o700)
    monkeypatch.setenv("DRIFTLINE_HOME", str(home.root))
    for name in ("SERVICE_PORT", "SERVICE_GRPC_PORT", "MONITOR_PORT"):
        monkeypatch.setenv(f"DRIFTLINE_{name}", str(_free()))
    return home


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def only(findings: Iterator[CheckResult], check: str = "") -> CheckResult:
    (found,) = [one for one in findings if check in ("", one.check)]
    return found


def test_a_sound_installation_passes_and_is_not_changed(home: Home) -> None:
    Registry(home)
    Store(home.monitor).close()
    before = sorted(home.root.rglob("*"))
    done = CliRunner().invoke(driftline, ["doctor"])
    assert done.exit_code == 0, done.output
    assert {line.split()[0] for line in done.output.splitlines()} <= {"ok", "warning"}
    for said in ("monitor.db has revision", "registry.db has revision", "uvicorn 0.54"):
        assert said in done.output
    assert sorted(home.root.rglob("*")) == before


def test_a_failure_exits_with_1_and_states_the_remedy(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("DRIFTLINE_MONITOR_PORT", str(port))
        monkeypatch.setenv("DRIFTLINE_MONITOR_PROT", "1")
        done = CliRunner().invoke(driftline, ["doctor", "--json"])
    assert done.exit_code == 1
    failed = [one for one in json.loads(done.stdout) if one["state"] == "failed"]
    assert [one["check"] for one in failed] == ["settings", "ports"]
    assert "DRIFTLINE_MONITOR_PORT" in failed[0]["message"]
    assert f"pid {os.getpid()} (" in failed[1]["remedy"]


def test_the_port_of_this_homes_running_service_is_not_a_fault(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        ProcessLock(home.lock("service"), "service"),
    ):
        monkeypatch.setenv("DRIFTLINE_SERVICE_PORT", str(taken.getsockname()[1]))
        found = list(installation.check_ports(home))
    assert {one.state for one in found} == {"ok"}
    assert f"pid {os.getpid()}" in found[0].message
    assert "is free" in next(installation.check_ports(home)).message


def test_two_listeners_on_one_port_fail(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_MONITOR_PORT", os.environ["DRIFTLINE_SERVICE_GRPC_PORT"])
    found = only(installation.check_ports(home))
    assert found.state == "failed"
    assert "DRIFTLINE_SERVICE_GRPC_PORT has the same port" in found.message


def test_an_unused_port_has_no_owner() -> None:
    assert port_owner(_free()) == ""
    assert port_owner(3000, Path("/nowhere")) == ""


def test_rights_and_free_space_of_the_home_are_checked(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Home(home.root / "absent")
    assert next(installation.check_home(absent)).state == "warning"
    file = Home(home.root / "file")
    file.root.touch()
    assert next(installation.check_home(file)).state == "failed"
    home.root.chmod(0o755)
    assert next(installation.check_home(home)).remedy == f"chmod o-rwx {home.root}"
    home.root.chmod(0o777)
    assert next(installation.check_home(home)).state == "failed"
    home.root.chmod(0o700)
    (home.root / "driftline.toml").touch(0o644)
    (home.root / "driftline.toml").chmod(0o644)
    states = [one.state for one in installation.check_home(home) if one.check == "home"]
    assert states == ["ok", "warning"]
    for free, state in ((1 << 20, "failed"), (1 << 30, "warning"), (1 << 40, "ok")):
        usage = _Usage(1 << 41, free)
        monkeypatch.setattr(installation.shutil, "disk_usage", lambda _, usage=usage: usage)
        assert only(installation.check_home(home), "disk").state == state


class _Usage:
    def __init__(self, total: int, free: int) -> None:
        self.total, self.free = total, free


@pytest.mark.parametrize(
    ("variable", "value", "parts"),
    [
        ("DRIFTLINE_SERVICE_TLS_CERTIFICATE", "/nowhere/server.pem", ["service"]),
        ("DRIFTLINE_MONITOR_TLS_KEY", "/nowhere/server.key", ["monitor"]),
        ("DRIFTLINE_SERVICE_ID_SECRETS", "short", ["service"]),
        ("DRIFTLINE_MONITOR_WEBHOOK_URL", "ftp://example.org", ["monitor"]),
        ("DRIFTLINE_OIDC_ISSUER", "https://login.example.org", ["service", "monitor"]),
        ("DRIFTLINE_ARTIFACTS", "nothing://models", ["service", "monitor"]),
        ("DRIFTLINE_SERVICE_HOST", "0.0.0.0", ["service"]),
        ("DRIFTLINE_LOG_SEGMENT_BYTES", "-1", ["service", "monitor"]),
    ],
)
def test_doctor_finds_every_reason_to_refuse_a_start(
    home: Home, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, parts: list[str]
) -> None:
    if "OIDC" in variable:  # also where keys exist
        key, _ = make_key([], name="n", scopes=["read"], expires="", now=0)
        KeyFile.of(home).change(lambda _: [key])
    assert {one.state for one in installation.check_starts(home)} == {"ok"}
    before = sorted(home.root.rglob("*"))
    monkeypatch.setenv(variable, value)
    failed = [one for one in installation.check_starts(home) if one.state == "failed"]
    assert [one.remedy.split()[3] for one in failed] == parts
    if "service" in parts:
        refused = CliRunner().invoke(driftline, ["serve"]).exception
        assert isinstance(refused, DriftlineError)
        assert str(refused) == failed[0].message
    assert sorted(home.root.rglob("*")) == before


def test_a_file_in_place_of_the_log_or_bad_secrets_refuse_a_start(home: Home) -> None:
    (home.root / "prediction-id-secrets").write_text("short")
    assert [one.state for one in installation.check_starts(home)] == ["failed", "ok"]
    home.log.touch()
    found = list(installation.check_starts(home))
    assert [one.state for one in found] == ["failed", "failed"]
    assert f"{home.log} is not a folder" in found[0].message


def test_a_clock_before_the_newest_event_fails(home: Home) -> None:
    assert "empty" in only(installation.check_clock(home)).message
    segment = home.log / "source" / "segment"
    segment.parent.mkdir(parents=True)
    segment.touch()
    assert only(installation.check_clock(home)).state == "ok"
    assert only(installation.check_clock(home, lambda: time.time() - 3_600)).state == "failed"


@pytest.mark.parametrize(
    ("revision", "state"), [("0001", "warning"), ("9999", "failed"), (None, "warning")]
)
def test_the_schema_revision_of_a_database_is_checked(
    home: Home, revision: str | None, state: str
) -> None:
    with sqlite3.connect(home.monitor) as file:
        if revision:
            file.execute("CREATE TABLE monitor_revision (version_num TEXT)")
            file.execute("INSERT INTO monitor_revision VALUES (?)", (revision,))
    file.close()
    assert only(installation.check_databases(home), "monitor's database").state == state


def test_a_damaged_or_unreachable_database_fails(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.monitor.write_bytes(b"no database" * 100)
    monkeypatch.setenv("DRIFTLINE_REGISTRY", f"postgresql://a:hidden@127.0.0.1:{_free()}/x")
    found = list(installation.check_databases(home))
    assert [one.state for one in found] == ["failed", "failed"]
    assert "hidden" not in str(found)


def test_kafka_is_checked_if_it_is_configured() -> None:
    assert only(installation.check_kafka({})).state == "ok"
    servers = f"127.0.0.1:{_free()}"
    found = only(installation.check_kafka({"DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS": servers}))
    assert found.state == "failed"
    assert servers in found.message


@pytest.mark.parametrize(
    ("counts", "state", "said"),
    [
        ([4, 4, 4, 4], "ok", "4 topics have 4 partitions each"),
        ([4, 4, 4, 0], "failed", "missing: driftline.deadletters"),
        ([4, 3, 4, 4], "failed", "driftline.feedback has 3 partitions"),
    ],
)
def test_topics_have_equal_partitions(counts: list[int], state: str, said: str) -> None:
    chosen = KafkaSettings()
    found = installation.check_topics(chosen, dict(zip(chosen.topics, counts, strict=True)))
    assert found.state == state
    assert said in found.message


def test_an_untested_library_version_fails() -> None:
    found = {one.message: one.state for one in installation.check_versions(lambda _: "1.4.2")}
    assert found["bentoml 1.4.2"] == "ok"
    assert found["uvicorn 1.4.2 is installed, but Driftline is tested with 0.54"] == "failed"


def test_a_missing_key_file_fails(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_KEYS_FILE", str(home.root / "absent"))
    found = {one.check: one for one in installation.findings(home, os.environ)}
    assert found["keys"].state == "failed"
