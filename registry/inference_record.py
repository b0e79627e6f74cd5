"""The record of a version's inferred fields, stored with its files."""

from pathlib import Path

import msgspec

FILE = "inference.json"


class Inference(msgspec.Struct, omit_defaults=True):
    """The fields that registration inferred for a version, with reasons and questions."""

    reasons: dict[str, str] = {}  # field of the manifest -> reason for its inferred value
    questions: list[str] = []  # each states how to answer it
    changes: list[str] = []  # changes of the served copy of the graph
    original: str = ""  # SHA-256 of the original file, if it was changed
    doubts: list[str] = []  # doubts about the reference


def write_inference(folder: Path, inference: Inference) -> None:
    """Store the inference record with a version's other files."""
    (folder / FILE).write_bytes(msgspec.json.encode(inference))


def read_inference(folder: Path) -> Inference:
    """Return a version's inference record, which is empty for versions of earlier releases."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Inference)
    except (FileNotFoundError, msgspec.DecodeError):
        return Inference()
