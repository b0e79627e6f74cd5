"""The features of a manifest and their tensors.

feature_tensors.py converts values. This module does not import NumPy, which is slow to import and
not needed by commands that only read.
"""

from registry.errors import InvalidManifest
from registry.manifest import Feature, Manifest, Signature, TensorSpec
from registry.outputs import label_output


def monitored_columns(manifest: Manifest) -> list[Feature]:
    """Return the monitored columns: the features, then each summary as a numeric column."""
    summaries = manifest.summaries or []
    return [*manifest.features, *(Feature(s.name, "numeric", nullable=True) for s in summaries)]


def expects_labels(manifest: Manifest) -> bool:
    """Return whether labels can be joined: the manifest has a predicting output and a target."""
    return bool(label_output(manifest.prediction) and manifest.target)


def signature(manifest: Manifest) -> Signature:
    """Return the signature of a completed manifest; raises InvalidManifest if it has none."""
    if manifest.signature is None:
        raise InvalidManifest("the manifest has no signature: `register` must complete it")
    return manifest.signature


def width(spec: TensorSpec) -> int:
    """Return the number of features in each row of a tensor: 1 for [N] and [N, 1], k for [N, k].

    Raises InvalidManifest for other shapes.
    """
    match spec.shape:
        case [_]:
            return 1
        case [_, columns] if columns > 0:
            return columns
    raise InvalidManifest(
        f"tensor {spec.name!r} has shape {spec.shape}: its columns cannot be features; expected "
        "[N], [N, 1] or [N, k] with a fixed k"
    )
