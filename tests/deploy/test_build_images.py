"""The commands that deploy/build_images.py gives to an engine, which is a recorder here."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from deploy.build_images import base, megabytes, tag
from tests.deploy.images import ROOT, TARGETS

NOTES = """#!{python}
import json, sys
with open({notes!r}, "a") as file:
    file.write(json.dumps(sys.argv) + "\\n")
if "inspect" in sys.argv:
    print(225083080 if "-base:" in sys.argv[-1] else 691676874)
"""


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """A file with what is asked of podman and mmdebstrap, which are the only ones in its folder."""
    notes = tmp_path / "notes"
    for name in ("podman", "mmdebstrap"):
        (tmp_path / name).write_text(NOTES.format(python=sys.executable, notes=str(notes)))
        (tmp_path / name).chmod(0o755)
    return notes


def build(noted: Path, *words: str) -> tuple[list[list[str]], str]:
    """The commands that were given, and what was said in the end."""
    script = [sys.executable, ROOT / "deploy" / "build_images.py", *words]
    said = subprocess.run(
        script, env={"PATH": str(noted.parent)}, capture_output=True, text=True, check=True
    ).stdout
    commands = [msgspec.json.decode(line, type=list[str]) for line in noted.open()]
    return [[Path(first).name, *rest] for first, *rest in commands], said


@pytest.mark.parametrize(
    ("said", "meant"),
    [("691676874\n", 691.676874), ("692 MB", 692), ("1.11GB", 1110), ("13.8kB", 0.0138), ("0B", 0)],
)
def test_a_size_is_understood_from_every_engine(said: str, meant: float) -> None:
    assert megabytes(said) == pytest.approx(meant)


def test_image_names_equal_those_in_compose() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"].values()
    assert {one["image"] for one in services if "build" in one} == set(map(tag, TARGETS))


def test_every_image_is_built_with_its_health_check_and_weighed(noted: Path) -> None:
    commands, said = build(noted, "--", "--isolation=chroot")
    built = [words for words in commands if words[1] == "build"]
    assert [words[words.index("--target") + 1] for words in built] == ["base", *TARGETS]
    for words in built:
        assert words[:3] == ["podman", "build", "--format=docker"]
        assert words[-2:] == ["--isolation=chroot", "."]
    for target in TARGETS:
        assert f"| {tag(target)} | 0 | 692 | 467 |" in said


def test_a_base_of_debian_s_packages_stands_in_under_a_name_of_its_own(noted: Path) -> None:
    commands, _ = build(noted, "--base-from-debian")
    made, imported, *built = commands[:7]
    assert made[0] == "mmdebstrap"
    assert imported[imported.index("--tag") + 1] == "driftline-stand-in"
    for words in built:
        assert words[-2] == f"--build-context={base()}=docker-image://driftline-stand-in"


def test_a_machine_without_an_engine_is_reported(tmp_path: Path) -> None:
    script = [sys.executable, ROOT / "deploy" / "build_images.py"]
    done = subprocess.run(
        script, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "none of docker, podman, buildah is installed\n")
