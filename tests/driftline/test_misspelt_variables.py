"""Processes refuse to start with a misspelt variable, and accept other programs' variables."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_test
from hypothesis import strategies as st

from driftline.cli import driftline
from driftline.setting_catalogue import PARTS, settings
from driftline.setting_names import misspelt
from eventlog.errors import SettingError

KNOWN = [one.variable for one in settings()]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", ["serve", "monitor", "forward", "up", "registry serve"])
def test_a_process_with_a_misspelt_variable_does_not_start(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DRIFTLINE_SERVICE_WORKRES", "2")
    monkeypatch.setenv("DRIFTLINE_KAFKA_SERVERS", "kafka:9092")
    words = (
        "DRIFTLINE_KAFKA_SERVERS: unknown; expected a setting that driftline config lists; "
        "DRIFTLINE_SERVICE_WORKRES: unknown; did you mean DRIFTLINE_SERVICE_WORKERS?"
    )
    with pytest.raises(SettingError, match=f"^{re.escape(words)}$"):
        driftline(command.split(), standalone_mode=False)
    assert not (tmp_path / "home").exists()


def test_invalid_log_settings_are_refused_before_a_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DRIFTLINE_LOG_SEGMENT_BYTES", "0")
    with pytest.raises(SettingError, match=r"^DRIFTLINE_LOG_SEGMENT_BYTES: '0': expected"):
        driftline(["serve"], standalone_mode=False)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DRIFTLINE_SERVCE_WORKERS", "DRIFTLINE_SERVICE_WORKERS"),
        ("DRIFTLINE_HOMES", "DRIFTLINE_HOME"),
        ("DRIFTLINE_KEY_FILE", "DRIFTLINE_KEYS_FILE"),
        ("DRIFTLINE_LOG_LEVEL", "DRIFTLINE_LOGGING_LEVEL"),
        ("DRIFTLINE_REGISTRY_SEVER", "DRIFTLINE_REGISTRY_SERVER"),
    ],
)
def test_the_nearest_name_is_proposed(name: str, meant: str) -> None:
    assert misspelt({name: ""}) == [f"{name}: unknown; did you mean {meant}?"]


@settings_of_test(max_examples=40)
@given(st.sampled_from(KNOWN), st.data())
def test_a_setting_with_a_letter_left_out_is_found(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(len("DRIFTLINE_"), len(name) - 1))
    wrong = name[:at] + name[at + 1 :]
    assert wrong in KNOWN or misspelt({wrong: "x"}), wrong
    assert misspelt({name: "x"}) == []


def test_variables_of_other_programs_are_accepted() -> None:
    """Those of tests, of the Makefile, of Compose, and what Kubernetes sets for Services."""
    files = [ROOT / "Makefile", ROOT / "deploy" / "compose.yaml", *(ROOT / ".ci").iterdir()]
    files += [one for one in (ROOT / "tests").rglob("*.py") if one != Path(__file__)]
    text = "".join(one.read_text() for one in files if one.is_file())
    read = r"environ(?:\.get)?[([]\"(DRIFTLINE_\w+)|\$\{?(DRIFTLINE_\w+)|\b(DRIFTLINE_\w+)="
    stated = {name for found in re.findall(read, text) for name in found if name}
    assert {"DRIFTLINE_NIGHTLY", "DRIFTLINE_SKIPS_FAIL", "DRIFTLINE_S3"} <= stated
    stated -= {name for name in stated if name.endswith("_WORKRES")}
    assert misspelt(dict.fromkeys(stated | {"DRIFTLINE_PARENT_PID", "HOME"}, "x")) == []
    links = ("SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT", "PORT_3000_TCP", "PORT_3000_TCP_ADDR")
    names = [f"DRIFTLINE_{of}_{link}" for of in ("SERVICE", "FORWARDER") for link in links]
    assert misspelt(dict.fromkeys(names, "tcp://10.0.0.1:3000")) == []
    assert misspelt({"DRIFTLINE_FORWARDER_PORT": "3200"})


def test_variables_of_a_part_that_is_not_installed_are_not_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = [part._replace(module="absent.settings") for part in PARTS if "MONITOR" in part.prefix]
    others = [part for part in PARTS if "MONITOR" not in part.prefix]
    monkeypatch.setattr("driftline.setting_names.PARTS", [*others, *absent])
    assert misspelt({"DRIFTLINE_MONITOR_PORRT": "x"}) == []
    assert misspelt({"DRIFTLINE_SERVICE_PORRT": "x"})
