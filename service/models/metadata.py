"""Metadata of the server and its models, for both transports."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import msgspec

from registry.manifest import TensorSpec
from service.models.loaded_models import LoadedModels

NAME = "driftline"
try:
    VERSION = installed("driftline")
except PackageNotFoundError:  # in a bento, whose own tag says which it is
    VERSION = "unpackaged"
PLATFORM = "onnxruntime_onnx"


class ServerMetadata(msgspec.Struct, frozen=True):
    """The Open Inference Protocol's description of a server."""

    name: str = NAME
    version: str = VERSION
    extensions: tuple[str, ...] = (
        "binary_tensor_data",
        "classification",
        "model_repository",
        "statistics",
    )


class ModelMetadata(msgspec.Struct, frozen=True):
    """The Open Inference Protocol's description of a model."""

    name: str
    versions: list[str]  # that are loaded, oldest first
    platform: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


def describe(models: LoadedModels, model: str, selector: str) -> ModelMetadata:
    """Describe one version; raises UnknownModel, UnknownVersion or NotReady."""
    served, _ = models.find(model, selector)
    signature = served.check.signature
    return ModelMetadata(
        model, models.numbers(model), PLATFORM, signature.accepted, signature.outputs
    )
