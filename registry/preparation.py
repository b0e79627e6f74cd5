"""Check the files of a registration and write the version's files; runs in a check's child process.

Input files: given.onnx, model.data, given.reference, request.msgpack.
Output files: model.onnx, manifest.json, batching.json, inference.json, reference.parquet,
outcome.json.
"""

from pathlib import Path

import msgspec

from eventlog.errors import DriftlineError
from registry.batching import Verdict, judge, runnable, write_verdict
from registry.bounded.job import (
    ONNX,
    OUTCOME,
    REFERENCE,
    REQUEST,
    CheckOutcome,
    CheckRequest,
    note_stage,
)
from registry.candidate import Candidate, prepare
from registry.content import encode_manifest
from registry.inference_record import write_inference
from registry.manifest import Manifest
from registry.onnx_file import check_providers, load
from registry.reference import answer_reference, doubts, sample_tensors
from registry.reference_file import parse_reference


def check_files(folder: Path, seconds: float) -> None:
    """Check the input files in a folder, and write the output files or the reason for a refusal.

    Raises MemoryError if not enough memory is left to write the reason.
    """
    outcome = CheckOutcome()
    try:
        check_request(folder, seconds)
    except DriftlineError as error:
        outcome = CheckOutcome(type(error).__name__, str(error))
    except MemoryError:
        outcome = CheckOutcome("MemoryError")
    (folder / OUTCOME).write_bytes(msgspec.json.encode(outcome))


def check_request(folder: Path, seconds: float) -> None:
    """Check the request of a folder within `seconds`; raises DriftlineError if it is refused."""
    request = msgspec.msgpack.decode((folder / REQUEST).read_bytes(), type=CheckRequest)
    onnx = (folder / ONNX).read_bytes()
    reference = None
    if request.has_reference:
        note_stage(folder, "reading the reference")
        reference = parse_reference((folder / REFERENCE).read_bytes())
    note_stage(folder, "loading the model")
    candidate = prepare(onnx, request.fields, reference, target=request.target, folder=folder)
    manifest = candidate.manifest
    if not request.infer_only:
        manifest = _with_answers(folder, candidate, seconds)
    (folder / "model.onnx").write_bytes(candidate.onnx)
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    write_inference(folder, candidate.inference)


def _with_answers(folder: Path, candidate: Candidate, seconds: float) -> Manifest:
    """Run the trials, run the model on the reference, and return the manifest with classes."""
    manifest, rows = candidate.manifest, candidate.reference
    check_providers(manifest.session.providers)
    note_stage(folder, "making trial runs of the model")
    verdict = _judge(folder, candidate, seconds / 2)
    write_verdict(folder, verdict)
    if rows is None:
        return manifest
    note_stage(folder, "running the model on the reference")
    together = not verdict.against_answers(manifest)
    manifest, frame = answer_reference(candidate.session, manifest, rows, together=together)
    candidate.inference.doubts += doubts(manifest, frame)
    frame.to_parquet(folder / "reference.parquet", index=False)
    return manifest


def _judge(folder: Path, candidate: Candidate, seconds: float) -> Verdict:
    """Check whether rows are independent, in one thread so that sums have a fixed order."""
    manifest, reference = candidate.manifest, candidate.reference
    rows = None if reference is None else sample_tensors(manifest, reference)
    session = load(candidate.onnx, threads=1, extensions=manifest.session.extensions, folder=folder)
    return judge(runnable(session), manifest, rows, seconds=seconds)
