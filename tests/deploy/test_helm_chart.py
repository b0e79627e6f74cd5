"""The Helm chart, rendered by Helm: the objects of the Kustomize manifests, and its options."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

_DEPLOY = Path(__file__).parents[2] / "deploy"
_CHART, _KUSTOMIZE = _DEPLOY / "helm" / "driftline", _DEPLOY / "kubernetes"
_HELM = Path(sys.executable).with_name("helm")
_CUSTOM = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}
# What only one of both adds, and what a release must have to live beside another one.
_OF_HELM = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "checksum/settings",
    "helm.sh/chart",
}

pytestmark = pytest.mark.skipif(not _HELM.exists(), reason="no Helm for this machine")


def _helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_HELM, *arguments], capture_output=True, text=True, check=False)


def _rendered(values: dict[str, Any], release: str = "driftline") -> list[dict[str, Any]]:
    stated = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    done = _helm("template", release, str(_CHART), *stated)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def _refused(values: dict[str, Any]) -> str:
    stated = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    done = _helm("template", "driftline", str(_CHART), *stated)
    assert done.returncode != 0
    return done.stderr


def _named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))


def _plain(value: Any) -> Any:
    """A value without what Helm or Kustomize add to it."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _plain(one) for name, one in value.items() if name not in _OF_HELM}
    found.pop("imagePullPolicy", None)
    if "image" in found:
        found["image"] = str(found["image"]).partition(":")[0]
    return {
        name: one for name, one in found.items() if one or name not in {"labels", "annotations"}
    }


def test_the_default_chart_equals_the_kustomization() -> None:
    there = {
        (one["kind"], one["metadata"]["name"]): one
        for folder in ("base", "production")
        for path in sorted((_KUSTOMIZE / folder).glob("*.yaml"))
        for one in yaml.safe_load_all(path.read_text())
        if one["kind"] != "Kustomization"
    }
    del there["StatefulSet", "driftline-service"]["spec"]["replicas"]  # the autoscaler decides
    here = {(one["kind"], one["metadata"]["name"]): one for one in _rendered({})}
    rules = {place for place in here if place[0] == "PrometheusRule"}
    assert here.keys() == there.keys() | rules | {("ConfigMap", "driftline")}  # of a generator
    for place, one in there.items():
        for found in (one, here[place]):
            found["metadata"].pop("labels", None)
        assert _plain(here[place]) == _plain(one), place


_OPTIONS: list[dict[str, Any]] = [
    {},
    {"autoscaling.enabled": False, "service.replicas": 4},
    {"ingress": {"enabled": True, "host": "models.example.com", "tlsSecret": "tls"}},
    {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}, "image.registry": "a/b"},
    {"models.claim": "", "secrets.registry": "registry", "secrets.artifacts": "s3"},
    {
        "image.pullSecrets": ["pull"],
        "service.tolerations": [{"key": "gpu", "operator": "Exists"}],
        "monitor.nodeSelector": {"pool": "batch"},
        "service.extraEnv": [{"name": "DRIFTLINE_SERVICE_MEMORY", "value": "1GiB"}],
        "monitor.storageClass": "fast",
        "networkPolicy.enabled": False,
    },
]


@pytest.mark.parametrize("values", _OPTIONS, ids=lambda one: ", ".join(one) or "defaults")
def test_every_object_is_valid_for_kubernetes(values: dict[str, Any]) -> None:
    for one in _rendered(values, "prod"):
        if one["kind"] not in _CUSTOM:
            kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_two_releases_share_no_name_and_select_no_pod_of_the_other() -> None:
    first, second = _rendered({}, "blue"), _rendered({}, "green")
    assert not {(one["kind"], one["metadata"]["name"]) for one in first} & {
        (one["kind"], one["metadata"]["name"]) for one in second
    }
    service = _named(first, "Service", "blue-driftline-service")
    pods = _named(second, "StatefulSet", "green-driftline-service")["spec"]["template"]
    assert not service["spec"]["selector"].items() <= pods["metadata"]["labels"].items()


def test_prometheus_finds_both_services_of_a_release() -> None:
    objects = _rendered({}, "blue")
    wanted = _named(objects, "ServiceMonitor", "blue-driftline")["spec"]["selector"]["matchLabels"]
    for part in ("service", "monitor"):
        service = _named(objects, "Service", f"blue-driftline-{part}")
        assert wanted.items() <= service["metadata"]["labels"].items()


def test_the_rules_equal_prometheus_rules() -> None:
    objects = _rendered({"metrics.labels": {"release": "prometheus"}})
    for name in ("recording", "alerts"):
        there = yaml.safe_load((_DEPLOY / "prometheus" / "rules" / f"{name}.yml").read_text())
        rule = _named(objects, "PrometheusRule", f"driftline-{name}")
        assert rule["spec"] == there
        assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_the_charts_rules_are_copies_of_prometheus() -> None:
    for rules in (_DEPLOY / "prometheus" / "rules").iterdir():
        copy = _CHART / "rules" / rules.name
        assert copy.read_text() == rules.read_text(), "run python deploy/helm/copy_rules.py"


def test_alerts_link_to_published_runbooks() -> None:
    objects = _rendered({"metrics.runbooks": "https://docs.example.com/runbooks/"})
    groups = _named(objects, "PrometheusRule", "driftline-alerts")["spec"]["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        name = rule["alert"]
        assert rule["annotations"]["runbook_url"].startswith("https://docs.example.com/runbooks/")
        assert name in rule["annotations"]["runbook_url"]


def test_a_longer_grace_period_leaves_time_to_forward_accepted_events() -> None:
    objects = _rendered({"service.shutdownGraceSeconds": 100})
    pod = _named(objects, "StatefulSet", "driftline-service")["spec"]["template"]["spec"]
    forwarder = pod["containers"][1]["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert pod["terminationGracePeriodSeconds"] == 140
    assert forwarder.endswith("time.sleep(115)")


def test_a_changed_setting_restarts_the_pods() -> None:
    kind, name = "StatefulSet", "driftline-monitor"
    first = _named(_rendered({}), kind, name)
    second = _named(_rendered({"settings.DRIFTLINE_LOGGING_FORMAT": "text"}), kind, name)
    assert first["spec"]["template"]["metadata"] != second["spec"]["template"]["metadata"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"service.worker": 3}, "worker"),
        ({"service.workers": 0}, "service.workers"),
        ({"settings.KAFKA": "x"}, "KAFKA"),
        ({"ingress.enabled": True}, "ingress.host"),
        ({"httpRoute.enabled": True}, "httpRoute.parentRefs"),
        ({"secrets.keys": ""}, "secrets.keys"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], message: str) -> None:
    assert message in _refused(values)
