"""Reconcile a model with a registered model of MLflow: register new versions, export verdicts.

Each call compares both registries, so a lost message cannot cause a difference.
"""

import click

from driftline.mlflow_import.catalogue import MlflowUnavailable, MlflowVersion
from driftline.mlflow_import.run import ImportOptions, MlflowImport
from eventlog.errors import DriftlineError
from registry.errors import RegistryUnavailable


class MlflowFollower:
    """Reconciles one model; a refused version is not tried again by this process."""

    def __init__(
        self, importer: MlflowImport, model: str, name: str, *, trust: bool = False
    ) -> None:
        """`model` is the name in MLflow, `name` the name in Driftline."""
        self.refused: set[str] = set()  # numbers of refused versions in MLflow
        self._importer = importer
        self._model = model
        self._name = name
        self._options = ImportOptions(trust=trust, promote=False)
        self._exported = -1  # revision whose state was written to MLflow

    def reconcile(self) -> None:
        """Register new versions, and export changes.

        Raises MlflowUnavailable or RegistryUnavailable.
        """
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
