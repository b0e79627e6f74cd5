"""Build what a version consists of from the files that are registered.

Every fault of model, manifest and reference is found here, before anything is stored. Reading
versions needs nothing of this module, which imports ONNX Runtime and pandas.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from registry.batching import FILE, Verdict, judge, runnable, write_verdict
from registry.candidate import prepare
from registry.content import content_digest, encode_manifest
from registry.errors import InvalidReference
from registry.inference import write_inference
from registry.manifest import Manifest
from registry.manifest_file import read_fields
from registry.model_file import read_model
from registry.onnx_file import check_providers, load
from registry.reference import answer_reference, sample_tensors
from registry.reference_file import parse_reference
from registry.version_folders import Files


class VersionContent(NamedTuple):
    """A version that is not stored yet."""

    manifest: Manifest  # complete
    digest: str  # of model, manifest and reference
    verdict: Verdict  # whether its requests share runs
    files: Files


def build_content(
    onnx: Path | bytes,
    manifest: Path | Mapping[str, Any] | None,
    reference: Path | bytes | None,
    *,
    target: str,
) -> VersionContent:
    """Validate the files, or their contents, and infer what the manifest does not state.

    Raises a RegistryError that names the fault.
    """
    onnx_bytes = onnx if isinstance(onnx, bytes) else read_model(onnx)
    reference_bytes = _read(reference) if reference else b""
    candidate = prepare(
        onnx_bytes,
        read_fields(manifest) if isinstance(manifest, Path) else manifest or {},
        parse_reference(reference_bytes) if reference else None,
        target=target,
    )
    onnx_bytes, completed, rows = candidate.onnx, candidate.manifest, candidate.reference
    check_providers(completed.session.providers)
    verdict = _judge(onnx_bytes, completed, rows)
    files: Files = {}
    if rows is not None:
        together = not verdict.against_answers(completed)
        completed, frame = answer_reference(candidate.session, completed, rows, together=together)
        files["reference.parquet"] = lambda path: frame.to_parquet(path, index=False)
    encoded = encode_manifest(completed)
    files |= {
        "model.onnx": lambda path: path.write_bytes(onnx_bytes),
        "manifest.json": lambda path: path.write_bytes(encoded),
        FILE: lambda path: write_verdict(path.parent, verdict),
        "inference.json": lambda path: write_inference(path.parent, candidate.inference),
    }
    digest = content_digest(onnx_bytes, encoded, reference_bytes)
    return VersionContent(completed, digest, verdict, files)


def _judge(onnx: bytes, manifest: Manifest, reference: pd.DataFrame | None) -> Verdict:
    """Find out whether rows are independent, in one thread: there sums have one order only."""
    rows = None if reference is None else sample_tensors(manifest, reference)
    session = load(onnx, threads=1, extensions=manifest.session.extensions)
    return judge(runnable(session), manifest, rows)


def _read(path: Path | bytes) -> bytes:
    if isinstance(path, bytes):
        return path
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidReference(f"cannot read {path}: {error.strerror}") from None
