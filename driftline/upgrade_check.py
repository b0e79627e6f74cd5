"""Find out how this release would change an installation, without changing it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from driftline.database_revisions import read_revision
from driftline.setting_values import masked
from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.frames import Frame, split
from eventlog.layout import segments
from eventlog.process_lock import holder
from eventlog.settings import Home, from_environment

Outcome = Literal["current", "upgrade", "new", "refused", "unknown", "running"]
_ROLES = ("service", "monitor", "forwarder")
_TAIL = 4 << 20  # bytes at the end of a segment that are searched for the newest event
_NEWER = "run the release that wrote it, or a newer one"


class UpgradeFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of this release on one part of the installation."""

    part: str
    outcome: Outcome
    message: str
    steps: list[str] = []  # migrations that would run, in order


def upgrade_findings(home: Home) -> Iterator[UpgradeFinding]:
    """Check running processes, databases and the log."""
    yield from _processes(home)
    yield from _databases(home)
    yield from _log(home)


def _processes(home: Home) -> Iterator[UpgradeFinding]:
    for role in _ROLES:
        if running := holder(home.lock(role)):
            message = f"the {role} of this home is running ({running}): stop it before the upgrade"
            yield UpgradeFinding(part="processes", outcome="running", message=message)


def _databases(home: Home) -> Iterator[UpgradeFinding]:
    from monitoring.settings import database_address  # noqa: PLC0415 - imports SQLAlchemy and Alembic
    from monitoring.storage import migrations as monitor  # noqa: PLC0415
    from registry.history import migrations as registry  # noqa: PLC0415
    from registry.settings import PREFIX, RegistrySettings  # noqa: PLC0415

    shared = from_environment(RegistrySettings, PREFIX).registry
    places: list[tuple[str, Path | str, Any]] = [
        ("monitor's database", database_address(home), monitor),
        ("registry", shared or home.registry, registry),
    ]
    if shared:
        places.append(("copy of the registry", home.registry_copy, registry))
    for name, place, package in places:
        migrations = _migrations(Path(str(package.__file__)).parent)
        yield database_finding(name, place, package.VERSION_TABLE, migrations)


def _migrations(folder: Path) -> list[tuple[str, str]]:
    """Return the revision and first line of each migration, oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - takes half a second to import

    scripts = list(ScriptDirectory(str(folder)).walk_revisions())
    return [
        (script.revision, (script.doc or "").partition("\n")[0]) for script in reversed(scripts)
    ]


def database_finding(
    name: str, place: Path | str, table: str, migrations: Sequence[tuple[str, str]]
) -> UpgradeFinding:
    """Return the effect of the migrations on a database."""
    shown, newest = masked("", str(place)), migrations[-1][0]
    if isinstance(place, Path) and not place.exists():
        message = f"{shown} does not exist; the first start creates it"
        return UpgradeFinding(part=name, outcome="new", message=message)
    try:
        revision = read_revision(place, table)
    except Exception as error:  # noqa: BLE001 - the two drivers' errors have no common base
        message = f"{shown} cannot be read: {' '.join(str(error).split())}"
        return UpgradeFinding(part=name, outcome="unknown", message=message)
    if revision == newest:
        message = f"{shown} has the newest revision, {revision}"
        return UpgradeFinding(part=name, outcome="current", message=message)
    revisions = [revision for revision, _ in migrations]
    if revision and revision not in revisions:
        message = (
            f"{shown} has revision {revision}, unknown to this release (newest: {newest}): {_NEWER}"
        )
        return UpgradeFinding(part=name, outcome="refused", message=message)
    steps = migrations[revisions.index(revision) + 1 if revision else 0 :]
    return UpgradeFinding(
        part=name,
        outcome="upgrade",
        message=(
            f"{shown} has revision {revision or 'none'}, the newest is {newest}; back it up first"
        ),
        steps=[f"{revision} {line}" for revision, line in steps],
    )


def _log(home: Home) -> Iterator[UpgradeFinding]:
    sources = sorted(path for path in home.log.glob("*") if path.is_dir())
    unknown: dict[str, str] = {}  # unknown type of the newest event, by source
    for source in sources:
        if newer := _newer_event(source):
            unknown[source.name] = newer
    if unknown:
        name, kind = next(iter(unknown.items()))
        message = (
            f"{len(unknown)} of {len(sources)} sources end with events of a schema that this "
            f"release cannot read, such as {kind!r} of {name}: {_NEWER}"
        )
        yield UpgradeFinding(part="event log", outcome="refused", message=message)
    elif sources:
        message = f"{home.log}: the newest events of all {len(sources)} sources can be read"
        yield UpgradeFinding(part="event log", outcome="current", message=message)
    else:
        message = f"{home.log} has no events"
        yield UpgradeFinding(part="event log", outcome="new", message=message)


def _newer_event(source: Path) -> str:
    """Return the type of a source's newest event if it is unknown to this release, else ""."""
    stored_segments = segments(source)
    if not stored_segments:
        return ""
    with stored_segments[-1].path.open("rb") as file:
        file.seek(max(0, stored_segments[-1].path.stat().st_size - _TAIL))
        frames = [frame for frame in split(file.read(), final=True) if isinstance(frame, Frame)]
    if not frames:
        return ""
    last = frames[-1]
    try:
        wire.decode(last.values[-1], last.raws.get(len(last.values) - 1, b""))
    except UnreadableEvent:
        return _unknown_type(last.values[-1])
    return ""


def _unknown_type(body: bytes) -> str:
    """Return the type in an event if it is an event type of Driftline, else ""."""
    try:
        event_type = json.loads(body).get("type", "")
    except (ValueError, AttributeError, RecursionError):
        return ""  # damaged, not of a newer release
    return event_type if isinstance(event_type, str) and event_type.startswith("driftline.") else ""
