"""The Dockerfile: linted, pinned, and copying existing files; test_images_run.py runs it."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.images import ROOT, TARGETS, TEXT, image


def test_the_linter_finds_no_fault() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    said = subprocess.run(
        [linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (said.stdout, said.returncode) == ("", 0)


def test_the_base_is_one_exact_release_and_every_package_is_pinned_by_hash() -> None:
    stages = set(re.findall(r" AS ([\w-]+)$", TEXT, re.MULTILINE))
    bases = set(re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)) - stages
    assert len(bases) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases.pop())
    for install in re.findall(r"pip install .*", TEXT):
        assert "--require-hashes" in install or install.endswith("--no-deps /wheel/*.whl")


def test_every_copied_file_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    for source in re.findall(r"^COPY (?!--from)(\S+)", TEXT, re.MULTILINE):
        assert (ROOT / source).exists()
        assert f"!{source.rstrip('/')}" in ignored


@pytest.mark.parametrize(
    ("name", "lock"),
    [
        ("service", "service.lock"),
        ("forwarder", "service.lock"),
        ("tools", "service.lock"),
        ("monitor", "monitoring.lock"),
    ],
)
def test_an_image_is_given_its_lock(name: str, lock: str) -> None:
    assert image(name).lock == lock


@pytest.mark.parametrize("name", TARGETS)
def test_an_image_has_no_root_and_stops_by_sigterm(name: str) -> None:
    made = image(name)
    assert made.user > 0
    assert made.account.split(":")[2:4] == [str(made.user)] * 2  # its group's number is fixed, too
    assert made.stop_signal == "SIGTERM"
    assert made.volumes == [made.home]
    assert made.entrypoint[0] == "python"  # no shell that would keep the signal


def test_the_tools_image_lists_models_with_only_its_lock_installed(
    tmp_path: Path, installed: Callable[[str], Path]
) -> None:
    made = image("tools")
    environment = {"DRIFTLINE_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    run = [installed(made.lock), *made.entrypoint[1:], *made.command]
    done = subprocess.run(
        run, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
