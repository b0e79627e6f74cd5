"""The two wheels: the client without dependencies of the server, and the server."""

import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.installed import ROOT, build_wheels, closure, install_wheels

SERVER = ["access", "eventlog", "loadtests", "monitoring", "registry", "service", "telemetry"]


def _project(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def client(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which the client alone is installed."""
    needed = [one.split(">")[0] for one in _project(ROOT)["dependencies"]]
    where = tmp_path_factory.mktemp("client") / "env"
    return install_wheels(where, closure(needed), [w for w in wheels if "_server" not in w.name])


def _files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return {name for name in opened.namelist() if ".dist-info/" not in name}


def test_each_package_is_in_one_wheel_and_no_client_has_ours(wheels: list[Path]) -> None:
    client, server = map(_files, wheels)
    assert {name.split("/")[0] for name in client} == {"driftline"}
    assert sorted({name.split("/")[0] for name in server}) == SERVER
    assert not [name for name in client | server if name.endswith(".pyc")]
    assert "monitoring/web/templates/base.html" in server or any("templates" in n for n in server)


def test_every_tracked_file_of_a_package_is_in_a_wheel(wheels: list[Path]) -> None:
    listed = ["git", "ls-files", "driftline", *SERVER]
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(tracked.split()) == set().union(*map(_files, wheels))


def test_both_wheels_have_one_version_and_the_extras_install_it() -> None:
    project, server = _project(ROOT), _project(ROOT / "server")
    assert project["version"] == server["version"]
    pin = f"driftline-server=={server['version']}"
    extras = project["optional-dependencies"]
    assert all(pin in extras[name] for name in ("registry", "eventlog"))


def _run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *arguments], cwd=folder, capture_output=True, text=True, check=False, env={}
    )


def test_the_client_imports_next_to_modules_of_any_name(client: Path, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("name = 'mine'")
    (tmp_path / "monitoring.py").write_text("name = 'mine'")
    program = "import service, monitoring, driftline; driftline.Client(); print(service.name)"
    done = _run(client, tmp_path, "-c", program)
    assert (done.stdout, done.stderr) == ("mine\n", "")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("serve", "service"),
        ("monitor --until-idle", "monitoring"),
        ("models", "registry"),
        ("up", "service,monitoring"),
        ("events count", "eventlog"),
        ("load", "loadtests"),
    ],
)
def test_a_missing_command_names_its_package(
    client: Path, tmp_path: Path, command: str, extra: str
) -> None:
    done = _run(client, tmp_path, "-m", "driftline", *command.split())
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"driftline: driftline {command.split(maxsplit=1)[0]}: package ")
    assert line.endswith(f"is not installed: pip install 'driftline[{extra}]'")
    assert done.returncode == 1


def test_registration_without_its_package_names_it(client: Path, tmp_path: Path) -> None:
    done = _run(client, tmp_path, "-c", "from driftline import register")
    assert "driftline.register: package" in done.stderr
    assert done.stderr.strip().endswith("pip install 'driftline[registry]'")


def test_help_lists_every_command_of_a_client(client: Path, tmp_path: Path) -> None:
    done = _run(client, tmp_path, "-m", "driftline", "--help")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "serve Not installed: pip install 'driftline[service]'." in lines
    assert "probe Exit 0 if a URL returns 2xx, else 1." in lines
    assert done.stderr == ""
