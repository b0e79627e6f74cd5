"""Versions from MLflow: inferred manifests, refusals, and the registry of a real server."""

import json
import os
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
import yaml
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from driftline.cli import driftline
from driftline.mlflow_import.catalogue import MlflowUnavailable, MlflowVersion
from driftline.mlflow_import.child import run_child
from driftline.mlflow_import.package import (
    UnsupportedModel,
    manifest_fields,
    read_package,
    require_onnx,
)
from driftline.mlflow_import.sources import MlflowName, parse_name
from eventlog.errors import SettingError
from eventlog.settings import Home
from registry.store import Registry
from tests.tiny_model import as_model

MLFLOW = "DRIFTLINE_MLFLOW"  # names a Python that has MLflow's server: `make mlflow`
COLUMNS = [
    {"type": "double", "name": "distance", "required": True},
    {"type": "string", "name": "carrier", "required": False},
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Home(tmp_path / "home")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, arguments)


def _folder(path: Path, stated: dict[str, Any] | str, width: int = 2) -> Path:
    """A model folder of MLflow with a model that sums its columns."""
    path.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["X"], ["y"], keepdims=1)],
        "sum",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save(as_model(graph), str(path / "model.onnx"))
    text = stated if isinstance(stated, str) else yaml.safe_dump(stated)
    (path / "MLmodel").write_text(text)
    return path


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("mlflow:late@champion", MlflowName("late", alias="champion")),
        ("mlflow:late/12", MlflowName("late", version="12")),
        ("mlflow:runs:/ab12/a/model", MlflowName(run="ab12", path="a/model")),
    ],
)
def test_a_model_is_named_by_alias_version_or_run(stated: str, name: MlflowName) -> None:
    assert parse_name(stated) == name


@pytest.mark.parametrize(
    "stated", ["", "mlflow:", "mlflow:late", "mlflow:late@", "late/x", "runs:/1", "a/b/1", "@x"]
)
def test_another_name_is_refused_with_the_forms(stated: str) -> None:
    with pytest.raises(SettingError, match=r"expected mlflow:MODEL@ALIAS, mlflow:MODEL/VERSION"):
        parse_name(stated)


def test_the_columns_of_a_signature_become_features(tmp_path: Path) -> None:
    stated = {
        "flavors": {"onnx": {"data": "model.onnx"}},
        "signature": {"inputs": json.dumps(COLUMNS)},
    }
    package = read_package(_folder(tmp_path, stated))
    version = MlflowVersion(
        "models:/late/3", "late", "3", "r1", "why", tags={"team": "delays"},
        run_tags={"mlflow.source.git.commit": "abc"}, datasets=["flights@d1"],
    )  # fmt: skip
    fields = manifest_fields(package, version, "http://ml")
    assert fields["features"] == [
        {"name": "distance", "kind": "numeric", "input": "X", "index": 0, "nullable": False},
        {"name": "carrier", "kind": "categorical", "input": "X", "index": 1, "nullable": True},
    ]
    assert fields["description"] == "why"
    assert fields["lineage"] == {
        "mlflow_server": "http://ml", "mlflow_model": "late", "mlflow_version": "3",
        "mlflow_run": "r1", "mlflow_tags": "team=delays", "code": "abc", "data": "flights@d1",
    }  # fmt: skip
    other = read_package(_folder(tmp_path / "other", stated, width=5))
    assert "features" not in manifest_fields(other, version, "http://ml")


@pytest.mark.parametrize(
    "stated",
    ["", "{", "[]", "flavors: 3", "{flavors: {onnx: {}}, signature: {inputs: '['}}", "\0"],
)
def test_an_mlmodel_that_cannot_be_read_is_named(tmp_path: Path, stated: str) -> None:
    with pytest.raises(UnsupportedModel, match="MLmodel cannot be read"):
        read_package(_folder(tmp_path, stated))


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["HARM"],)


