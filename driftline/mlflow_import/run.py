"""Import model versions from MLflow, and export their state in Driftline to MLflow as tags."""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from driftline.local_actor import local_actor
from driftline.mlflow_import.catalogue import MlflowCatalogue, MlflowVersion
from driftline.mlflow_import.child import CONVERTED, run_child
from driftline.mlflow_import.package import manifest_fields, read_package, require_onnx
from driftline.registry_access import RegistryAccess, open_access, open_remote
from eventlog.settings import Home
from registry.errors import UnknownModel
from registry.history.lifecycle import reduce_rows
from registry.history.rows import GateResult
from registry.manifest import Version
from registry.names import require_model_name


class ImportOptions(NamedTuple):
    """The options of an import."""

    reference: Path | None = None
    fields: Mapping[str, Any] = {}  # manifest fields that override MLflow's
    trust: bool = False  # whether to convert models that are not ONNX; runs the author's code
    promote: bool = True  # whether to make a model's first version champion


class _Files(NamedTuple):
    name: str
    onnx: Path  # the ONNX file, or the folder that contains it
    fields: Mapping[str, Any]
    options: ImportOptions


class MlflowImport:
    """Imports versions from an MLflow registry into a Driftline registry."""

    def __init__(self, catalogue: MlflowCatalogue, server: str = "") -> None:
        """`server` is the URL of a registry server, or "" for this machine's registry."""
        self.catalogue = catalogue
        self.access: RegistryAccess = open_access(server)
        self._register: Callable[[_Files], None] = (
            partial(_register_remote, server) if server else _register_local
        )

    def imported(self, name: str) -> dict[tuple[str, str], Version]:
        """Return the imported versions of a model, by MLflow's model name and version."""
        try:
            versions = self.access.versions(name)
        except UnknownModel:
            return {}
        return {
            (
                version.manifest.lineage["mlflow_model"],
                version.manifest.lineage["mlflow_version"],
            ): version
            for version in versions
            if version.manifest.lineage.get("mlflow_server") == self.catalogue.server
            and {"mlflow_model", "mlflow_version"} <= version.manifest.lineage.keys()
        }

    def include(
        self,
        name: str,
        version: MlflowVersion,
        options: ImportOptions = ImportOptions(),  # noqa: B008
    ) -> None:
        """Register a version under a name if it is not registered yet; raises DriftlineError."""
        require_model_name(name)
        before = self.imported(name).get((version.model, version.version))
        if version.version and before is not None:
            source = f"{version.model} version {version.version}"
            click.echo(f"{name} version {before.number} is already imported from MLflow's {source}")
            return
        with tempfile.TemporaryDirectory(prefix="driftline-mlflow-") as folder:
            package = read_package(self.catalogue.fetch(version, Path(folder)))
            source = f"{version.model} version {version.version}" if version.model else version.uri
            if options.trust and not package.is_onnx and package.convertible:
                run_child(package, convert=True)
                onnx = package.folder / CONVERTED
            else:
                require_onnx(package, source)
                run_child(package, convert=False)
                onnx = package.folder
            fields = manifest_fields(package, version, self.catalogue.server)
            self._register(_Files(name, onnx, {**fields, **options.fields}, options))

    def export(self, name: str) -> int:
        """Tag the imported versions in MLflow with their state; return their number."""
        state = reduce_rows(self.access.history(name))
        imported = self.imported(name)
        for (model, number), version in imported.items():
            row = state.gated.get(version.digest)
            aliases = [alias for alias, n in state.aliases.items() if n == version.number]
            self.catalogue.tag(
                model,
                number,
                {
                    "driftline.version": f"{name}/{version.number}",
                    "driftline.digest": version.digest,
                    "driftline.revision": str(state.revision),
                    "driftline.aliases": ",".join(sorted(aliases)) or "none",
                    "driftline.verdict": row.decode(GateResult).verdict if row else "not gated",
                    "driftline.gate_report": row.evidence if row else "none",
                    "driftline.state": _state(state, version),
                },
            )
        return len(imported)


def _state(state: Any, version: Version) -> str:
    if version.digest in state.rejected:
        return "rejected"
    if version.digest in state.barred:
        return "barred"
    return "candidate" if state.desired([version.number]).candidates else "may serve"


def _register_local(files: _Files) -> None:
    from driftline.printed_registration import register_and_print  # noqa: PLC0415 - takes seconds to import

    register_and_print(
        Home.from_environment(),
        files.name,
        files.onnx,
        manifest=files.fields,
        reference=files.options.reference,
        target="",
        actor=local_actor("register", files.name),
        promote=files.options.promote,
    )


def _register_remote(server: str, files: _Files) -> None:
    open_remote(server).register(
        files.name,
        files.onnx,
        files.fields,
        files.options.reference,
        target="",
        promote=files.options.promote,
    )
