"""The features of a manifest and the tensors that carry them.

Values are converted by feature_tensors.py. Nothing here imports NumPy: commands that only read need
none.
"""

from registry.errors import InvalidManifest
from registry.manifest import Feature, Manifest, Signature, TensorSpec
from registry.outputs import label_output


def monitored_columns(manifest: Manifest) -> list[Feature]:
    """Return the columns that are monitored: the features, then each summary as a number."""
    summaries = manifest.summaries or []
    return [*manifest.features, *(Feature(s.name, "numeric", nullable=True) for s in summaries)]


def expects_labels(manifest: Manifest) -> bool:
    """Return whether labels can be joined: an output predicts, and a target is stated."""
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
