"""`driftline config` and the settings file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftline.cli import settings_file
from driftline.setting_catalogue import PARTS, settings
from driftline.setting_file import apply_file, as_started, file_of, read_file
from driftline.setting_values import masked, value_of
from eventlog.errors import SettingError
from eventlog.settings import LogSettings, from_environment
from service.settings import read_settings
from tests import preloaded


def config(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    bare = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTLINE_")}
    return preloaded.run(
        [sys.executable, "-m", "driftline", "config", *arguments],
        env={**bare, "DRIFTLINE_HOME": str(home), **variables},
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "driftline.toml"
    path.write_text(text)
    return path


def test_each_value_is_shown_with_its_source_and_variables_take_precedence(tmp_path: Path) -> None:
    path = written(tmp_path, "[service]\nworkers = 4\nport = 3001\n[log]\nretain_for = ['monitor']")
    shown = config(tmp_path, "--json", DRIFTLINE_SERVICE_PORT="3002")
    assert shown.returncode == 0, shown.stderr
    rows = {row["variable"]: row for row in json.loads(shown.stdout)}
    assert rows.keys() == {one.variable for one in settings()}
    found = {name: (row["value"], row["source"]) for name, row in rows.items()}
    assert found["DRIFTLINE_SERVICE_WORKERS"] == ("4", f"file {path}")
    assert found["DRIFTLINE_SERVICE_PORT"] == ("3002", "variable")
    assert found["DRIFTLINE_SERVICE_GRPC_PORT"] == ("8001", "default")
    assert found["DRIFTLINE_LOG_RETAIN_FOR"] == ("monitor", f"file {path}")
    assert found["DRIFTLINE_CONFIG"] == ("", "default")
    assert rows["DRIFTLINE_LOGGING_LEVEL"]["allowed"] == ["debug", "info", "warning", "error"]
    assert rows["DRIFTLINE_SERVICE_POLL_INTERVAL_S"]["description"].startswith("seconds between")


def test_only_changed_settings_are_shown_and_secrets_are_omitted(tmp_path: Path) -> None:
    shown = config(
        tmp_path,
        "--changed",
        DRIFTLINE_CONFIG="",
        DRIFTLINE_MONITOR_WEBHOOK_TOKEN="hidden",
        DRIFTLINE_REGISTRY="postgresql://anna:hidden@host/name",
    )
    lines = [line for line in shown.stdout.splitlines() if line.startswith("DRIFTLINE_")]
    names = {line.partition("=")[0] for line in lines}
    assert {"DRIFTLINE_MONITOR_WEBHOOK_TOKEN", "DRIFTLINE_REGISTRY"} < names
    assert "DRIFTLINE_SERVICE_PORT" not in names
    assert "hidden" not in shown.stdout


def test_invalid_values_and_misspelt_names_end_with_1(tmp_path: Path) -> None:
    shown = config(
        tmp_path,
        "--changed",
        DRIFTLINE_SERVICE_WORKERS="four",
        DRIFTLINE_SERVICE_WORKRES="4",
    )
    assert shown.returncode == 1
    assert shown.stderr.splitlines() == [
        "driftline: DRIFTLINE_SERVICE_WORKERS: 'four': expected a whole number >= 1",
        "driftline: DRIFTLINE_SERVICE_WORKRES: unknown; did you mean DRIFTLINE_SERVICE_WORKERS?",
    ]


def test_every_command_reads_the_file_and_refuses_a_faulty_file_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, "[service]\nworkres = 4")
    refused = config(tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"driftline: {path}: service.workres: unknown; did you mean workers in [service]?\n"
    )
    assert config(tmp_path, DRIFTLINE_CONFIG="").returncode == 0
    absent = config(tmp_path, DRIFTLINE_CONFIG=str(tmp_path / "none.toml"))
    assert "none.toml: No such file or directory" in absent.stderr


def test_without_a_home_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DRIFTLINE_CONFIG", "DRIFTLINE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)  # of no user, as in some clusters
    assert settings_file() is None
    monkeypatch.setenv("DRIFTLINE_HOME", str(written(tmp_path, "") / "file" / "home"))
    assert settings_file() is None
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    assert settings_file() == tmp_path / "driftline.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", "driftline.toml: "),
        ("registyr = 'x'", "registyr: unknown; did you mean registry"),
        ("[something]\nelse = 1", "something.else: unknown; expected a setting"),
        ("config = 'x'", "config: unknown"),
        ("[service]\nworkers = [1, 2]", "service.workers: expected text, a number"),
        ("[service]\nworkers = 1979-05-27", "service.workers: expected text, a number"),
        ("service_workers = 1\n[service]\nworkers = 2", "service.workers: .* is set twice"),
    ],
)
def test_a_faulty_file_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        read_file(written(tmp_path, text))
    path = tmp_path / "latin.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(SettingError, match=r"latin\.toml"):
        read_file(path)


def test_child_processes_inherit_the_files_settings_without_reading_it(tmp_path: Path) -> None:
    path = written(tmp_path, "[service]\nfork_workers = false\nworkers = 3")
    environ = {"DRIFTLINE_SERVICE_WORKERS": "2", "DRIFTLINE_CONFIG": str(path)}
    apply_file(path, environ)
    assert environ == {
        "DRIFTLINE_SERVICE_WORKERS": "2",
        "DRIFTLINE_SERVICE_FORK_WORKERS": "false",
        "DRIFTLINE_CONFIG": "",
    }
    assert file_of("DRIFTLINE_SERVICE_FORK_WORKERS") == path
    assert file_of("DRIFTLINE_SERVICE_WORKERS") is None
    assert as_started(environ)["DRIFTLINE_CONFIG"] == str(path)
    assert read_settings(environ).workers == 2


def test_a_default_is_valid_and_described_where_the_part_is_installed() -> None:
    for one in settings():
        value = value_of(one, {}, lambda _: None)
        if value.value and value.variable != "DRIFTLINE_HOME":
            again = value_of(one, {one.variable: value.value}, lambda _: None)
            assert again.fault == "", one.variable
            assert again.source == "variable"
    assert all(part.kind() is not None for part in PARTS)
    assert len({one.variable for one in settings()}) == len(settings())


@pytest.mark.parametrize(
    ("variable", "text", "shown"),
    [
        ("DRIFTLINE_SERVICE_ID_SECRETS", "one,two", "***"),
        ("DRIFTLINE_API_KEY", "dl_1_2", "***"),
        ("DRIFTLINE_API_KEY", "", ""),
        ("DRIFTLINE_KAFKA_SASL_PASSWORD_FILE", "/run/x", "/run/x"),
        (
            "DRIFTLINE_REGISTRY",
            "postgresql://a:b:c@h:1/n?password=d",
            "postgresql://a:***@h:1/n?***",
        ),
        ("DRIFTLINE_REGISTRY", "postgresql://a@h/n", "postgresql://a@h/n"),
        ("DRIFTLINE_REGISTRY", "postgresql://[h/n", "***"),
        ("DRIFTLINE_MONITOR_WEBHOOK_URL", "https://h/services/T/B", "https://h/***"),
        ("DRIFTLINE_MONITOR_PAGE_URL", "https://h/page", "https://h/page"),
    ],
)
def test_secrets_are_masked(variable: str, text: str, shown: str) -> None:
    assert masked(variable, text) == shown


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("SERVICE_WORKERS", "four", "'four': expected a whole number >= 1"),
        ("SERVICE_FORK_WORKERS", "maybe", "'maybe': expected true or false"),
        ("SERVICE_REQUEST_TIMEOUT_S", "1s", "'1s': expected a number > 0"),
        ("SERVICE_GRPC", "fast", "'fast': expected one of auto, native, aio"),
        ("SERVICE_MAX_CONNECTIONS", "0", "'0': expected a whole number >= 1"),
        ("SERVICE_WORKERS", "-1", "'-1': expected a whole number >= 1"),
        ("SERVICE_KEEP_ALIVE_S", "-1", "'-1': expected a whole number >= 0"),
        ("SERVICE_POLL_INTERVAL_S", "nan", "'nan': expected a number > 0"),
        ("SERVICE_REQUEST_TIMEOUT_S", "inf", "'inf': expected a number > 0"),
        ("SERVICE_MEMORY", "8", "'8': expected a size such as 512MiB or 8GiB"),
    ],
)
def test_an_invalid_value_is_reported_with_variable_and_allowed_values(
    name: str, text: str, said: str
) -> None:
    with pytest.raises(SettingError, match=f"^DRIFTLINE_{name}: {said}$"):
        read_settings({f"DRIFTLINE_{name}": text})
    with pytest.raises(SettingError, match=r"^DRIFTLINE_LOG_DURABILITY: 'ram': .* process, disk$"):
        from_environment(LogSettings, "DRIFTLINE_LOG_", {"DRIFTLINE_LOG_DURABILITY": "ram"})
