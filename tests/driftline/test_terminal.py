"""Foreign names, reasons and errors in the terminal."""

import io
import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import click
import msgspec
import pytest
from rich.console import Console
from rich.text import Text

from driftline import cli
from driftline.status import plain
from driftline.terminal import EscapingStream, escaped, escaped_streams, unescaped_stream
from monitoring.results import AlarmStep, Result
from tests.hostile_names import NAMES, STEERING, TERMINAL
from tests.monitoring.web.conftest import FakeStore, a_delivery, an_alarm, week, written_to

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_control_sequences_are_removed(name: str) -> None:
    for text in (escaped(name), plain(name).plain):
        assert not set(STEERING) & set(text)
        assert all(c.isprintable() or c in "\n\t" for c in text)
    assert (
        json.loads(f'"{escaped(chr(0x9B) + chr(0x202E) + chr(0xE0041))}"') == "\x9b\u202e\U000e0041"
    )


def test_text_of_every_language_is_unchanged() -> None:
    for text in ("plain", "Größe 10 µs, ≤ 5 %", "東京", "مرحبا", "é", "a\n\tb"):
        assert escaped(text) == text


@pytest.mark.parametrize("name", TERMINAL.values(), ids=TERMINAL.keys())
def test_a_command_prints_no_control_sequence_by_any_path(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def command() -> None:
        click.echo(name)
        click.echo(f"{name}".encode())  # bytes are for programs
        print(name)
        print(name, file=sys.stderr)
        Console(force_terminal=True).print(Text(name, style="red"))
        raise click.ClickException(name)

    monkeypatch.setattr(cli, "driftline", command)
    monkeypatch.setattr(sys, "argv", ["driftline"])
    with pytest.raises(SystemExit):
        cli.run()
    written = capsys.readouterr()
    for text in (written.out.replace(f"{name}\n", "", 1), written.err):
        left = set(_COLOURS.sub("", text)) & set(STEERING)
        assert name.isprintable() or not left, repr(text)


def test_colours_pass_and_our_progress_display_may_move_the_cursor() -> None:
    stream = io.StringIO()
    wrapped = EscapingStream(stream)
    wrapped.writelines(["\x1b[1;31mred\x1b[0m\x1b[2J", "\x1b]0;x\x07"])
    assert stream.getvalue() == "\x1b[1;31mred\x1b[0m\\u001b[2J\\u001b]0;x\\u0007"
    assert unescaped_stream(cast("Any", wrapped)) is stream
    assert unescaped_stream(stream) is stream


def test_the_streams_are_restored_afterwards() -> None:
    before = sys.stdout, sys.stderr
    with escaped_streams():
        assert sys.stdout is not before[0]
        assert sys.stdout.encoding == before[0].encoding
    assert (sys.stdout, sys.stderr) == before


@pytest.fixture(scope="module")
def hostile_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A monitor's database in which every name and reason is hostile."""
    home = tmp_path_factory.mktemp("home")
    names = [name for name in NAMES.values() if name.strip()]
    steps = [[AlarmStep(1, "acknowledged", name, name)] for name in names]
    alarms = [
        msgspec.structs.replace(
            an_alarm(), alarm_id=name, model=name, version=name, sentence=name, steps=step
        )
        for name, step in zip(names, steps, strict=True)
    ]
    results = [
        Result(model=name, version=name, window=week(0), rows=3, verdict="ok") for name in names
    ]
    outbox = [a_delivery(name, attempts=1, last_error=name) for name in names]
    fake = FakeStore(all_results=results, all_alarms=alarms, outbox=outbox)
    written_to(home / "monitor.db", fake)
    return home


@pytest.mark.parametrize(
    "command",
    ["status", "alarms", "alarms list", "alarms silences", "webhooks list", "status --json"],
)
def test_commands_show_hostile_names_without_control_sequences(
    hostile_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(hostile_home))
    monkeypatch.setenv("BENTOML_HOME", str(hostile_home / "bentoml"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "argv", ["driftline", *command.split()])
    with suppress(SystemExit):
        cli.run()
    written = capsys.readouterr().out
    if "--json" in command:  # for programs: JSON of what there is
        assert json.loads(written)
        return
    assert "pwned" in written or "silence" in command
    assert not set(_COLOURS.sub("", written)) & set(STEERING)
