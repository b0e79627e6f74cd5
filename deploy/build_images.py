"""Build the four images with docker, podman or buildah and print their sizes: make images.

With `--base-from-debian`, a small Debian image with the same Python version replaces the base
image, for machines that can reach Debian's packages but no image registry. Use such images only
for trials. Arguments after `--` are passed to the engine's build command.
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
# Images in OCI format cannot have health checks; buildah shares stages only with `--layers`.
BUILD = {
    "docker": ["docker", "build"],
    "podman": ["podman", "build", "--format=docker"],
    "buildah": ["buildah", "build", "--format=docker", "--layers"],
}
SIZE_COMMANDS = {
    "docker": ["docker", "image", "inspect", "--format={{.Size}}"],
    "podman": ["podman", "image", "inspect", "--format={{.Size}}"],
    "buildah": ["buildah", "images", "--format={{.Size}}"],  # rounded to three figures
}
MEGABYTES = {"": 1e-6, "k": 1e-3, "M": 1.0, "G": 1e3}
STAND_IN = "driftline-stand-in"
RELEASE = "bookworm"  # its Python is 3.11, as in the base image


def find_engine() -> str:
    """Return the first installed engine."""
    for engine in BUILD:
        if shutil.which(engine):
            return engine
    sys.exit(f"none of {', '.join(BUILD)} is installed")


def tag(target: str) -> str:
    """Return the name of a stage's image, as in deploy/compose.yaml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return f"driftline-{target}:{project['version']}"


def base() -> str:
    """Return the image that all stages are based on."""
    match = re.search(r"^FROM (\S+) AS base$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert match
    return match[1]


def megabytes(text: str) -> float:
    """Parse a size as the engines print it: 691676874, 692MB, 1.11 GB."""
    size = re.fullmatch(r"([\d.]+)(?: ?([kMG]?)B)?", text.strip())
    assert size, text
    return float(size[1]) * MEGABYTES[size[2] or ""]


def image_megabytes(engine: str, name: str) -> float:
    """Return the size of an image with all its layers."""
    ask = [*SIZE_COMMANDS[engine], name]
    return megabytes(subprocess.run(ask, check=True, capture_output=True, text=True).stdout)


def stand_in(engine: str) -> list[str]:
    """Build a base image from Debian's packages; return the build options that use it.

    The image has its own name, so that it cannot be mistaken for the real base image.
    """
    links = [f"ln -s ../../bin/python3 $1/usr/local/bin/{name}" for name in ("python", "python3")]
    with tempfile.TemporaryDirectory() as folder:
        root = ["mmdebstrap", "--variant=minbase", "--include=python3-venv,ca-certificates"]
        hooks = [f"--customize-hook={link}" for link in links]
        subprocess.run([*root, *hooks, RELEASE, f"{folder}/root.tar"], check=True)
        (Path(folder) / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
        subprocess.run([*BUILD[engine], "--tag", STAND_IN, folder], check=True)
    return [f"--build-context={base()}=docker-image://{STAND_IN}"]


def build(engine: str, target: str, options: Sequence[str]) -> float:
    """Build the image of a stage; return the duration in seconds."""
    begun = time.monotonic()
    words = [*BUILD[engine], "--target", target, "--tag", tag(target), *options, "."]
    subprocess.run(words, cwd=ROOT, check=True)
    return time.monotonic() - begun


def main() -> None:
    """Build the images and print a Markdown table of their sizes in megabytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=BUILD, help="default: the first installed engine")
    parser.add_argument("--base-from-debian", action="store_true", help="needs mmdebstrap")
    parser.add_argument("options", nargs="*", help="options of the engine's build, after --")
    arguments = parser.parse_args()
    engine = arguments.engine or find_engine()
    options = [*arguments.options, *(stand_in(engine) if arguments.base_from_debian else [])]
    # The base is built first, so that its build time is not counted for the first image.
    seconds = {target: build(engine, target, options) for target in ("base", *TARGETS)}
    base_size = image_megabytes(engine, tag("base"))
    print("| image | seconds to build, after the rows above | size | size without base |")
    print("| --- | --- | --- | --- |")
    for target in TARGETS:
        size = image_megabytes(engine, tag(target))
        print(f"| {tag(target)} | {seconds[target]:.0f} | {size:.0f} | {size - base_size:.0f} |")


if __name__ == "__main__":
    main()
