"""The Compose file and its secrets: valid, protected, and referring to existing files."""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from standardwebhooks.webhooks import Webhook

from eventlog.kafka import KafkaSettings
from monitoring.settings import MonitorSettings
from service.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent


def test_compose_is_valid_and_names_existing_files() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    composed = DEPLOY / "compose.yaml"
    subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", composed], check=True)
    services = yaml.safe_load(composed.read_text())["services"]
    targets = set(re.findall(r" AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    known = {f"DRIFTLINE_SERVICE_{name.upper()}" for name in Settings.__struct_fields__}
    known |= {f"DRIFTLINE_MONITOR_{name.upper()}" for name in MonitorSettings.__struct_fields__}
    known |= {f"DRIFTLINE_KAFKA_{name.upper()}" for name in KafkaSettings.__struct_fields__}
    known |= {"DRIFTLINE_KEYS_FILE"}
    known |= {f"DRIFTLINE_FORWARDER_METRICS_{name}" for name in ("HOST", "PORT", "HOSTS")}
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert service.get("build", {}).get("target", "service") in targets
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "only this machine"
        for variable in service.get("environment", {}):
            assert not variable.startswith("DRIFTLINE_") or variable in known
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            made = source.startswith("./secrets/")  # by init.sh
            assert not source.startswith("./") or made or (DEPLOY / source).exists()


def test_secrets_are_made_once(tmp_path: Path, initialised: Callable[[], str]) -> None:
    assert "Wrote deploy/secrets" in initialised()
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert made["prometheus-key"].startswith("dl_")
    passwords = [made[name] for name in ("grafana-password", "kafka-forwarder", "kafka-monitor")]
    assert [len(one) for one in passwords] == [48, 48, 48]
    assert len(set(passwords)) == 3
    name, secret = made["webhook.env"].strip().split("=", 1)
    assert name in {f"DRIFTLINE_MONITOR_{one.upper()}" for one in MonitorSettings.__struct_fields__}
    assert Webhook(secret).sign("id", datetime.now(UTC), "body")
    jobs = yaml.safe_load(made["prometheus.yml"])["scrape_configs"]
    key = {"credentials_file": "/run/secrets/prometheus-key"}
    assert [job["authorization"] for job in jobs] == [key] * 3
    assert made["prometheus-key"].strip() not in made["keys.json"]
    assert "nothing was changed" in initialised()
    assert made == {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}


def test_the_monitor_accepts_the_host_name_that_prometheus_uses() -> None:
    environment = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["monitor"][
        "environment"
    ]
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in scraped["scrape_configs"]}
    (target,) = jobs["driftline-monitor"]["static_configs"][0]["targets"]
    assert target.split(":")[0] in environment["DRIFTLINE_MONITOR_PAGE_HOSTS"].split(",")


def test_kafka_keeps_its_data_on_its_volume() -> None:
    kafka = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["kafka"]
    (mount,) = kafka["volumes"]
    assert kafka["environment"]["KAFKA_LOG_DIRS"] == mount.split(":")[1]


def test_the_monitor_asks_the_example_receiver_and_reads_kafka() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    monitor, receiver = services["monitor"], services["receiver"]
    url = urlsplit(monitor["environment"]["DRIFTLINE_MONITOR_WEBHOOK_URL"])
    assert str(url.port) == receiver["command"][receiver["command"].index("--port") + 1]
    allowed = monitor["environment"]["DRIFTLINE_MONITOR_WEBHOOK_ALLOWED_HOSTS"].split(",")
    assert url.hostname in services
    assert url.hostname in allowed
    assert monitor["env_file"] == receiver["env_file"]
    assert monitor["environment"]["DRIFTLINE_MONITOR_SOURCE"] == "kafka"
    assert "ports" not in receiver


def test_every_kafka_client_needs_its_own_password() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    kafka = services["kafka"]["environment"]
    outside = [one for one in kafka["KAFKA_LISTENERS"].split(",") if "//127.0.0.1" not in one]
    protocols = dict(
        one.split(":") for one in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert [protocols[one.split(":")[0]] for one in outside] == ["SASL_PLAINTEXT"]
    for name in ("forwarder", "monitor"):
        given = services[name]["environment"]
        assert given["DRIFTLINE_KAFKA_SASL_USERNAME"] == name
        assert given["DRIFTLINE_KAFKA_SASL_PASSWORD_FILE"] == f"/run/secrets/kafka-{name}"
        assert f"kafka-{name}" in services[name]["secrets"]
