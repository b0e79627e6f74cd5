"""The contract of artifact stores, as a script: `python artifact_contract.py URL FOLDER`.

Tests run it on a folder, and `make s3` on a real S3 server in an environment that has s3fs.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

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
    _refused(ChangedFile, "the file is missing", lambda: store.fetch("a", missing, folder / "a"))
    _refused(ChangedFile, "the file is missing", lambda: store.require("a", missing))
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


def check_rights(url: str, folder: Path) -> None:
    """Expect that users of S3 are refused what their policies do not allow, before any byte."""
    (folder / "stored").write_bytes(b"stored")
    (folder / "new").write_bytes(b"new")
    stored, new = hash_file(folder / "stored"), hash_file(folder / "new")
    ArtifactStore(url).put(folder, {"stored": stored})
    reader = _user("reader", "s3:ListBucket", "s3:GetObject")
    lister = _user("lister", "s3:ListBucket")
    with _authorization():
        store = _store_of(reader, url)
        store.fetch("stored", stored, folder / "fetched")
        denied = f"artefacts {url}: new cannot be stored: access denied"
        _refused(ArtifactsUnavailable, denied, lambda: store.put(folder, {"new": new}))
        write = "list (s3:ListBucket), read (s3:GetObject), write (s3:PutObject)"
        _refused(ArtifactsUnavailable, write, lambda: store.put(folder, {"new": new}))
        assert not store.has([new])

        store = _store_of(lister, url)
        denied, target = f"artefacts {url}: stored cannot be fetched: access denied", folder / "no"
        _refused(ArtifactsUnavailable, denied, lambda: store.fetch("stored", stored, target))
        read = "expected the permissions to read (s3:GetObject)"
        _refused(ArtifactsUnavailable, read, lambda: store.fetch("stored", stored, target))
        assert not target.exists()


def _user(name: str, *actions: str) -> dict[str, str]:
    """Create a user who may do these actions; return the user's key."""
    import boto3  # noqa: PLC0415

    iam = boto3.client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    key: dict[str, str] = iam.create_access_key(UserName=name)["AccessKey"]
    return key


@contextmanager
def _authorization() -> Iterator[None]:
    """Have moto's server check keys and policies while the block runs."""
    _free_calls("0")
    try:
        yield
    finally:
        _free_calls("inf")


def _free_calls(count: str) -> None:
    """Have moto's server check the calls that follow this many."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    urlopen(Request(address, count.encode(), {"content-type": "text/plain"})).close()


def _store_of(key: dict[str, str], url: str) -> ArtifactStore:
    import s3fs  # noqa: PLC0415

    os.environ["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]
    os.environ["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
    s3fs.S3FileSystem.clear_instance_cache()
    return ArtifactStore(url)


def _refused(kind: type[RegistryError], sentence: str, call: Callable[[], object]) -> None:
    found: Exception | None = None
    try:
        call()
    except RegistryError as error:
        found = error
    assert type(found) is kind, f"expected {kind.__name__}, not {found!r}"
    assert sentence in str(found), str(found)


if __name__ == "__main__":
    checks = {"check": check, "refusals": check_refusals, "rights": check_rights}
    checks[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