def test_a_pickle_is_not_opened_without_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    folder = _folder(tmp_path / "model", {"flavors": {"sklearn": {"pickled_model": "model.pkl"}}})
    (folder / "model.pkl").write_bytes(pickle.dumps(_Harmful()))
    package = read_package(folder)
    with pytest.raises(UnsupportedModel, match=r"flavor sklearn; expected onnx.*--trust"):
        require_onnx(package, "late version 1")
    assert not (tmp_path / "harm").exists()
    with pytest.raises(UnsupportedModel, match="the conversion failed: SettingError"):
        run_child(package, convert=True)
    assert (tmp_path / "harm").exists(), "that is what --trust means"


def test_an_input_example_that_the_model_refuses_is_named(tmp_path: Path) -> None:
    stated = {
        "flavors": {"onnx": {"data": "model.onnx"}},
        "saved_input_example_info": {"artifact_path": "input_example.json"},
    }
    folder = _folder(tmp_path, stated)
    (folder / "input_example.json").write_text('{"columns": ["a", "b"], "data": [[1, 2]]}')
    run_child(read_package(folder), convert=False)
    (folder / "input_example.json").write_text('{"columns": ["a"], "data": [[1]]}')
    with pytest.raises(UnsupportedModel, match="the input example failed"):
        run_child(read_package(folder), convert=False)


def test_a_server_that_is_down_is_named_and_nothing_is_registered(
    home: Home, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = f"http://127.0.0.1:{free_port()}"
    done = run("import", "mlflow:late@champion", "--tracking-uri", uri)
    assert isinstance(done.exception, MlflowUnavailable)
    assert f"MLflow at {uri}: late cannot be found" in str(done.exception)
    done = run("follow", "mlflow", "late", "--once", "--tracking-uri", uri)
    assert isinstance(done.exception, MlflowUnavailable)
    assert Registry(home).models() == []
    assert "expected --name" in str(run("import", "mlflow:runs:/1/model").exception)


if MLFLOW in os.environ:  # its server needs an older pyarrow, so it has an environment of its own

    @pytest.fixture
    def server(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[tuple[str, str]]:
        """The address of a server with models, and the id of a run."""
        uri = f"http://127.0.0.1:{(port := free_port())}"
        process = subprocess.Popen(
            [
                os.environ[MLFLOW], "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db",
                "--artifacts-destination", str(tmp_path / "artifacts"),
            ],
            start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 180
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    httpx.get(f"{uri}/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            script = Path(__file__).with_name("log_models.py")
            logged = subprocess.run(
                [os.environ[MLFLOW], script, uri], check=True, capture_output=True, text=True
            )
            yield uri, logged.stdout.split()[-1]
        finally:
            os.killpg(process.pid, 15)
            process.wait()

    def test_versions_are_imported_from_a_real_server_and_verdicts_are_sent_back(
        home: Home,
        server: tuple[str, str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        uri, run_id = server
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert "late champion is version 1" in run("import", "mlflow:late@champion").output
        assert "already" in run("import", "mlflow:late/1").output
        registry = Registry(home)
        (version,) = registry.versions("late")
        lineage = version.manifest.lineage
        assert lineage["mlflow_tags"] == "team=delays"
        assert lineage["data"].startswith("flights@")
        assert version.manifest.description == "a first try"
        assert [one.name for one in version.manifest.features] == ["distance", "wind"]

        followed = run("follow", "mlflow", "late", "--once")
        assert "late version 2, sha256" in followed.output
        assert registry.aliases("late") == {"champion": "1"}, "following promotes nothing"
        assert run("follow", "mlflow", "late", "--once").output == ""
        registry.promote("late", "2", alias="challenger")
        assert "2 versions are tagged" in run("export", "mlflow", "late").output
        path = f"{uri}/api/2.0/mlflow/model-versions/get?name=late&version=2"
        tags = {tag["key"]: tag["value"] for tag in httpx.get(path).json()["model_version"]["tags"]}
        assert tags["driftline.aliases"] == "challenger"
        assert tags["driftline.verdict"] == "not gated"
        assert tags["driftline.version"] == "late/2"

        refused = run("import", "mlflow:pickled/1")
        assert isinstance(refused.exception, UnsupportedModel)
        assert "pickled" not in registry.models()
        assert "pickled version 1" in run("import", "mlflow:pickled/1", "--trust").output
        loose = run("import", f"mlflow:runs:/{run_id}/loose", "--name", "loose")
        assert "loose version 1" in loose.output, loose.exception
