"""The contract of artifact stores, on a folder and on the real S3 server of `make s3`."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from registry.artifacts import ArtifactStore
from registry.errors import ArtifactsUnavailable
from registry.stored_files import hash_file
from tests.registry import artifact_contract

S3 = "DRIFTLINE_S3"  # names a Python that has s3fs and moto's server
_NOBODY = 65534  # a user without rights
ROOT = Path(__file__).parents[2]


def test_a_folder_store_fulfils_the_contract(tmp_path: Path) -> None:
    artifact_contract.check(f"file://{tmp_path}/artifacts", tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("no folder")
    artifact_contract.check_refusals(f"file://{tmp_path}/artifacts", tmp_path)


def test_a_folder_without_rights_is_named_with_the_action_and_the_rights() -> None:
    # Not below tmp_path, into which only the user of the tests may look.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(b"model")
        (folder / "artifacts").mkdir(mode=0o555)
        folder.chmod(0o755)
        url = (folder / "artifacts").as_uri()
        store, files = ArtifactStore(url), {"model.onnx": hash_file(folder / "model.onnx")}
        expected = (
            rf"artefacts {url}: model\.onnx cannot be stored: access denied \(.*\); "
            "expected the permissions to list, read, write"
        )
        with _unprivileged(), pytest.raises(ArtifactsUnavailable, match=expected):
            store.put(folder, files)
        assert list((folder / "artifacts").iterdir()) == []


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Be no superuser, for whom no rights are checked, while the block runs."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


if S3 in os.environ:  # s3fs needs an older python-dateutil, so it has an environment of its own

    @pytest.fixture(scope="module")
    def endpoint(free_port: Callable[[], int]) -> Iterator[str]:
        """The address of an S3 server with the bucket `models`."""
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        server = subprocess.Popen(
            [os.environ[S3], "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        )
        try:
            deadline = time.monotonic() + 180
            while time.monotonic() < deadline and server.poll() is None:
                try:
                    if httpx.put(f"{address}/models").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            server.wait()

    @pytest.mark.parametrize(
        ("what", "url"),
        [
            ("check", "s3://models/driftline"),
            ("refusals", "s3://no-such-bucket/driftline"),
            ("rights", "s3://models/driftline"),
        ],
    )
    def test_an_s3_store_fulfils_the_contract(
        endpoint: str, tmp_path: Path, what: str, url: str
    ) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        script = ROOT / "tests/registry/artifact_contract.py"
        command = [os.environ[S3], str(script), what, url, str(tmp_path)]
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
