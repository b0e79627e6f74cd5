"""Describe a model in Triton's format, which Triton's clients read before inference. Pure."""

import msgspec

from registry.features import signature
from registry.manifest import TensorSpec
from registry.rows import FREE, batch_dimension
from service.models.loaded_models import LoadedModels
from service.models.metadata import PLATFORM

_BACKEND = "onnxruntime"


class TensorConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input or output; `dims` does not include the free dimension of rows."""

    name: str
    data_type: str
    dims: list[int]
    optional: bool = False


class DynamicBatching(msgspec.Struct, frozen=True):
    """The priority levels of a version whose requests share runs."""

    priority_levels: int
    default_priority_level: int


class ModelConfiguration(msgspec.Struct, frozen=True):
    """The part of Triton's model configuration that applies to a version."""

    name: str
    platform: str
    backend: str
    max_batch_size: int  # maximum rows of a run; 0 if there is no free dimension of rows
    input: list[TensorConfig]
    output: list[TensorConfig]
    dynamic_batching: DynamicBatching | msgspec.UnsetType = msgspec.UNSET


def configure(models: LoadedModels, model: str, selector: str) -> ModelConfiguration:
    """Describe one version; raises UnknownModel, UnknownVersion or NotReady."""
    served, _ = models.find(model, selector)
    manifest, version_signature = served.version.manifest, signature(served.version.manifest)
    rows = batch_dimension(version_signature) == FREE
    queue = manifest.queue
    optional = {spec.name for spec in version_signature.optional}
    return ModelConfiguration(
        model,
        PLATFORM,
        _BACKEND,
        manifest.max_batch_size if rows else 0,
        [
            _tensor(spec, rows=rows, optional=spec.name in optional)
            for spec in version_signature.accepted
        ],
        [_tensor(spec, rows=rows) for spec in version_signature.outputs],
        DynamicBatching(queue.priority_levels, queue.default_priority or queue.priority_levels)
        if served.check.batched
        else msgspec.UNSET,
    )


def _tensor(spec: TensorSpec, *, rows: bool, optional: bool = False) -> TensorConfig:
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    dims = spec.shape[1:] if rows and spec.shape[:1] == [FREE] else spec.shape
    return TensorConfig(spec.name, f"TYPE_{datatype}", list(dims), optional)
