"""Read an MLflow registry and write tags to it, with MLflow's client library."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from driftline.mlflow_import.sources import MlflowName
from eventlog.errors import DriftlineError, SettingError

_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default, the library retries for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_OWN = ("driftline.", "mlflow.")  # prefixes of tags that tools write, not the model's author


class MlflowUnavailable(DriftlineError):
    """MLflow does not respond or refuses a request; the message states address and reason."""


class MlflowVersion(msgspec.Struct, frozen=True):
    """A model version in MLflow, or a run's model that is not registered there."""

    uri: str  # URI of the version's files
    model: str = ""  # registered name, "" for a run's model
    version: str = ""
    run: str = ""  # id of the run
    description: str = ""
    aliases: list[str] = []
    tags: dict[str, str] = {}
    run_tags: dict[str, str] = {}
    datasets: list[str] = []  # name@digest of each input data set of the run


class MlflowCatalogue:
    """The registry at `uri` or MLFLOW_TRACKING_URI; every method raises MlflowUnavailable.

    A process can use only one catalogue, because MLflow's library stores one global address.
    """

    def __init__(self, uri: str = "") -> None:
        """Set the address, without connecting; raises SettingError without an address."""
        self.server = (uri or os.environ.get("MLFLOW_TRACKING_URI", "")).rstrip("/")
        if not self.server:
            raise SettingError("expected --tracking-uri, or MLFLOW_TRACKING_URI")
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        import mlflow  # noqa: PLC0415 - takes seconds to import

        logging.getLogger("urllib3").setLevel(logging.ERROR)  # urllib3 logs each retry as a warning
        mlflow.set_tracking_uri(self.server)
        self._client = mlflow.MlflowClient()
        self._download = mlflow.artifacts.download_artifacts

    def find(self, name: MlflowName) -> MlflowVersion:
        """Return the version or the run's model with this name."""
        with self._faults(f"{name.model or name.run} cannot be found"):
            if name.run:
                run = self._client.get_run(name.run)
                return _with_run(MlflowVersion(f"runs:/{name.run}/{name.path}", run=name.run), run)
            if name.alias:
                entry = self._client.get_model_version_by_alias(name.model, name.alias)
            else:
                entry = self._client.get_model_version(name.model, name.version)
            return self._described(entry)

    def versions(self, model: str) -> list[MlflowVersion]:
        """Return a registered model's versions in state READY, oldest first."""
        with self._faults(f"the versions of {model} cannot be listed"):
            aliases: dict[str, list[str]] = {}
            for alias, number in self._client.get_registered_model(model).aliases.items():
                aliases.setdefault(str(number), []).append(alias)
            entries = self._client.search_model_versions(f"name = '{_quoted(model)}'")
            ready = [entry for entry in entries if entry.status == "READY"]
            ready.sort(key=lambda entry: int(entry.version))
            return [
                _mlflow_version(entry, sorted(aliases.get(str(entry.version), [])))
                for entry in ready
            ]

    def details(self, version: MlflowVersion) -> MlflowVersion:
        """Return a version with the tags and data sets of its run."""
        if not version.run:
            return version
        with self._faults(f"run {version.run} cannot be read"):
            return _with_run(version, self._client.get_run(version.run))

    def fetch(self, version: MlflowVersion, folder: Path) -> Path:
        """Download the files of a version into a folder; return the folder of its MLmodel file."""
        with self._faults(f"the files of {version.uri} cannot be downloaded"):
            place = Path(self._download(artifact_uri=version.uri, dst_path=str(folder)))
        if not (place / "MLmodel").is_file():
            raise MlflowUnavailable(
                f"{self.server}: {version.uri} is not a model: it has no MLmodel file"
            )
        return place

    def tag(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a model version."""
        with self._faults(f"{model} version {version} cannot be tagged"):
            for name, value in tags.items():
                self._client.set_model_version_tag(model, version, name, value)

    def _described(self, entry: Any) -> MlflowVersion:
        version = _mlflow_version(entry, sorted(map(str, entry.aliases)))
        if entry.status != "READY":
            raise MlflowUnavailable(
                f"{self.server}: {version.model} version {version.version} is {entry.status}; "
                "expected READY"
            )
        return self.details(version)

    @contextmanager
    def _faults(self, failure: str) -> Iterator[None]:
        import mlflow.exceptions  # noqa: PLC0415 - takes seconds to import

        try:
            yield
        except (mlflow.exceptions.MlflowException, OSError) as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise MlflowUnavailable(f"MLflow at {self.server}: {failure}: {reason}") from None


def _mlflow_version(entry: Any, aliases: list[str]) -> MlflowVersion:
    return MlflowVersion(
        f"models:/{entry.name}/{entry.version}",
        model=str(entry.name),
        version=str(entry.version),
        run=str(entry.run_id or ""),
        description=str(entry.description or ""),
        aliases=aliases,
        tags={k: str(v) for k, v in sorted(entry.tags.items()) if not k.startswith(_OWN)},
    )


def _with_run(version: MlflowVersion, run: Any) -> MlflowVersion:
    inputs = getattr(run.inputs, "dataset_inputs", None) or []
    return msgspec.structs.replace(
        version,
        run_tags={name: str(value) for name, value in run.data.tags.items()},
        datasets=[
            f"{dataset_input.dataset.name}@{dataset_input.dataset.digest}"
            for dataset_input in inputs
        ],
    )


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")
