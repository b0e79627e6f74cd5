"""Immutable versions in BentoML's model store, and the aliases that point to them.

A version has model.onnx, manifest.json and optionally reference.parquet. Its folder is on disk
before its row is appended to the history. If the append fails, the folder is removed.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from eventlog.settings import Home
from registry.artifacts import ArtifactStore, open_artifacts
from registry.baselines import BaselineRecord, RecordedBaseline, baselines_of, encode_baseline
from registry.catalogue import NamedVersions
from registry.conflicts import retry_conflicts
from registry.errors import (
    InvalidManifest,
    UnknownModel,
    UnknownVersion,
)
from registry.history.lifecycle import NO_DESCRIPTION, DesiredState
from registry.history.rows import HistoryRow, ModelDescription
from registry.history.store import History
from registry.limits import UNCHANGED, LimitChange, check, limited, sum_up
from registry.manifest import Manifest, Version
from registry.model_cache import CacheBound
from registry.names import (
    is_model_name,
    require_alias,
    require_model_name,
    require_request_id,
)
from registry.policies import (
    DatedPolicy,
    PolicyChange,
    check_change,
    encode,
    policies_of,
    require_inherited,
)
from registry.settings import artifacts_url, model_cache_bytes, open_history
from registry.stored_files import DATA, hash_file
from registry.stored_versions import KnownVersions, StoredVersions
from registry.version_folders import Files, VersionFolders
from registry.worker_reports import read_workers

_FILES = (
    "model.onnx",
    DATA,
    "manifest.json",
    "batching.json",
    "inference.json",
    "reference.parquet",
)


def store_folder(home: Home, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of BentoML's model store, in BENTOML_HOME or by default in the home."""
    folder = environ.get("BENTOML_HOME") or home.root / "bentoml"
    return Path(folder).expanduser().absolute() / "models"


class ModelState(msgspec.Struct, frozen=True):
    """The versions and the desired state of one model."""

    versions: list[Version]  # oldest first
    desired: DesiredState
    damaged: dict[str, str] = {}  # number -> reason why the version cannot be read
    remote: set[str] = set()  # numbers whose files `version` fetches from the shared store
    revision: int = 0  # revision of the model's latest row
    description: ModelDescription = NO_DESCRIPTION


