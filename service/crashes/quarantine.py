"""Versions that are not served because they kill workers; all workers of a home share the list.

    <home>/quarantine.json    recent deaths of workers, and the versions in quarantine

The suspects of a death are the versions that were running or loading when the worker died. A
version is quarantined if two workers died within a minute and it is the only suspect of both
deaths. A later load, unload, promotion or rollback of the version ends the quarantine.
"""

import fcntl
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from eventlog.durable_files import make_folder, open_private
from service.crashes.recovery import Death

PERIOD_S = 60.0  # seconds within which two deaths quarantine a version
_LOCK = "quarantine.lock"
_FILE = "quarantine.json"

_logger = logging.getLogger(__name__)


class RecordedDeath(msgspec.Struct, frozen=True):
    """One death of a worker."""

    time: float  # seconds since the Unix epoch
    suspects: list[tuple[str, str]]  # (model, number)


class QuarantinedVersion(msgspec.Struct, frozen=True):
    """A version in quarantine."""

    model: str
    number: str
    revision: int  # revision of the registry; a later operation on the version ends the quarantine
    reason: str


class _State(msgspec.Struct, frozen=True):
    deaths: list[RecordedDeath] = []
    entries: list[QuarantinedVersion] = []


def only_common_suspect(deaths: Sequence[RecordedDeath], now: float) -> tuple[str, str] | None:
    """Return the only version that is a suspect of the last death and of an earlier death. Pure.

    Only deaths within the last minute count.
    """
    recent = [set(death.suspects) for death in deaths if now - PERIOD_S <= death.time <= now]
    if len(recent) < 2:
        return None
    *earlier, last = recent
    return next((min(common) for suspects in earlier if len(common := suspects & last) == 1), None)


class Quarantine:
    """One worker's copy of a home's quarantine."""

    def __init__(self, home: Path) -> None:
        self._folder = home
        self._stamp: tuple[int, int] | None = None
        self._entries: dict[tuple[str, str], QuarantinedVersion] = {}
        self.refresh()

    def refresh(self) -> set[str]:
        """Read the file if it has changed; return the models whose entries have changed."""
        path = self._folder / _FILE
        try:
            status = path.stat()
        except OSError:
            return set()
        stamp = status.st_mtime_ns, status.st_ino
        if stamp == self._stamp:
            return set()
        self._stamp = stamp
        before = self._entries
        self._entries = {(entry.model, entry.number): entry for entry in _read(path).entries}
        changed = before.items() ^ self._entries.items()
        return {model for (model, _), _ in changed}

    def reason(self, model: str, number: str, operated: int) -> str:
        """Return why a version is in quarantine, "" if it is not in quarantine.

        `operated` is the registry revision of the latest operation on the version.
        """
        entry = self._entries.get((model, number))
        return entry.reason if entry is not None and operated <= entry.revision else ""

    def add(self, death: Death, now: float, revision: int) -> None:
        """Record a death; if a version caused two deaths, quarantine it. Raises OSError.

        `now` is in seconds since the Unix epoch; `revision` is the registry's revision.
        """
        make_folder(self._folder)
        path = self._folder / _FILE
        lock = open_private(self._folder / _LOCK)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = _read(path)
            recent = [death for death in state.deaths if now - PERIOD_S <= death.time <= now]
            deaths = [*recent, RecordedDeath(now, death.suspects)]
            entries = state.entries
            if (suspect := only_common_suspect(deaths, now)) is not None:
                entry = QuarantinedVersion(*suspect, revision, _reason(*suspect, death.reason))
                _logger.error("quarantined: %s", entry.reason)
                entries = [entry for entry in entries if (entry.model, entry.number) != suspect] + [
                    entry
                ]
                deaths = []
            part = path.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(_State(deaths, entries)))
            part.rename(path)
        finally:
            os.close(lock)
        self.refresh()


def _reason(model: str, number: str, reason: str) -> str:
    return (
        f"version {number} is in quarantine: it killed its worker twice within a minute ({reason});"
        f" load it again by `driftline unload {model} --version {number} --undo`"
    )


def _read(path: Path) -> _State:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_State)
    except FileNotFoundError:
        return _State()
    except (OSError, msgspec.DecodeError) as error:
        _logger.warning("%s cannot be read: %s", path, error)
        return _State()
