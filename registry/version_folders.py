"""The folders of registered versions in BentoML's model store.

A version is a BentoML model tagged `<model>:<number>-<digest, 12 digits>`. Its folder is created in
a staging folder, flushed to disk and renamed into the store. After a power loss, the store has
either the complete folder or no folder. An unreadable folder makes only its own version
unavailable. BentoML writes each folder's description (model.yaml). It is read without BentoML,
because importing BentoML takes longer than most commands.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from eventlog.durable_files import make_folder, open_private, replace_file, sync_folder, sync_tree
from registry.errors import InvalidManifest
from registry.manifest import Manifest, Version
from registry.model_cache import CachedVersion
from registry.stored_files import hash_files

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # before anything imports BentoML

_DESCRIPTION = "model.yaml"  # name of BentoML's description of a model
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times as fast
_FOLDER = re.compile(r"([1-9][0-9]{0,17})-[0-9a-f]{12}")
_NUMBER = "driftline.number"  # label that distinguishes these versions from other BentoML models
_STAGING = ".driftline-staging"
_CHECK = ".driftline-check-"  # prefix of folders in which the files of registrations are checked
_LOCK = ".driftline-lock"

Files = dict[str, Callable[[Path], object]]  # file name -> function that writes the file


class FolderContents(NamedTuple):
    """The versions of one model in the store."""

    versions: list[Version]  # oldest first
    damaged: dict[str, str]  # number -> fault of the version's folder


class VersionFolders:
    """The folders of all versions; safe across threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Create the store's folder, and remove the remains of killed registrations."""
        self.folder = folder
        make_folder(folder)
        self._sweep()

    def names(self) -> list[str]:
        """Return the names of the models with at least one version's folder."""
        folders = sorted(path for path in self.folder.iterdir() if path.is_dir())
        return [folder.name for folder in folders if any(self._folders(folder.name))]

    def read(self, model: str) -> FolderContents:
        """Return the readable and the damaged versions of a model."""
        versions, damaged = [], {}
        for number, path in self._folders(model):
            try:
                version = _read(path)
            except Exception as error:  # noqa: BLE001  # YAML, attrs and BentoML have no common base
                damaged[number] = f"stored version {model}:{path.name} is damaged: {_line(error)}"
                continue
            if version is not None:
                versions.append(version)
        return FolderContents(sorted(versions, key=lambda version: int(version.number)), damaged)

    def add(self, model: str, number: str, digest: str, created: int, files: Files) -> Version:
        """Store a version durably; if this raises OSError, nothing is stored."""
        target = self.folder / model / f"{number}-{digest[:12]}"
        with self._staging() as staging:
            staged = staging / target.name
            staged.mkdir()
            for name, write in files.items():
                write(staged / name)
                (staged / name).chmod(0o444)
            # bentoml.models.create would build the model on the disk of temporary files.
            metadata = {"digest": digest, "created": created, "files": hash_files(staged, files)}
            _describe(staged / _DESCRIPTION, model, target.name, number, metadata)
            sync_tree(staged)
            make_folder(target.parent)
            staged.rename(target)
        try:
            sync_folder(target.parent)
            replace_file(target.parent / "latest", target.name.encode())  # as BentoML does
            version = _read(target)
        except OSError:
            self.remove(target)
            raise
        assert version is not None  # its label was just written
        return version

    def touch(self, path: Path) -> None:
        """Record the use of a version; do nothing in a read-only store."""
        with suppress(OSError):
            os.utime(path)

    def cached(self) -> list[CachedVersion]:
        """Return the folder, size and time of last use of every version."""
        cached = []
        for model in self.names():
            for number, path in self._folders(model):
                with suppress(FileNotFoundError):  # removed by another process
                    size = sum(path.stat().st_size for path in path.iterdir())
                    cached.append(CachedVersion(model, number, path, size, path.stat().st_mtime))
        return cached

    def remove(self, path: Path) -> None:
        """Remove a version, and its model's folder if it has no other versions."""
        with self._staging() as staging:
            path.rename(staging / path.name)  # so that readers never see a part of the folder
        older = sorted(
            self._folders(path.parent.name), key=lambda numbered_folder: int(numbered_folder[0])
        )
        if older:
            with suppress(OSError):
                replace_file(path.parent / "latest", older[-1][1].name.encode())
        else:
            shutil.rmtree(path.parent, ignore_errors=True)

    @contextmanager
    def checking(self) -> Iterator[Path]:
        """Create a folder for the check of a registration's files, and remove it afterwards."""
        folder = self.folder.parent / f"{_CHECK}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the store while the block runs, so that only one process changes it."""
        with os.fdopen(open_private(self.folder.parent / _LOCK), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _folders(self, model: str) -> Iterator[tuple[str, Path]]:
        """Yield number and folder of each version, found by the folders' names."""
        place = self.folder / model
        for path in sorted(place.iterdir()) if place.is_dir() else []:
            match = _FOLDER.fullmatch(path.name)
            if match and path.is_dir():
                yield match[1], path

    @property
    def _stagings(self) -> tuple[Path, Path]:
        # The staging folder is next to the store, because BentoML lists every folder in the store.
        # If the store is a separate file system, the staging folder must be in the store, because
        # a folder cannot be renamed across file systems.
        return self.folder.parent / _STAGING, self.folder / _STAGING

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """Create a staging folder on the store's file system; remove a killed process's folder."""
        near, inside = self._stagings
        same = self.folder.stat().st_dev == self.folder.parent.stat().st_dev
        staging = near if same else inside
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _sweep(self) -> None:
        for folder in self.folder.parent.glob(f"{_CHECK}*"):
            _remove_unlocked(folder)
        leftovers = [staging for staging in self._stagings if staging.exists()]
        if not leftovers:
            return
        with os.fdopen(open_private(self.folder.parent / _LOCK), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process is writing
            for leftover in leftovers:
                shutil.rmtree(leftover, ignore_errors=True)


def _remove_unlocked(folder: Path) -> None:
    """Remove the folder of a registration, unless its process still has it locked."""
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


class _Description(msgspec.Struct, frozen=True):
    """The part of BentoML's description of a model that Driftline reads."""

    name: str
    version: str
    labels: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


def _describe(path: Path, model: str, version: str, number: str, metadata: dict[str, Any]) -> None:
    """Write BentoML's description of a version."""
    from bentoml import Tag  # noqa: PLC0415  # takes 0.3 seconds, and readers do not need it
    from bentoml._internal.models.model import (  # noqa: PLC0415
        ModelContext,
        ModelInfo,
        ModelOptions,
    )

    info = ModelInfo(
        tag=Tag(model, version),
        module="",
        labels={_NUMBER: number},
        options=ModelOptions(),
        metadata=metadata,
        context=ModelContext(framework_name="", framework_versions={}),
        signatures={},
        api_version="v1",
    )
    with path.open("w", encoding="utf-8") as file:
        info.dump(file)


def _read(path: Path) -> Version | None:
    """Read a version, or return None if the BentoML model is not Driftline's."""
    try:
        content = yaml.load((path / _DESCRIPTION).read_bytes(), _Loader)  # noqa: S506  # a safe loader
    except FileNotFoundError:
        raise InvalidManifest(f"{_DESCRIPTION} is missing") from None
    try:
        description = msgspec.convert(content, _Description)
    except msgspec.ValidationError as error:
        raise InvalidManifest(f"{_DESCRIPTION}: {error}") from None
    if _NUMBER not in description.labels:
        return None
    manifest = msgspec.json.decode((path / "manifest.json").read_bytes(), type=Manifest)
    if not (path / "model.onnx").is_file():
        raise InvalidManifest("model.onnx is missing")
    return Version(
        model=description.name,
        number=str(description.labels[_NUMBER]),
        digest=str(description.metadata["digest"]),
        created=int(str(description.metadata["created"])),
        manifest=manifest,
        path=str(path),
        files=_files(description.metadata),
    )


def _files(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(digest) for name, digest in metadata.get("files", {}).items()}


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
