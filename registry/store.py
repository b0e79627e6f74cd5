"""Immutable versions in BentoML's model store, and the aliases that name them.

A version is a BentoML model tagged `<model>:<number>-<digest, 12 digits>`, holding model.onnx,
manifest.json and reference.parquet. It is built in a staging folder and renamed into the store, so
that readers see it complete or not at all.
"""

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # read once: before BentoML saves anything

import bentoml
import msgspec
import pandas as pd
from bentoml._internal.models import ModelStore
from bentoml.exceptions import BentoMLException

from eventlog.settings import Home
from registry.batching import (
    FILE,
    Verdict,
    judge,
    read_verdict,
    runnable,
    write_verdict,
)
from registry.errors import (
    InvalidManifest,
    InvalidModel,
    InvalidName,
    InvalidReference,
    RegistryError,
    UnknownModel,
    UnknownVersion,
)
from registry.history import DesiredState, History, HistoryRow
from registry.limits import UNCHANGED, LimitChange, check, limited, sum_up
from registry.manifest import Manifest, Version
from registry.manifest_file import read_manifest
from registry.onnx_file import check_providers, load
from registry.policies import (
    Held,
    PolicyChange,
    check_change,
    encode,
    policies_of,
    require_inherited,
)
from registry.reference import answer_reference, parse_reference, sample_tensors
from registry.signature import read_signature
from registry.validation import complete

_MODEL_NAME = re.compile(r"[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?")
_ALIAS = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_NUMBER = "driftline.number"  # the label that tells our versions from other BentoML models


