"""Metadata of the server and its models, for REST and gRPC."""

import msgspec

from registry.manifest import TensorSpec
from service.models.loaded_models import LoadedModels
from telemetry.release import release

NAME = "driftline"
VERSION = release()
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
    versions: list[str]  # loaded versions, oldest first
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
