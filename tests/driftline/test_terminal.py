"""What a terminal receives of names, reasons and errors that others chose."""

import io
import json
import re
import sys
from typing import Any, cast

import click
import pytest
from rich.console import Console
from rich.text import Text

from driftline import cli
from driftline.status import plain
from driftline.terminal import EscapingStream, escaped, escaped_streams, own_control
from tests.hostile_names import NAMES, STEERING, TERMINAL

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_nothing_that_steers_is_left(name: str) -> None:
    for text in (escaped(name), plain(name).plain):
        assert not set(STEERING) & set(text)
        assert all(c.isprintable() or c in "\n\t" for c in text)
    assert (
        json.loads(f'"{escaped(chr(0x9B) + chr(0x202E) + chr(0xE0041))}"') == "\x9b\u202e\U000e0041"
    )


def test_words_of_every_language_stay() -> None:
    for text in ("plain", "Größe 10 µs, ≤ 5 %", "東京", "مرحبا", "é", "a\n\tb"):
        assert escaped(text) == text


@pytest.mark.parametrize("name", TERMINAL.values(), ids=TERMINAL.keys())
def test_a_command_writes_none_by_any_way(
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


def test_colours_pass_and_a_display_of_ours_may_move_the_cursor() -> None:
    stream = io.StringIO()
    wrapped = EscapingStream(stream)
    wrapped.writelines(["\x1b[1;31mred\x1b[0m\x1b[2J", "\x1b]0;x\x07"])
    assert stream.getvalue() == "\x1b[1;31mred\x1b[0m\\u001b[2J\\u001b]0;x\\u0007"
    assert own_control(cast("Any", wrapped)) is stream
    assert own_control(stream) is stream


def test_the_streams_are_as_before_afterwards() -> None:
    before = sys.stdout, sys.stderr
    with escaped_streams():
        assert sys.stdout is not before[0]
        assert sys.stdout.encoding == before[0].encoding
    assert (sys.stdout, sys.stderr) == before