def store_folder(home: Home, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of BentoML's model store: below BENTOML_HOME or, by default, our home."""
    stated = environ.get("BENTOML_HOME") or home.root / "bentoml"
    return Path(stated).expanduser().absolute() / "models"


class ModelState(msgspec.Struct, frozen=True):
    """The versions and the desired state of one model."""

    versions: list[Version]  # oldest first
    desired: DesiredState


class Registry:
    """Models, their versions and aliases; safe across threads and processes."""

    def __init__(self, home: Home, clock: Callable[[], int] = time.time_ns) -> None:
        self._folder = store_folder(home)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._store = ModelStore(self._folder)
        self._history = History(home.registry)
        self._clock = clock

    def register(
        self, onnx: Path, *, model: str, manifest: Path, reference: Path, actor: str = ""
    ) -> Version:
        """Validate the three files and store them as the next version of the model.

        Identical content returns the existing version. Raises a RegistryError that names the
        fault, and then stores nothing.
        """
        _require_name(model)
        onnx_bytes = _read(onnx, InvalidModel)
        reference_bytes = _read(reference, InvalidReference)
        session = load(onnx_bytes)
        completed = complete(read_manifest(manifest), read_signature(session))
        check_providers(completed.session.providers)
        stated = parse_reference(reference_bytes)
        verdict = _judge(onnx_bytes, completed, stated)
        together = not verdict.against_answers(completed)
        completed, frame = answer_reference(session, completed, stated, together=together)
        files: dict[str, Callable[[Path], object]] = {
            "model.onnx": lambda path: path.write_bytes(onnx_bytes),
            "manifest.json": lambda path: path.write_bytes(encode_manifest(completed)),
            "reference.parquet": lambda path: frame.to_parquet(path, index=False),
            FILE: lambda path: write_verdict(path.parent, verdict),
        }
        digest = _digest(onnx_bytes, encode_manifest(completed), reference_bytes)
        with self._locked():
            version = self._identical(model, digest)
            if version is None:
                require_inherited(model, completed, self.history(model))
                version = self._add(model, digest, files)
            elif read_verdict(version) is None:  # as an earlier release left it
                write_verdict(Path(version.path), verdict)
            self._history.register(model, version.number, time=version.created, actor=actor)
        return version

    def models(self) -> list[str]:
        """Return the names of all models that have a version."""
        names = sorted(folder.name for folder in self._folder.iterdir() if folder.is_dir())
        return [name for name in names if self._stored(name)]

    def versions(self, model: str) -> list[Version]:
        """Return all versions of a model, oldest first. Raises UnknownModel."""
        stored = self._stored(model)
        if not stored:
            known = ", ".join(self.models()) or "none is registered"
            raise UnknownModel(f"no model {model!r}; models: {known}")
        return sorted(map(_version, stored), key=lambda version: int(version.number))

    def version(self, model: str, number: str) -> Version:
        """Return one version. Raises UnknownModel or UnknownVersion."""
        versions = {version.number: version for version in self.versions(model)}
        if number not in versions:
            raise UnknownVersion(
                f"model {model!r} has no version {number!r}; versions: {', '.join(versions)}"
            )
        return versions[number]

    def aliases(self, model: str) -> dict[str, str]:
        """Return the version number of each alias."""
        return self._history.aliases(model)

    def promote(self, model: str, number: str, *, alias: str = "champion", actor: str = "") -> int:
        """Point the alias at the version; return the new registry revision.

        Raises UnknownModel, UnknownVersion, or InvalidName for an invalid alias.
        """
        if not _ALIAS.fullmatch(alias):
            raise InvalidName(
                f"alias {alias!r}: expected a lowercase letter, then up to 62 letters, digits, "
                "- and _"
            )
        found = self.version(model, number)
        return self._history.promote(model, alias, found.number, time=self._now(), actor=actor)

    def load(self, model: str, number: str = "", *, actor: str = "") -> int:
        """Set the desired state of a version, or of a model, to loaded; return the revision.

        Raises UnknownModel or UnknownVersion.
        """
        self._require(model, number)
        return self._history.load(model, number, time=self._now(), actor=actor)

    def unload(self, model: str, number: str = "", *, actor: str = "") -> int:
        """Set the desired state of a version, or of a model with its future versions, to unloaded.

        Returns the revision. Raises UnknownModel or UnknownVersion.
        """
        self._require(model, number)
        return self._history.unload(model, number, time=self._now(), actor=actor)

    def limit(self, model: str, number: str, change: LimitChange, *, actor: str = "") -> int:
        """Change the limits of a version, or with "" of every version; return the revision.

        A change without fields revokes all before it. Raises UnknownModel,
        UnknownVersion, or InvalidLimits if a version cannot have them.
        """
        self._require(model, number)
        check(change)
        state = self.state(model)
        for version in state.versions:
            if number in {"", version.number}:
                held = state.desired.limits.get(version.number, UNCHANGED)
                limited(version.manifest, sum_up([held, change]))
        return self._history.change_limits(model, number, change, time=self._now(), actor=actor)

    def policies(self, version: Version) -> list[Held]:
        """Return every monitoring policy of a version with the change behind it, oldest first."""
        return policies_of(version, self._history.rows(version.model))

    def change_policy(
        self, model: str, number: str, change: PolicyChange, *, actor: str = ""
    ) -> int:
        """Change the monitoring policy of a version, or with "" of every version of a model.

        Returns the revision. Raises UnknownModel, UnknownVersion, or InvalidPolicy if the policy
        does not fit a version.
        """
        self._require(model, number)
        detail = encode(change)
        with self._locked():
            for version in self.versions(model):
                if number in {"", version.number}:
                    check_change(version, self.policies(version)[-1].policy, change)
            return self._history.change_policy(model, number, detail, time=self._now(), actor=actor)

    def state(self, model: str) -> ModelState:
        """Return the versions and the desired state of a model; raises UnknownModel."""
        versions = self.versions(model)
        return ModelState(
            versions, self._history.desired_state(model, [v.number for v in versions])
        )

    def history(self, model: str) -> list[HistoryRow]:
        """Return every row of the history of a model, oldest first."""
        return self._history.rows(model)

    def revision(self) -> int:
        """Return a number that grows with every change of the registry; cheap to call."""
        return self._history.revision()

    def changed(self, since: int) -> set[str]:
        """Return the models that changed after this revision."""
        return self._history.changed(since)

    def _require(self, model: str, number: str) -> None:
        if number:
            self.version(model, number)
        else:
            self.versions(model)

    def _now(self) -> int:
        return self._clock() // 1_000

    def _stored(self, model: str) -> list[Any]:
        if not _MODEL_NAME.fullmatch(model):
            return []
        try:
            found = bentoml.models.list(model, _model_store=self._store)
        except BentoMLException:  # no such folder, or one that another process is writing
            return []
        return [item for item in found if _NUMBER in item.info.labels]

    def _identical(self, model: str, digest: str) -> Version | None:
        versions = map(_version, self._stored(model))
        return next((version for version in versions if version.digest == digest), None)

    def _add(self, model: str, digest: str, files: dict[str, Callable[[Path], object]]) -> Version:
        used = self._history.numbers(model) | {_version(i).number for i in self._stored(model)}
        number = str(max(map(int, used), default=0) + 1)
        tag = f"{model}:{number}-{digest[:12]}"
        with self._staging() as staging:
            with bentoml.models.create(
                tag,
                labels={_NUMBER: number},
                metadata={"digest": digest, "created": self._now()},
                _model_store=ModelStore(staging),
            ) as created:
                for name, write in files.items():
                    path = Path(created.path_of(name))
                    write(path)
                    path.chmod(0o444)
            target = self._folder / created.tag.path()
            target.parent.mkdir(exist_ok=True)
            (staging / created.tag.path()).rename(target)
        (self._folder / model / "latest").write_text(target.name)  # as BentoML does
        return _version(bentoml.models.get(tag, _model_store=self._store))

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """Create a folder on the file system of the store; remove one of a killed process."""
        staging = self._folder.parent / ".driftline-staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder.parent / ".driftline-lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a completed manifest for storage.

    Newer fields are omitted at their defaults, so that content of earlier releases keeps its
    digest.
    """
    fields = msgspec.to_builtins(manifest)
    if fields["batching"] == "auto":
        del fields["batching"]
    return msgspec.json.encode(fields)


def _judge(onnx: bytes, manifest: Manifest, reference: pd.DataFrame) -> Verdict:
    """Find out whether rows are independent, in one thread: there sums have one order only."""
    rows = sample_tensors(manifest, reference)
    return judge(runnable(load(onnx, threads=1)), manifest, rows)


def _require_name(model: str) -> None:
    if not _MODEL_NAME.fullmatch(model):
        raise InvalidName(
            f"model name {model!r}: expected 1 to 63 lowercase letters, digits, '-', '.' and '_', "
            "the first and last a letter or digit"
        )


def _read(path: Path, kind: type[RegistryError]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise kind(f"cannot read {path}: {error.strerror}") from None


def _digest(*contents: bytes) -> str:
    parts = b"".join(hashlib.sha256(content).digest() for content in contents)
    return hashlib.sha256(parts).hexdigest()


def _version(item: Any) -> Version:
    try:
        manifest = msgspec.json.decode(
            Path(item.path_of("manifest.json")).read_bytes(), type=Manifest
        )
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidManifest(f"stored version {item.tag} is damaged: {error}") from None
    return Version(
        model=item.tag.name,
        number=item.info.labels[_NUMBER],
        digest=item.info.metadata["digest"],
        created=item.info.metadata["created"],
        manifest=manifest,
        path=item.path,
    )
