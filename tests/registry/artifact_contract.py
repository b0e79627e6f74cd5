"""The contract of artefacts, as a script: python artifact_contract.py URL FOLDER.

Tests run it on a folder, and `make s3` on a real S3 server in an environment that has s3fs.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from registry.artifacts import ArtifactStore
from registry.errors import ArtifactsUnavailable, ChangedFile, RegistryError
from registry.stored_files import hash_file


def check(url: str, folder: Path) -> None:
    """Store, fetch and damage files below a URL."""
    content = os.urandom(3_000_000)
    (folder / "model.onnx").write_bytes(content)
    digest = hash_file(folder / "model.onnx")
    store = ArtifactStore(url)
    for _ in range(2):  # a file is stored once
        store.put(folder, {"model.onnx": digest})
    store.require("model.onnx", digest)
    store.fetch("model.onnx", digest, folder / "fetched")
    assert (folder / "fetched").read_bytes() == content

    missing = "0" * 64
    _refused(ChangedFile, "nothing is there", lambda: store.fetch("a", missing, folder / "a"))
    _refused(ChangedFile, "nothing is there", lambda: store.require("a", missing))
    for other in (content[:1_000_000], content[:-1] + bytes([content[-1] ^ 1])):
        _overwrite(url, digest, other)
        fresh = ArtifactStore(url)
        _refused(ChangedFile, "was changed", lambda: fresh.fetch("a", digest, folder / "a"))  # noqa: B023
        _refused(ChangedFile, "is not", lambda: fresh.require("a", digest))  # noqa: B023


def _overwrite(url: str, digest: str, content: bytes) -> None:
    import fsspec  # noqa: PLC0415

    with fsspec.open(f"{url}/sha256/{digest[:2]}/{digest}", "wb") as out:
        out.write(content)


def check_refusals(url: str, folder: Path) -> None:
    """Expect that nothing can be stored below a URL."""
    (folder / "model.onnx").write_bytes(b"model")
    digest = hash_file(folder / "model.onnx")
    store = ArtifactStore(url)
    _refused(
        ArtifactsUnavailable,
        "cannot be stored",
        lambda: store.put(folder, {"model.onnx": digest}),
    )


def _refused(kind: type[RegistryError], sentence: str, call: Callable[[], object]) -> None:
    found: Exception | None = None
    try:
        call()
    except RegistryError as error:
        found = error
    assert type(found) is kind, f"expected {kind.__name__}, not {found!r}"
    assert sentence in str(found), str(found)


if __name__ == "__main__":
    {"check": check, "refusals": check_refusals}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
