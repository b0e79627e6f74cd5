"""Read a model folder of MLflow: flavors, signature and input example."""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from driftline.mlflow_import.catalogue import MlflowVersion
from eventlog.errors import DriftlineError
from registry.yaml_text import parse_yaml

CONVERTED = ("sklearn", "xgboost", "lightgbm", "catboost")  # flavors that `--trust` converts
_CATEGORICAL = {"string", "boolean"}


class UnsupportedModel(DriftlineError):
    """The model of MLflow cannot be registered; the message states the reason and a remedy."""


class SignatureColumn(msgspec.Struct, frozen=True):
    """A named column of a model's signature."""

    name: str
    type: str
    required: bool = True


class Package(msgspec.Struct, frozen=True):
    """The contents of a model folder."""

    path: str
    flavors: dict[str, dict[str, Any]]
    columns: list[SignatureColumn] = []  # [] if the signature states tensors or is missing
    example: str = ""  # name of the file with the input example

    @property
    def folder(self) -> Path:
        """The model folder."""
        return Path(self.path)

    @property
    def is_onnx(self) -> bool:
        """Whether the folder contains an ONNX file."""
        return "onnx" in self.flavors

    @property
    def convertible(self) -> str:
        """The first flavor that can be converted to ONNX, "" if there is no such flavor."""
        return next((flavor for flavor in CONVERTED if flavor in self.flavors), "")


def read_package(folder: Path) -> Package:
    """Read the MLmodel file of a folder; raises UnsupportedModel."""
    try:
        content = parse_yaml((folder / "MLmodel").read_bytes())
        flavors = msgspec.convert(content["flavors"], dict[str, dict[str, Any]])
        columns = _columns((content.get("signature") or {}).get("inputs"))
        example = (content.get("saved_input_example_info") or {}).get("artifact_path", "")
    except (yaml.YAMLError, msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UnsupportedModel(f"{folder / 'MLmodel'} cannot be read: {reason}") from None
    return Package(str(folder), flavors, columns, str(example))


def require_onnx(package: Package, name: str) -> None:
    """Raise UnsupportedModel unless the model is an ONNX file."""
    if package.is_onnx:
        return
    flavors = ", ".join(name for name in package.flavors if name != "python_function") or "pyfunc"
    remedy = (
        "log it with mlflow.onnx.log_model, or register it from Python with driftline.register; "
        "with --trust, a separate process runs its author's code to load it, and converts it"
        if package.convertible
        else "log it with mlflow.onnx.log_model"
    )
    raise UnsupportedModel(
        f"{name} is of flavor {flavors}; expected onnx. Other flavors are pickles or need their "
        f"library to load, and are not opened: {remedy}"
    )


def manifest_fields(package: Package, version: MlflowVersion, server: str) -> dict[str, Any]:
    """Return the manifest fields that describe a model version in MLflow."""
    tags = version.run_tags
    lineage = {
        "mlflow_server": server,
        "mlflow_model": version.model,
        "mlflow_version": version.version,
        "mlflow_run": version.run,
        "mlflow_user": tags.get("mlflow.user", ""),
        "mlflow_tags": ", ".join(f"{name}={value}" for name, value in version.tags.items()),
        "code": tags.get("mlflow.source.git.commit", ""),
        "data": ", ".join(version.datasets),
    }
    fields: dict[str, Any] = {"lineage": {name: text for name, text in lineage.items() if text}}
    if version.description:
        fields["description"] = version.description
    if features := _features(package):
        fields["features"] = features
    return fields


def _features(package: Package) -> list[dict[str, Any]]:
    """Return one feature per signature column, or [] unless one input tensor has all columns."""
    columns = package.columns
    tensor = _tensor_of(package, len(columns)) if columns and package.is_onnx else ""
    if not tensor:
        return []  # registration infers features from inputs named like the columns
    return [
        {
            "name": column.name,
            "kind": "categorical" if column.type in _CATEGORICAL else "numeric",
            "input": tensor,
            "index": place,
            "nullable": not column.required,
        }
        for place, column in enumerate(columns)
    ]


def _tensor_of(package: Package, width: int) -> str:
    """Return the name of the model's only input if its rows have this width, else ""."""
    import onnx  # noqa: PLC0415 - slow to import

    path = package.folder / str(package.flavors["onnx"].get("data", "model.onnx"))
    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [tensor for tensor in graph.input if tensor.name not in weights]
    if len(inputs) != 1:
        return ""
    sizes = inputs[0].type.tensor_type.shape.dim
    fits = len(sizes) == 2 and (sizes[1].dim_value == width or not sizes[1].HasField("dim_value"))
    return str(inputs[0].name) if fits else ""


def _columns(listing: object) -> list[SignatureColumn]:
    if not isinstance(listing, str):
        return []
    listed = msgspec.json.decode(listing, type=list[dict[str, Any]])
    if any(column.get("type") == "tensor" or "name" not in column for column in listed):
        return []
    return [
        SignatureColumn(str(column["name"]), str(column["type"]), column.get("required", True))
        for column in listed
    ]
