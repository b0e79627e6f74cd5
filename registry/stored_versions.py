"""The versions in the history, and their files on this machine.

The history determines which versions exist. Their files are in folders of BentoML's model store. If
machines share artefacts, missing files are fetched by their hashes in the history.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from registry.artifacts import ArtifactStore
from registry.errors import ArtifactsUnavailable, ChangedFile, RegistryError, RegistryUnavailable
from registry.history.lifecycle import LifecycleState
from registry.history.rows import HistoryRow, Registration
from registry.history.store import History
from registry.manifest import Version
from registry.model_cache import CacheBound, CachedVersion, evictions, needed_numbers
from registry.stored_files import hash_folder, require_unchanged
from registry.version_folders import Files, FolderContents, VersionFolders

_logger = logging.getLogger(__name__)


class KnownVersions(NamedTuple):
    """The versions of one model."""

    versions: list[Version]  # versions that this machine can read, oldest first
    damaged: dict[str, str]  # number of a damaged or missing version -> reason
    remote: set[str]  # numbers of missing versions whose files can be fetched
    history: LifecycleState


class StoredVersions:
    """The versions of every model; safe across threads and processes."""

    def __init__(
        self,
        folders: VersionFolders,
        history: History,
        artifacts: ArtifactStore | None,
        now: Callable[[], int],
        bound: CacheBound = CacheBound(),  # noqa: B008 - the default is immutable
    ) -> None:
        self._folders = folders
        self._history = history
        self._artifacts = artifacts
        self._now = now
        self._bound = bound

    def models(self) -> list[str]:
        """Return the names of all models with a version, even if all versions are damaged."""
        return sorted({*self._folders.names(), *self._history.models()})

    def read(self, model: str, *, fetch: Callable[[str], bool] = lambda _: False) -> KnownVersions:
        """Return the versions of a model; fetch missing versions whose number `fetch` accepts."""
        history = self._history.state(model)
        stored = self._folders.read(model)
        failed: dict[str, str] = {}
        if self._artifacts is not None:
            present = {*stored.damaged, *(version.number for version in stored.versions)}
            for row in history.registered.values():
                if row.number not in present and fetch(row.number):
                    failed |= self._try_fetch(self._artifacts, row)
            stored = self._folders.read(model)
        stored = _registered(stored, history)
        present = {*stored.damaged, *(version.number for version in stored.versions)}
        reasons = stored.damaged | {
            number: failed.get(number) or self._missing(row)
            for number, row in history.registered.items()
            if number not in present
        }
        remote = self._remote(history, present)
        advice = (
            "; re-register the same files, restore the version from a backup, or unload it with "
            "`driftline unload"
        )
        damaged = {
            number: reasons[number]
            if number in remote
            else f"{reasons[number]}{advice} {model} --version {number}`"
            for number in sorted(reasons, key=int)
        }
        return KnownVersions(stored.versions, damaged, remote, history)

    def add(self, model: str, digest: str, files: Files, actor: str, answers: str = "") -> Version:
        """Store and record the next version of a model; if this fails, nothing is stored.

        Content that another machine has registered gets the number from that registration. Raises
        RegistryUnavailable, or RegistryConflict if another process used the number.
        """
        stored, registered = self._folders.read(model), self._history.state(model).registered
        elsewhere = next((row for row in registered.values() if row.digest == digest), None)
        if elsewhere is None:
            used = {*registered, *stored.damaged, *(v.number for v in stored.versions)}
            number, created = str(max(map(int, used), default=0) + 1), self._now()
        else:
            number, created = elsewhere.number, elsewhere.time
            if self._artifacts is not None and elsewhere.decode(Registration).files:
                files = self._remote_files(self._artifacts, elsewhere)
        try:
            version = self._folders.add(model, number, digest, created, files)
        except OSError as error:
            raise RegistryUnavailable(
                f"model {model!r}: version {number} cannot be stored below "
                f"{self._folders.folder}: {error.strerror or error}; nothing was registered"
            ) from None
        try:
            self.record(version, actor, answers)
        except RegistryError:
            self._folders.remove(Path(version.path))  # so that store and history agree
            raise
        return version

    def record(self, version: Version, actor: str, answers: str = "") -> None:
        """Share the files of a stored version, and then record the version in the history.

        `answers` is the id of the retraining request for which the version was trained, or "".
        """
        if not version.files:  # stored by an earlier release
            version = replace(version, files=hash_folder(Path(version.path)))
        if self._artifacts is not None:
            self._artifacts.put(Path(version.path), version.files)
        self._history.register(
            version.model,
            version.number,
            time=version.created,
            actor=actor,
            digest=version.digest,
            files=version.files,
            trained_by=version.manifest.lineage.get("trained_by", ""),
            answers=answers,
            now=self._now(),
        )

    def copy_files(self, artifacts: ArtifactStore) -> int:
        """Copy the files of every version to another store, and verify them.

        Versions of earlier releases first get a row with the hashes of their files. Return the
        number of copied versions. Raises ChangedFile or ArtifactsUnavailable.
        """
        copied = 0
        for model in self.models():
            for stored_version in self.read(model, fetch=lambda _: True).versions:
                if not stored_version.files:
                    self.record(stored_version, "")
            for version in self.read(model).versions:
                require_unchanged(version)
                artifacts.put(Path(version.path), version.files)
                for name, digest in version.files.items():
                    artifacts.require(name, digest)
                copied += 1
        return copied

    def _try_fetch(self, artifacts: ArtifactStore, row: HistoryRow) -> dict[str, str]:
        """Fetch the files of a version; return number -> reason if this fails, else {}."""
        if not row.decode(Registration).files:
            return {}  # registered by an earlier release
        try:
            with self._folders.locked():
                here = self._folders.read(row.model).versions
                if all(version.number != row.number for version in here):
                    files = self._remote_files(artifacts, row)
                    self._folders.add(row.model, row.number, row.digest, row.time, files)
                    self._evict(artifacts, row)
        except (ChangedFile, ArtifactsUnavailable, OSError) as error:
            return {row.number: f"version {row.number} of {row.model}: {error}"}
        return {}

    def touch(self, version: Version) -> None:
        """Record the use of a version if unused copies are deleted."""
        if self._artifacts is not None and self._bound.size:
            self._folders.touch(Path(version.path))

    def _evict(self, artifacts: ArtifactStore, arrived: HistoryRow) -> None:
        """Delete copies until they fit the limit, except needed copies and copies not shared.

        The caller must have locked the folders.
        """
        cached = self._folders.cached()
        if (
            not self._bound.size
            or sum(cached_version.size for cached_version in cached) <= self._bound.size
        ):
            return
        workers = self._bound.workers()
        states = {
            model: self._history.state(model)
            for model in {cached_version.model for cached_version in cached}
        }
        now = self._now()
        needed = {
            model: needed_numbers(model, state, workers, now) for model, state in states.items()
        }
        needed[arrived.model].add(arrived.number)

        def can_delete(cached_version: CachedVersion) -> bool:
            row = states[cached_version.model].registered.get(cached_version.number)
            files = row.decode(Registration).files if row is not None else {}
            return (
                cached_version.number not in needed[cached_version.model]
                and bool(files)
                and artifacts.has(files.values())
            )

        try:
            for eviction in evictions(cached, self._bound.size, can_delete):
                self._folders.remove(eviction.path)
                _logger.info(
                    "deleted the copy of version %s of %s", eviction.number, eviction.model
                )
        except ArtifactsUnavailable as error:
            _logger.warning("no further copy is deleted: %s", error)

    def _remote_files(self, artifacts: ArtifactStore, row: HistoryRow) -> Files:
        files = row.decode(Registration).files
        return {name: partial(artifacts.fetch, name, digest) for name, digest in files.items()}

    def _remote(self, history: LifecycleState, present: set[str]) -> set[str]:
        """Return the missing versions whose files are in the shared store."""
        if self._artifacts is None:
            return set()
        rows = history.registered.items()
        return {n for n, row in rows if n not in present and row.decode(Registration).files}

    def _missing(self, row: HistoryRow) -> str:
        place = f"stored version {row.number} of {row.model}"
        if self._artifacts is not None and row.decode(Registration).files:
            return f"{place} is not yet fetched from {self._artifacts.url}"
        return f"{place} is damaged: its folder is missing"


def _registered(folders: FolderContents, history: LifecycleState) -> FolderContents:
    """Return the stored versions, without folders that differ from the registered content."""
    others = {
        version.number: f"stored version {version.number} of {version.model} is damaged: "
        "its content differs from the content registered under this number"
        for version in folders.versions
        if (row := history.registered.get(version.number)) is not None
        and (
            row.digest not in {"", version.digest}
            or (version.files and row.decode(Registration).files not in ({}, version.files))
        )
    }
    versions = [
        _with_files(version, history.registered.get(version.number))
        for version in folders.versions
        if version.number not in others
    ]
    return FolderContents(versions, folders.damaged | others)


def _with_files(version: Version, row: HistoryRow | None) -> Version:
    """Add the hashes of a version's files from the history if the version lacks them."""
    if version.files or row is None:
        return version
    return replace(version, files=row.decode(Registration).files)
