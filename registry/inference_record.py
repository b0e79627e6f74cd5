"""The record of what registration inferred for a version, stored with its files."""

from pathlib import Path

import msgspec

FILE = "inference.json"


class Inference(msgspec.Struct, omit_defaults=True):
    """The inferred properties of a version."""

    reasons: dict[str, str] = {}  # keyed by field of the manifest
    questions: list[str] = []  # each with the option that settles it
    changes: list[str] = []  # changes of the served copy of the graph
    original: str = ""  # sha256 of the file as given, where it was changed
    doubts: list[str] = []  # about the reference


def write_inference(folder: Path, inference: Inference) -> None:
    """Store what was inferred with a version's other files."""
    (folder / FILE).write_bytes(msgspec.json.encode(inference))


def read_inference(folder: Path) -> Inference:
    """Read a version's inference record; empty for versions of earlier releases."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Inference)
    except (FileNotFoundError, msgspec.DecodeError):
        return Inference()
