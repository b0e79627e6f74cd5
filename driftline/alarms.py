"""`driftline alarms`: list, acknowledge, resolve and silence alarms, and write notes on them."""

import getpass
import secrets
from typing import get_args

import click
import msgspec
from rich.console import Console

from driftline.status import note_line, open_store, print_alarm
from eventlog.errors import SettingError
from monitoring.notes import LONGEST_NOTE, new_note_id
from monitoring.presenter import formats
from monitoring.results import AlarmStep, Note, Rule, Silence
from monitoring.web.overview import worst_first
from telemetry.clock import YEAR_S, now_us, parse_duration


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [alarms]


@click.group(invoke_without_command=True)
@click.pass_context
def alarms(context: click.Context) -> None:
    """List every alarm, worst first; subcommands acknowledge, resolve and silence alarms."""
    if context.invoked_subcommand is None:
        context.invoke(listing)


@alarms.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON of /api/alarms.")
def listing(as_json: bool = False) -> None:  # noqa: FBT001, FBT002  # click calls it by name
    """List every alarm, worst first."""
    store = open_store()
    alarms = worst_first(store.alarms())
    if as_json:
        click.echo(msgspec.json.encode(alarms))
        return
    if not alarms:
        click.echo("No alarm was ever raised.")
        return
    console = Console()
    notes = store.notes_on_alarms([alarm.alarm_id for alarm in alarms])
    for alarm in alarms:
        print_alarm(console, alarm, notes.get(alarm.alarm_id, []))


@alarms.command()
@click.argument("alarm_id")
@click.option("--reason", default="", help="Recorded with the alarm.")
def acknowledge(alarm_id: str, reason: str) -> None:
    """Acknowledge a firing alarm: record that you have seen it."""
    step = AlarmStep(now_us(), "acknowledged", _actor(), reason)
    if not open_store().acknowledge(alarm_id, step):
        raise _Unknown(f"no alarm {alarm_id} is firing; see driftline alarms")
    click.echo(f"acknowledged {alarm_id}")


@alarms.command()
@click.argument("alarm_id")
@click.option("--reason", required=True, help="Recorded with the alarm.")
def resolve(alarm_id: str, reason: str) -> None:
    """Resolve an alarm; if its cause persists, a new alarm fires."""
    if not open_store().resolve(alarm_id, AlarmStep(now_us(), "resolved", _actor(), reason)):
        raise _Unknown(f"no alarm {alarm_id} is open; see driftline alarms")
    click.echo(f"resolved {alarm_id}")


@alarms.command()
@click.argument("alarm_id")
@click.argument("text")
def note(alarm_id: str, text: str) -> None:
    """Write a note on an alarm; the status page and `alarms list` show it with author and time."""
    store = open_store()
    alarm = next((alarm for alarm in store.alarms() if alarm.alarm_id == alarm_id), None)
    if alarm is None:
        raise _Unknown(f"no alarm has the id {alarm_id}; see driftline alarms")
    if not text.strip() or len(text) > LONGEST_NOTE or "\0" in text:
        raise SettingError(f"TEXT: expected 1 to {LONGEST_NOTE} characters, without NUL")
    written = Note(
        note_id=new_note_id(),
        model=alarm.model,
        version=alarm.version,
        alarm_id=alarm_id,
        text=text.strip(),
        actor=_actor(),
        created=now_us(),
    )
    store.add_note(written)
    click.echo(f"{written.note_id}: noted on {alarm_id}")


@alarms.command()
@click.option("--model", default="", help="Only notes on this model.")
def notes(model: str) -> None:
    """List the notes on windows and alarms, oldest first."""
    listed = [note for note in open_store().all_notes() if model in {"", note.model}]
    for note in listed:
        click.echo(f"{note.note_id}: {_subject(note)}, {note_line(note)}")
    if not listed:
        click.echo("There are no notes.")


@alarms.command("delete-note")
@click.argument("note_id")
def delete_note(note_id: str) -> None:
    """Delete a note."""
    if not open_store().delete_note(note_id):
        raise _Unknown(f"no note has the id {note_id}; see driftline alarms notes")
    click.echo(f"deleted {note_id}")


@alarms.command()
@click.option("--model", default="", help="Only alarms of this model.")
@click.option("--version", default="", help="Only alarms of this version.")
@click.option(
    "--rule", default="", type=click.Choice(["", *get_args(Rule)]), help="Only alarms of this rule."
)
@click.option("--for", "length", required=True, help="Duration: 30m, 8h, 3d, 2w.")
@click.option("--reason", required=True, help="Recorded with the silence.")
def silence(model: str, version: str, rule: Rule, length: str, reason: str) -> None:
    """Silence matching alarms: they are recorded and shown, but send no webhook."""
    now = now_us()
    new_silence = Silence(
        silence_id=f"si_{secrets.token_hex(6)}",
        model=model,
        version=version,
        rule=rule,
        until=now + _seconds(length) * 1_000_000,
        created=now,
        actor=_actor(),
        reason=reason,
    )
    open_store().silence(new_silence)
    click.echo(
        f"{new_silence.silence_id}: {_scope(new_silence)} until {formats.moment(new_silence.until)}"
    )


@alarms.command()
def silences() -> None:
    """List the active silences."""
    now = now_us()
    active = [silence for silence in open_store().silences() if silence.until > now]
    for silence in active:
        until = formats.moment(silence.until)
        click.echo(
            f"{silence.silence_id}: {_scope(silence)} until {until}, {silence.actor}: "
            f"{silence.reason}"
        )
    if not active:
        click.echo("No silence is active.")


@alarms.command()
@click.argument("silence_id")
def unsilence(silence_id: str) -> None:
    """End a silence now."""
    if not open_store().unsilence(silence_id, now_us()):
        raise _Unknown(f"no silence {silence_id} is active; see driftline alarms silences")
    click.echo(f"ended {silence_id}")


def _subject(note: Note) -> str:
    about = f"alarm {note.alarm_id}" if note.start is None else f"window {formats.day(note.start)}"
    return f"{about} of {note.model} version {note.version}"


def _scope(silence: Silence) -> str:
    parts = [silence.rule or "every rule", "of", silence.model or "every model"]
    return " ".join([*parts, *(["version", silence.version] if silence.version else [])])


def _seconds(length: str) -> int:
    try:
        return parse_duration(length, longest=YEAR_S)
    except ValueError as error:
        raise SettingError(f"--for {length!r}: {error}") from None


def _actor() -> str:
    return getpass.getuser()


class _Unknown(SettingError):
    """No alarm, note or silence has this id."""
