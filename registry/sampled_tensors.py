"""Which tensors of a version the monitor samples, to show what was sent or to compare vectors."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from registry.features import signature
from registry.images import channel_axis, is_image
from registry.manifest import Manifest, TensorSpec
from registry.rows import FREE, batch_dimension

# bytes: a file, perhaps an encoded image
SampleKind = Literal["image", "bytes", "text"]

SHOWN = 12  # rows of a window


class SampledTensor(msgspec.Struct, frozen=True):
    """A tensor of which a window keeps the rows with the smallest hashes."""

    name: str
    kind: SampleKind
    size: int  # rows of each window
    batched: bool  # whether its first dimension is the rows of a request
    channels: int = 0  # axis of an image's channels, within a row


def shown_inputs(manifest: Manifest) -> list[SampledTensor]:
    """Return the inputs whose rows a person can look at, unless the payload policy masks them.

    Inputs that carry features are shown as columns.
    """
    found = signature(manifest)
    rows = batch_dimension(found)
    fields: Mapping[str, object] = manifest.payload.fields
    carrying = {feature.input for feature in manifest.features}
    return [
        sampled
        for spec in found.inputs
        if spec.name not in carrying and fields.get(spec.name, "keep") == "keep"
        if (sampled := _shown(spec, rows)) is not None
    ]


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
