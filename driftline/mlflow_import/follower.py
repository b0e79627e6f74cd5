"""Keep a model here like a registered model of MLflow: what is new is registered, verdicts go back.

Each look compares both registries, so nothing depends on a message that may be lost.
"""

import click

from driftline.mlflow_import.catalogue import MlflowUnavailable, MlflowVersion
from driftline.mlflow_import.run import ImportOptions, MlflowImport
from eventlog.errors import DriftlineError
from registry.errors import RegistryUnavailable


class MlflowFollower:
    """Reconcile one model; a version that is refused is not tried again by this process."""

    def __init__(
        self, importer: MlflowImport, model: str, name: str, *, trust: bool = False
    ) -> None:
        """`model` is the name in MLflow, `name` the name here."""
        self.refused: set[str] = set()  # versions of MLflow
        self._importer = importer
        self._model = model
        self._name = name
        self._options = ImportOptions(trust=trust, promote=False)
        self._exported = -1  # revision whose state was written to MLflow

    def look(self) -> None:
        """Register what is new, and export what changed; raises a DriftlineError if one is down."""
        imported = self._importer.imported(self._name)
        imported_versions = {version for model, version in imported if model == self._model}
        for version in self._importer.catalogue.versions(self._model):
            if version.version not in imported_versions | self.refused:
                self._include(version)
        if self._importer.imported(self._name):
            revision = self._importer.access.history(self._name)[-1].revision
            if revision != self._exported:
                self._importer.export(self._name)
                self._exported = revision

    def _include(self, version: MlflowVersion) -> None:
        full = self._importer.catalogue.details(version)
        try:
            self._importer.include(self._name, full, self._options)
        except (MlflowUnavailable, RegistryUnavailable):
            raise
        except DriftlineError as error:
            self.refused.add(version.version)
            click.echo(f"{self._model} version {version.version}: {error}", err=True)
