"""The containers of the Compose file, as commands for the tests' container engine."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.containers import Bind, Order, order
from tests.deploy.images import ROOT, image

DEPLOY = ROOT / "deploy"
SERVICES: Mapping[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())[
    "services"
]
_KAFKA_USER = 1000  # of Apache's image
_JAVA = "java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp '/opt/kafka/libs/*'"
_FINAL = "/opt/kafka/config"
# As Apache's image: its own program makes the configuration from the environment, and formats.
_KAFKA_START = f"""
{_JAVA} kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \
    --mounted-configs-dir /mnt --final-configs-dir {_FINAL}
exec {_JAVA} kafka.Kafka {_FINAL}/server.properties
"""
_KAFKA_LOGS = "Configuration: {Loggers: {Root: {level: INFO}, Logger: []}}\n"
_KAFKA_TOOLS = {
    "acls": "org.apache.kafka.tools.AclCommand",
    "configs": "kafka.admin.ConfigCommand",
    "topics": "org.apache.kafka.tools.TopicCommand",
}


class Composed:
    """Orders for the services of the Compose file, with volumes and secrets below a folder."""

    def __init__(self, folder: Path, secrets: Path, pythons: Mapping[str, Path]) -> None:
        """`pythons` are the environments by lock; `secrets` is what deploy/init.sh made."""
        self._folder = folder
        self._secrets = secrets
        self._pythons = pythons

    def order(self, name: str) -> Order:
        """A service of one of our own images."""
        stated = SERVICES[name]
        made = image(stated["image"].split(":")[0].removeprefix("driftline-"))
        assert stated["read_only"]
        entry = stated.get("entrypoint", made.entrypoint)
        return order(
            name,
            made,
            self._pythons[made.lock],
            command=[*entry, *stated.get("command", made.command)],
            environment=self._environment(name),
            binds=self._binds(name, made.user),
            scratch=stated["tmpfs"],
        )

    def tools(self, verb: str, words: list[str], *binds: Bind) -> Order:
        """`docker run driftline-tools VERB WORDS` with the home of the others."""
        made = image("tools")
        home = Bind(self.volume("home", made.user), "/var/lib/driftline", writable=True)
        return order(
            verb,
            made,
            self._pythons[made.lock],
            command=[*made.entrypoint, verb, *words],
            binds=[home, *binds],
            scratch=["/tmp"],
        )

    def kafka(self, name: str, libraries: Path) -> Order:
        """The broker, or its tools, as Apache's image has them; its shell scripts are ours."""
        stated = SERVICES[name]
        at = self._folder / f"opt-{name}"
        (at / "bin").mkdir(parents=True)
        (at / "defaults").mkdir()
        for file in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
            (at / "defaults" / file).write_text(_KAFKA_LOGS if "yaml" in file else "\n")
        for tool, main in _KAFKA_TOOLS.items():
            script = at / "bin" / f"kafka-{tool}.sh"
            script.write_text(f'#!/bin/sh\nexec {_JAVA} {main} "$@"\n')
            script.chmod(0o755)
        binds = [
            Bind(at / "bin", "/opt/kafka/bin"),
            Bind(at / "defaults", "/etc/kafka/docker"),
            Bind(libraries, "/opt/kafka/libs"),
            *self._binds(name, _KAFKA_USER),
        ]
        return Order(
            name,
            _KAFKA_USER,
            stated.get("entrypoint", ["sh", "-euc", _KAFKA_START]),
            {"PATH": os.environ["PATH"], "CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw"}
            | self._environment(name),
            "/opt/kafka",
            f"appuser:x:{_KAFKA_USER}:{_KAFKA_USER}::/home/appuser:/bin/sh",
            binds,
            ["/tmp", _FINAL],
            stated["healthcheck"]["test"][1:] if "healthcheck" in stated else [],
        )

    def volume(self, name: str, user: int) -> Path:
        """A volume's folder, which an engine gives to the image's user."""
        folder = self._folder / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, user, user)
        return folder

    def _binds(self, name: str, user: int) -> list[Bind]:
        stated = SERVICES[name]
        binds = [
            Bind(self._secrets / one, f"/run/secrets/{one}") for one in stated.get("secrets", [])
        ]
        for mount in stated.get("volumes", []):
            source, target = mount.split(":")[:2]
            if source.startswith("."):
                assert mount.endswith(":ro")
                binds.append(Bind((DEPLOY / source).resolve(), target))
            else:
                binds.append(Bind(self.volume(source, user), target, writable=True))
        return binds

    def _environment(self, name: str) -> dict[str, str]:
        stated = SERVICES[name]
        found: dict[str, str] = {}
        for file in stated.get("env_file", []):
            lines = (self._secrets / Path(file).name).read_text().split()
            found |= dict(line.split("=", 1) for line in lines)
        given = stated.get("environment", {}).items()
        return found | {key: re.sub(r"\$\{\w+:-(\w*)\}", r"\1", value) for key, value in given}
