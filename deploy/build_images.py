"""Builds the four images with the engine that is here, and says what they weigh: make images.

With `--base-from-debian` a small Debian with the same Python stands in for the base image: for
machines that reach Debian's packages but no registry. Such images are for trying out, not to be
published. Words after `--` go to the engine's build as they are.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGETS = ("service", "monitor", "forwarder", "tools")
# OCI's own format has no health check; buildah shares stages only with an option.
BUILD = {
    "docker": ["docker", "build"],
    "podman": ["podman", "build", "--format=docker"],
    "buildah": ["buildah", "build", "--format=docker", "--layers"],
}
WEIGH = {
    "docker": ["docker", "image", "inspect", "--format={{.Size}}"],
    "podman": ["podman", "image", "inspect", "--format={{.Size}}"],
    "buildah": ["buildah", "images", "--format={{.Size}}"],  # rounded to three figures
}
MEGABYTES = {"": 1e-6, "k": 1e-3, "M": 1.0, "G": 1e3}
STAND_IN = "driftline-stand-in"
RELEASE = "bookworm"  # its Python is 3.11, like the base's


def find_engine() -> str:
    """Return the first engine that is here."""
    for engine in BUILD:
        if shutil.which(engine):
            return engine
    sys.exit(f"none of {', '.join(BUILD)} is here")


def tag(target: str) -> str:
    """Return the name of a stage's image, as deploy/compose.yaml spells it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return f"driftline-{target}:{project['version']}"


def base() -> str:
    """Return the image that all others begin with."""
    match = re.search(r"^FROM (\S+) AS base$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert match
    return match[1]


def megabytes(text: str) -> float:
    """Return a size as the engines say it: 691676874, 692MB, 1.11 GB."""
    size = re.fullmatch(r"([\d.]+)(?: ?([kMG]?)B)?", text.strip())
    assert size, text
    return float(size[1]) * MEGABYTES[size[2] or ""]


def weight(engine: str, name: str) -> float:
    """Return megabytes of an image with all its layers."""
    ask = [*WEIGH[engine], name]
    return megabytes(subprocess.run(ask, check=True, capture_output=True, text=True).stdout)


def stand_in(engine: str) -> list[str]:
    """Make the base of Debian's packages; the words that have a build take it for its base.

    It has a name of its own, so that nothing here ever passes for the real one.
    """
    links = [f"ln -s ../../bin/python3 $1/usr/local/bin/{name}" for name in ("python", "python3")]
    with tempfile.TemporaryDirectory() as folder:
        root = ["mmdebstrap", "--variant=minbase", "--include=python3-venv,ca-certificates"]
        hooks = [f"--customize-hook={link}" for link in links]
        subprocess.run([*root, *hooks, RELEASE, f"{folder}/root.tar"], check=True)
        (Path(folder) / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
        subprocess.run([*BUILD[engine], "--tag", STAND_IN, folder], check=True)
    return [f"--build-context={base()}=docker-image://{STAND_IN}"]


def build(engine: str, target: str, more: Sequence[str]) -> float:
    """Build the image of a stage; the seconds that it took."""
    begun = time.monotonic()
    words = [*BUILD[engine], "--target", target, "--tag", tag(target), *more, "."]
    subprocess.run(words, cwd=ROOT, check=True)
    return time.monotonic() - begun


def main() -> None:
    """Build them and print a table in Markdown; sizes in megabytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=BUILD, help="instead of the first that is here")
    parser.add_argument("--base-from-debian", action="store_true", help="needs mmdebstrap")
    parser.add_argument("more", nargs="*", help="for the engine's build, after --")
    arguments = parser.parse_args()
    engine = arguments.engine or find_engine()
    more = [*arguments.more, *(stand_in(engine) if arguments.base_from_debian else [])]
    # Built first, so that what each image adds to it is known.
    seconds = {target: build(engine, target, more) for target in ("base", *TARGETS)}
    beneath = weight(engine, tag("base"))
    print("| image | seconds to build, after those above | size | beside its base |")
    print("| --- | --- | --- | --- |")
    for target in TARGETS:
        whole = weight(engine, tag(target))
        print(f"| {tag(target)} | {seconds[target]:.0f} | {whole:.0f} | {whole - beneath:.0f} |")


if __name__ == "__main__":
    main()
