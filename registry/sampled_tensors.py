"""Select the tensors that the monitor samples, to show inputs or to compare vectors."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from registry.errors import InvalidManifest
from registry.features import signature
from registry.images import channel_axis, is_image
from registry.manifest import Manifest, TensorSpec
from registry.rows import FREE, batch_dimension

SampleKind = Literal["image", "bytes", "text", "vector"]  # bytes of a file, such as a JPEG

SHOWN = 12  # shown rows per window
EMBEDDING_METHODS = ("distance", "mmd", "model", "ratio")  # Evidently's names
MOST_VECTORS = 1_000  # largest number of compared vectors per window
_MOST_NUMBERS = 1 << 18  # largest number of values in a window's vectors, which is 1 MiB
_WIDEST = 4_096  # largest number of values in a vector


class SampledTensor(msgspec.Struct, frozen=True):
    """A tensor of which each window samples the rows with the smallest hashes."""

    name: str
    kind: SampleKind
    size: int  # sampled rows per window
    batched: bool  # whether the first dimension is the batch dimension
    channels: int = 0  # dimension of an image's channels, within a row


def shown_inputs(manifest: Manifest) -> list[SampledTensor]:
    """Return the inputs whose rows the page shows, except inputs that the payload policy masks.

    Inputs with features are excluded, because they are shown as columns.
    """
    model_signature = signature(manifest)
    rows = batch_dimension(model_signature)
    fields: Mapping[str, object] = manifest.payload.fields
    carrying = {feature.input for feature in manifest.features}
    return [
        sampled
        for spec in model_signature.inputs
        if spec.name not in carrying and fields.get(spec.name, "keep") == "keep"
        if (sampled := _shown(spec, rows)) is not None
    ]


def sampled_vectors(manifest: Manifest) -> list[SampledTensor]:
    """Return the inputs and outputs whose vectors the monitoring policy compares."""
    model_signature = signature(manifest)
    specs = {spec.name: spec for spec in (*model_signature.outputs, *model_signature.inputs)}
    return [
        SampledTensor(name, "vector", vectors_of(specs[name].shape[1]), batched=True)
        for name in sorted(manifest.monitoring.embedding_drift)
        if manifest.payload.fields.get(name, "keep") == "keep"
    ]


def vectors_of(width: int) -> int:
    """Return how many vectors of this width are sampled from a window or a reference."""
    return min(MOST_VECTORS, _MOST_NUMBERS // width)


def vector_column(tensor: str) -> str:
    """Return the name of the reference column that contains a tensor's vectors."""
    return f"@vectors of {tensor}"


def check_embeddings(manifest: Manifest) -> None:
    """Raise InvalidManifest if a policy compares values that are not vectors."""
    model_signature = signature(manifest)
    rows = batch_dimension(model_signature)
    specs = {spec.name: spec for spec in (*model_signature.outputs, *model_signature.inputs)}
    for name, method in manifest.monitoring.embedding_drift.items():
        if method not in EMBEDDING_METHODS:
            raise InvalidManifest(
                f"monitoring.embedding_drift: unknown method {method!r} of {name!r}; expected "
                f"one of {', '.join(EMBEDDING_METHODS)}"
            )
        if name not in specs:
            raise InvalidManifest(
                f"monitoring.embedding_drift names {name!r}, which is not an input or output; "
                f"expected one of {', '.join(sorted(specs))}"
            )
        spec = specs[name]
        fits = len(spec.shape) == 2 and 2 <= spec.shape[1] <= _WIDEST and rows is not None
        if not fits or not spec.datatype.startswith(("FP", "BF")):
            raise InvalidManifest(
                f"monitoring.embedding_drift: {name!r} is {spec.datatype} {spec.shape}; expected "
                f"floats [N, d] with a fixed d from 2 to {_WIDEST:,}"
            )


def _shown(spec: TensorSpec, rows: int | None) -> SampledTensor | None:
    batched = rows is not None and spec.shape[:1] in ([rows], [FREE])
    item = spec.shape[1:] if batched else spec.shape
    if is_image(spec.datatype, item):
        return SampledTensor(spec.name, "image", SHOWN, batched, channel_axis(item))
    if spec.datatype == "BYTES":
        return SampledTensor(spec.name, "text", SHOWN, batched)
    if (spec.datatype, item) == ("UINT8", [FREE]):
        return SampledTensor(spec.name, "bytes", SHOWN, batched)
    return None
