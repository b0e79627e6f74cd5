"""The containers of the Kubernetes manifests, as commands for the tests' container engine."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.containers import Bind, Order, order
from tests.deploy.images import ROOT, image

FOLDER = ROOT / "deploy" / "kubernetes"


def _load(path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / path).read_text()))


def _configured() -> dict[str, str]:
    (made,) = _load("base/kustomization.yaml")[0]["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in made["literals"])


class Pod:
    """Orders for the containers of a pod, with its volumes below a folder."""

    def __init__(
        self, file: str, folder: Path, pythons: Mapping[str, Path], brought: Mapping[str, Path]
    ) -> None:
        """`brought` are volumes that are there before the pod is."""
        stated = _load(file)[0]["spec"]
        self._spec = stated.get("template", {}).get("spec", stated)
        self._folder = folder
        self._pythons = pythons
        self._brought = brought

    def order(self, name: str, secrets: Mapping[str, str], *more: Bind) -> Order:
        """A container; `secrets` are the values that its variables are given from."""
        stated = self._container(name)
        made = image(stated["image"].split(":")[0].removeprefix("driftline-"))
        context = self._spec.get("securityContext", {}) | stated["securityContext"]
        assert (context["readOnlyRootFilesystem"], context["runAsUser"]) == (True, made.user)
        binds, scratch = self._binds(stated, made.user)
        return order(
            f"pod-{name}",
            made,
            self._pythons[made.lock],
            command=[*stated.get("command", made.entrypoint), *stated.get("args", made.command)],
            environment=self._environment(stated, secrets),
            binds=[*binds, *more],
            scratch=scratch,
            health=self._health(stated),
        )

    def _container(self, name: str) -> dict[str, Any]:
        every = [*self._spec.get("initContainers", []), *self._spec["containers"]]
        (found,) = [one for one in every if one["name"] == name]
        return dict(found)

    def _health(self, stated: dict[str, Any]) -> list[str]:
        """What Kubernetes asks by HTTP, as a command."""
        if "readinessProbe" not in stated:
            return []
        asked = stated["readinessProbe"]["httpGet"]
        ports = {port["name"]: port["containerPort"] for port in stated["ports"]}
        port = ports.get(asked["port"], asked["port"])
        return ["python", "-m", "driftline", "probe", f"http://127.0.0.1:{port}{asked['path']}"]

    def _environment(self, stated: dict[str, Any], secrets: Mapping[str, str]) -> dict[str, str]:
        found = _configured() if "envFrom" in stated else {}
        for one in stated.get("env", []):
            if "value" in one:
                found[one["name"]] = one["value"]
            elif one["name"] in secrets:
                found[one["name"]] = secrets[one["name"]]
            else:
                assert one["valueFrom"]["secretKeyRef"]["optional"]
        return found

    def _binds(self, stated: dict[str, Any], user: int) -> tuple[list[Bind], list[str]]:
        binds, scratch = [], []
        for mount in stated["volumeMounts"]:
            name, target = mount["name"], mount["mountPath"]
            if name == "tmp":
                scratch.append(target)
                continue
            folder = self._brought.get(name, self._folder / "volumes" / name)
            if not mount.get("readOnly"):
                folder.mkdir(parents=True, exist_ok=True)
                os.chown(folder, user, user)
            binds.append(Bind(folder, target, writable=not mount.get("readOnly")))
        return binds, scratch
