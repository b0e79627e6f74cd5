"""An image model without features and label, whose rows are summaries of its tensors."""

from pathlib import Path
from typing import Any

from eventlog.events import Tensor
from registry.manifest import (
    AlarmPolicy,
    BaselinePolicy,
    Manifest,
    Monitoring,
    Signature,
    Summary,
    TensorSpec,
    Version,
    WindowPolicy,
)

SUMMARIES = [
    Summary("image brightness", "image", "mean"),
    Summary("image contrast", "image", "std"),
    Summary("embedding norm", "embedding", "l2_norm"),
]
MANIFEST = Manifest(
    task="other",
    summaries=SUMMARIES,
    signature=Signature(
        [TensorSpec("image", "FP32", [-1, 3, 8, 8])], [TensorSpec("embedding", "FP32", [-1, 2])]
    ),
    monitoring=Monitoring(
        window=WindowPolicy(length=3600, grace=600, label_wait=3600, max_rows=200),
        alarms=AlarmPolicy(min_rows=50, consecutive=2),
        baseline=BaselinePolicy(windows=3, min_rows=300),
    ),
)


def image_version(folder: Path, manifest: Manifest = MANIFEST) -> Version:
    """Return a registered version that has a folder but no reference."""
    return Version(
        model="tiny", number="1", digest="d" * 64, created=0, manifest=manifest, path=str(folder)
    )


def of_image(*values: float | None) -> dict[str, Any]:
    """Return the fields of a one-row event with these summaries and without its payload."""
    names = [summary.name for summary in SUMMARIES]
    return {
        "payload": "digest",
        "inclusion": 0.01,
        "inputs": {},
        "outputs": {},
        "summaries": {name: [value] for name, value in zip(names, values, strict=True)},
    }


def kept_image(*values: float | None) -> dict[str, Any]:
    """Return the fields of a one-row event with these summaries and its payload."""
    return of_image(*values) | {
        "payload": "kept",
        "inputs": {"image": Tensor("FP32", [1, 3, 8, 8], [0.5] * 192)},
        "outputs": {"embedding": Tensor("FP32", [1, 2], [1.0, 2.0])},
    }