class Registry:
    """Models, their versions and aliases; safe across threads and processes."""

    def __init__(
        self, home: Home, clock: Callable[[], int] | None = None, *, wait: bool = False
    ) -> None:
        """If `wait`, as in commands, changes wait for a database that cannot be reached."""
        self._folders = VersionFolders(store_folder(home))
        self._history = open_history(home, wait=wait)
        self._clock = clock or self._history.time_ns
        self._stored = StoredVersions(
            self._folders,
            self._history,
            open_artifacts(artifacts_url()),
            self._now,
            CacheBound(model_cache_bytes(), partial(read_workers, home.workers)),
        )

    def register(  # noqa: PLR0913  # the files, and the properties of the version
        self,
        onnx: Path | bytes,
        *,
        model: str,
        manifest: Path | Mapping[str, Any] | None = None,
        reference: Path | bytes | None = None,
        target: str = "",
        actor: str = "",
        answers: str = "",
    ) -> Version:
        """Validate the files, or their contents, and store them as the next version of the model.

        `onnx` can be a folder with the ONNX file and its external data. The external data is
        embedded or, if it is too large, packed into one file. Fields that the manifest omits are
        inferred; `read_inference` returns the reasons. `target` names the reference's column of
        labels, unless the manifest does. `answers` is the id of the retraining request for which
        the version was trained. For identical content, the existing version is returned. Raises a
        RegistryError that names the fault, without storing anything.
        """
        # These modules import ONNX, which workers and commands that only read do not need.
        from registry.bounded.check import check_in_process, read_reference  # noqa: PLC0415
        from registry.manifest_file import read_fields  # noqa: PLC0415
        from registry.model_file import read_model  # noqa: PLC0415

        require_model_name(model)
        require_request_id(answers)
        reference_bytes = read_reference(reference) if reference else None
        fields = read_fields(manifest) if isinstance(manifest, Path) else manifest or {}
        with self._folders.checking() as folder:
            onnx_bytes = onnx if isinstance(onnx, bytes) else read_model(onnx, folder / DATA)
            check_in_process(folder, onnx_bytes, fields, reference_bytes, target=target)
            return self.add_checked(model, folder, reference_bytes or b"", actor, answers)

    def add_checked(
        self, model: str, folder: Path, reference: bytes, actor: str, answers: str
    ) -> Version:
        """Store the checked files in a folder, unless a version already has this content."""
        from registry.batching import FILE, read_verdict  # noqa: PLC0415
        from registry.content import content_digest  # noqa: PLC0415

        encoded = (folder / "manifest.json").read_bytes()
        digest = content_digest(
            (folder / "model.onnx").read_bytes(),
            encoded,
            reference,
            data=hash_file(folder / DATA) if (folder / DATA).exists() else "",
        )
        files: Files = {
            name: partial(_place, folder / name) for name in _FILES if (folder / name).exists()
        }
        with self._folders.locked():
            stored = (
                version for version in self._stored.read(model).versions if version.digest == digest
            )
            version = next(stored, None)
            if version is None:
                completed = msgspec.json.decode(encoded, type=Manifest)
                require_inherited(model, completed, self.history(model))
                return retry_conflicts(
                    lambda: self._stored.add(model, digest, files, actor, answers)
                )
            if read_verdict(version) is None:  # registered by an earlier release
                shutil.copyfile(folder / FILE, Path(version.path) / FILE)
            self._stored.record(version, actor, answers)
        return version

    def models(self) -> list[str]:
        """Return the names of all models with a version, even if all versions are damaged."""
        return self._stored.models()

    def versions(self, model: str) -> list[Version]:
        """Return all readable versions of a model, oldest first. Raises UnknownModel."""
        return self._versions_of(model).versions

    def damaged(self, model: str) -> dict[str, str]:
        """Return number -> reason why a damaged or missing version cannot be served."""
        return self._versions_of(model).damaged

    def _versions_of(
        self, model: str, *, fetch: Callable[[str], bool] = lambda _: False
    ) -> KnownVersions:
        stored = self._stored.read(model, fetch=fetch) if is_model_name(model) else None
        if stored is None or not (stored.versions or stored.damaged):
            names = ", ".join(self.models()) or "none is registered"
            raise UnknownModel(f"no model {model!r}; models: {names}")
        return stored

    def version(self, model: str, number: str) -> Version:
        """Return one version; raises UnknownModel, UnknownVersion, InvalidManifest if damaged."""
        stored = self._versions_of(model, fetch=lambda other: other == number)
        versions = {version.number: version for version in stored.versions}
        if number in versions:
            self._stored.touch(versions[number])
            return versions[number]
        if number in stored.damaged:
            raise InvalidManifest(stored.damaged[number])
        raise UnknownVersion(
            f"model {model!r} has no version {number!r}; versions: {', '.join(versions)}"
        )

    def named_versions(self, model: str) -> NamedVersions:
        """Return a model's aliases with their versions, active rollouts, owner and tags."""
        state = self._history.state(model)
        active = [rollout for rollout in state.rollouts.values() if rollout.active]
        aliases = dict(sorted(state.aliases.items()))
        return NamedVersions(aliases, active, list(state.shadows.values()), state.description)

    def aliases(self, model: str) -> dict[str, str]:
        """Return alias -> version number of a model."""
        return self._history.aliases(model)

    def promote(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        number: str,
        *,
        alias: str = "champion",
        actor: str = "",
        why: str = "",
        evidence: str = "",
        expected_revision: int | None = None,
    ) -> int:
        """Point the alias at the version; return the new registry revision.

        Raises UnknownModel, UnknownVersion, InvalidName for an invalid alias, VersionRefused by the
        model's release policy, or RegistryConflict if the model changed after `expected_revision`.
        """
        require_alias(alias)
        version = self.version(model, number)
        return self._history.promote(
            model,
            alias,
            version.number,
            time=self._now(),
            actor=actor,
            why=why,
            evidence=evidence,
            expected_revision=expected_revision,
        )

    def provide_alias(self, model: str, alias: str, number: str, *, actor: str = "") -> HistoryRow:
        """Point the alias at the version, unless a person or a rollout changed it last.

        Return the row that points the alias at its version afterwards. Raises like `promote`.
        """
        require_alias(alias)
        version = self.version(model, number)
        return self._history.provide_alias(
            model, alias, version.number, time=self._now(), actor=actor
        )

    def load(self, model: str, number: str = "", *, actor: str = "") -> int:
        """Set the desired state of a version, or of a model, to loaded; return the revision.

        Raises UnknownModel or UnknownVersion.
        """
        self._require(model, number)
        return self._history.load(model, number, time=self._now(), actor=actor)

    def unload(self, model: str, number: str = "", *, actor: str = "") -> int:
        """Set the desired state of a version, or of a model and its future versions, to unloaded.

        Return the revision. Raises UnknownModel or UnknownVersion.
        """
        self._require(model, number)
        return self._history.unload(model, number, time=self._now(), actor=actor)

    def limit(self, model: str, number: str, change: LimitChange, *, actor: str = "") -> int:
        """Change the limits of a version or, for "", of all versions; return the revision.

        A change without fields revokes all earlier changes. Raises UnknownModel, UnknownVersion, or
        InvalidLimits if the limits do not fit a version.
        """
        self._require(model, number)
        check(change)

        def once() -> int:
            state = self.state(model)
            for version in state.versions:
                if number in {"", version.number}:
                    limits_before = state.desired.limits.get(version.number, UNCHANGED)
                    limited(version.manifest, sum_up([limits_before, change]))
            return self._history.change_limits(
                model,
                number,
                change,
                time=self._now(),
                actor=actor,
                expected_revision=state.revision,
            )

        return retry_conflicts(once)

    def policies(self, version: Version) -> list[DatedPolicy]:
        """Return every monitoring policy of a version with its change, oldest first."""
        return policies_of(version, self._history.rows(version.model))

    def change_policy(
        self, model: str, number: str, change: PolicyChange, *, actor: str = ""
    ) -> int:
        """Change the monitoring policy of a version or, for "", of all versions of a model.

        Return the revision. Raises UnknownModel, UnknownVersion, or InvalidPolicy if the policy
        does not fit a version.
        """
        self._require(model, number)
        detail = encode(change)

        def once() -> int:
            rows = self._history.rows(model)
            for version in self.versions(model):
                if number in {"", version.number}:
                    check_change(version, policies_of(version, rows)[-1].policy, change)
            return self._history.change_policy(
                model,
                number,
                detail,
                time=self._now(),
                actor=actor,
                expected_revision=rows[-1].revision if rows else 0,
            )

        with self._folders.locked():
            return retry_conflicts(once)

    def baselines(self, version: Version) -> list[RecordedBaseline]:
        """Return the recorded baselines of a version without a reference, oldest first."""
        return baselines_of(version.number, self._history.rows(version.model))

    def record_baseline(self, version: Version, record: BaselineRecord, *, actor: str = "") -> int:
        """Record a baseline of a version, unless it is already recorded; return the revision."""
        detail = encode_baseline(record)
        return self._history.record_baseline(
            version.model, version.number, detail, time=self._now(), actor=actor
        )

    def state(self, model: str) -> ModelState:
        """Return the versions and the desired state of a model; raises UnknownModel."""
        stored = self._versions_of(model)
        numbers = [*stored.damaged, *(version.number for version in stored.versions)]
        desired = stored.history.desired(numbers)
        return ModelState(
            stored.versions,
            desired,
            stored.damaged,
            stored.remote,
            stored.history.revision,
            stored.history.description,
        )

    def copy_to(self, history: History, artifacts: ArtifactStore | None) -> tuple[int, int]:
        """Copy and verify the history, and the files of every version in this store.

        Versions of earlier releases first get a row with the hashes of their files. Return the
        revision and the number of versions whose files were copied. Raises ChangedFile,
        ArtifactsUnavailable, or HistoriesDiffer if the target has other rows.
        """
        copied = self._stored.copy_files(artifacts) if artifacts is not None else 0
        return self._history.copy_to(history), copied

    def history(self, model: str) -> list[HistoryRow]:
        """Return every row of a model's history, oldest first."""
        return self._history.rows(model)

    def revision(self) -> int:
        """Return a number that grows with every change of the registry; fast."""
        return self._history.revision()

    def head(self) -> tuple[int, str]:
        """Return the latest revision and its chain."""
        return self._history.head()

    def changed(self, since: int) -> set[str]:
        """Return the models that changed after this revision."""
        return self._history.changed(since)

    def _require(self, model: str, number: str) -> None:
        if number not in {"", *self.damaged(model)}:  # damaged versions can be unloaded
            self.version(model, number)

    def _now(self) -> int:
        return self._clock() // 1_000


def _place(source: Path, target: Path) -> None:
    """Link a checked file to its version's folder, or copy it if links are not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
