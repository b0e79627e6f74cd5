"""The Kubernetes manifests are valid and agree with the code; test_images_run.py runs them."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml
from click.testing import CliRunner

from driftline.provision import provision
from eventlog.errors import DriftlineError
from eventlog.kafka_settings import KafkaSettings
from eventlog.settings import LOG_PREFIX, ForwarderSettings, Home, LogSettings
from monitoring.settings import PREFIX as MONITOR_PREFIX
from monitoring.settings import MonitorSettings
from registry.store import Registry
from service.settings import PREFIX as SERVICE_PREFIX
from service.settings import Settings
from telemetry.logs import PREFIX as LOGGING_PREFIX
from telemetry.logs import LoggingSettings
from tests.tiny_model import register_tiny

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
CUSTOM = {"ServiceMonitor", "ServingRuntime", "InferenceService", "Kustomization"}
KNOWN = {"DRIFTLINE_KEYS_FILE"} | {
    f"{prefix}{field.name.upper()}"
    for prefix, kind in {
        SERVICE_PREFIX: Settings,
        LOG_PREFIX: LogSettings,
        "DRIFTLINE_KAFKA_": KafkaSettings,
        "DRIFTLINE_FORWARDER_": ForwarderSettings,
        MONITOR_PREFIX: MonitorSettings,
        LOGGING_PREFIX: LoggingSettings,
    }.items()
    for field in msgspec.structs.fields(kind)
}


def _objects() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.name, one)
        for path in sorted(FOLDER.rglob("*.yaml"))
        for one in yaml.safe_load_all(path.read_text())
    ]


def _pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for _, one in _objects():
        if one["kind"] == "StatefulSet":
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
        elif one["kind"] == "ServingRuntime":
            yield one["metadata"]["name"], one["spec"]


@pytest.mark.parametrize(
    "one",
    [one for _, one in _objects() if one["kind"] not in CUSTOM],
    ids=lambda one: f"{one['kind']}-{one['metadata']['name']}",
)
def test_every_object_is_valid_for_kubernetes(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_every_kustomization_names_existing_files() -> None:
    for path in FOLDER.rglob("kustomization.yaml"):
        for resource in yaml.safe_load(path.read_text())["resources"]:
            assert (path.parent / resource).exists(), f"{path}: {resource}"
        here = {one.name for one in path.parent.glob("*.yaml")} - {path.name}
        assert here <= set(yaml.safe_load(path.read_text())["resources"])


def test_variables_are_settings_and_mounts_are_volumes() -> None:
    stated = set(
        re.findall(r"DRIFTLINE_[A-Z_]+", "".join(p.read_text() for p in FOLDER.rglob("*.yaml")))
    )
    assert stated - KNOWN == set()
    claims = {
        one["metadata"]["name"]: {
            c["metadata"]["name"] for c in one["spec"]["volumeClaimTemplates"]
        }
        for _, one in _objects()
        if one["kind"] == "StatefulSet"
    }
    for name, pod in _pods():
        volumes = {volume["name"] for volume in pod["volumes"]} | claims.get(name, set())
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_service_variables_of_the_cluster_set_no_setting() -> None:
    pods = [o["spec"]["template"]["spec"] for _, o in _objects() if o["kind"] == "StatefulSet"]
    assert pods
    assert all(pod["enableServiceLinks"] is False for pod in pods)


def test_nothing_runs_with_more_than_it_needs() -> None:
    for _, pod in _pods():
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            context = pod.get("securityContext", {}) | container["securityContext"]
            assert context["runAsNonRoot"]
            assert context["runAsUser"] == 10001  # as the images have it
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert {"requests", "limits"} <= set(container["resources"])


def test_selectors_ports_and_metrics_meet() -> None:
    objects = [one for _, one in _objects()]
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]
        for one in objects
        if one["kind"] == "StatefulSet"
    }
    for one in objects:
        if one["kind"] == "Service":
            template = pods[one["metadata"]["name"]]
            assert one["spec"]["selector"].items() <= template["metadata"]["labels"].items()
            ports = {
                port["name"] for c in template["spec"]["containers"] for port in c.get("ports", [])
            }
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports
        elif one["kind"] == "HorizontalPodAutoscaler":
            assert one["spec"]["scaleTargetRef"]["name"] in pods
            metric = one["spec"]["metrics"][0]["pods"]["metric"]["name"]
            assert f"`{metric}`" in (FOLDER.parents[1] / "docs" / "metrics.md").read_text()


def test_a_pod_has_time_to_finish_accepted_requests() -> None:
    (pod,) = [pod for name, pod in _pods() if name == "driftline-service"]
    service, forwarder = pod["containers"]
    grace = next(e["value"] for e in service["env"] if e["name"].endswith("SHUTDOWN_GRACE_S"))
    waits = [
        int(re.findall(r"sleep\((\d+)\)", str(one["lifecycle"]["preStop"]))[0])
        for one in (service, forwarder)
    ]
    assert waits[1] > waits[0] + int(grace)  # the forwarder ends last
    assert pod["terminationGracePeriodSeconds"] > waits[1] + 10


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three files of a version."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "elsewhere" / "bentoml"))
    made = tmp_path / "files"
    register_tiny(Registry(Home(tmp_path / "elsewhere")), made)
    return made


def test_a_folder_of_models_is_provisioned_once_and_followed_after(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    models = tmp_path / "models"
    for number in ("2", "10"):
        shutil.copytree(files, models / "tiny" / number)
        with (models / "tiny" / number / "manifest.yaml").open("a") as manifest:
            manifest.write(f"\ndescription: the {number}th\n")
    said = CliRunner().invoke(provision, [str(models)], catch_exceptions=False).output
    assert "tiny champion is version 2" in said
    registry = Registry(Home(tmp_path / "home"))
    texts = [version.manifest.description for version in registry.versions("tiny")]
    assert texts == ["the 2th", "the 10th"]
    before = registry.revision()
    CliRunner().invoke(provision, [str(models)], catch_exceptions=False)
    assert registry.revision() == before
    (models / "tiny" / "aliases.yaml").write_text("champion: 2\nchallenger: 10\n")
    CliRunner().invoke(provision, [str(models)], catch_exceptions=False)
    assert registry.aliases("tiny") == {"champion": "1", "challenger": "2"}


@pytest.mark.parametrize(
    ("aliases", "words"),
    [("champion: 7", "no folder 7; expected one of 1"), ("- 1", "expected lines `alias: folder`")],
)
def test_a_model_that_cannot_be_provisioned_is_reported(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aliases: str, words: str
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    with pytest.raises(DriftlineError, match="expected MODEL/VERSION/"):
        CliRunner().invoke(provision, [str(tmp_path)], catch_exceptions=False)
    shutil.copytree(files, tmp_path / "models" / "tiny" / "1")
    (tmp_path / "models" / "tiny" / "aliases.yaml").write_text(aliases)
    with pytest.raises(DriftlineError, match=words):
        CliRunner().invoke(provision, [str(tmp_path / "models")], catch_exceptions=False)


def test_a_model_file_alone_is_provisioned(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    (tmp_path / "models" / "bare" / "1").mkdir(parents=True)
    shutil.copy(files / "model.onnx", tmp_path / "models" / "bare" / "1")
    found = CliRunner().invoke(provision, [str(tmp_path / "models")], catch_exceptions=False)
    assert "bare champion is version 1" in found.output


def test_kserve_gets_the_open_protocol() -> None:
    (runtime,) = [one for _, one in _objects() if one["kind"] == "ServingRuntime"]
    assert runtime["spec"]["protocolVersions"] == ["v2", "grpc-v2"]
