"""Print the size of each image without its base: python -m deploy.image_sizes.

Each environment is built from the same lock and in the same way as in the Dockerfile. The output is
the size of its files and of their gzip archive, which is close to the size in an image registry.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from deploy.slim import slim

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
LARGEST = 8
MEGABYTE = 1e6


def make(lock: str, where: Path) -> None:
    """Install the packages of a lock as the Dockerfile's build stages do."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", where], check=True)
    wheels = where.with_suffix(".wheel")
    build = [PROGRAMS / "hatchling", "build", "-t", "wheel", "-d", wheels]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    install = [PROGRAMS / "uv", "pip", "install", "--quiet", "--link-mode=copy"]
    environment = os.environ | {"VIRTUAL_ENV": str(where), "UV_COMPILE_BYTECODE": "1"}
    for what in (
        ["--require-hashes", "--no-deps", "-r", f"requirements/{lock}"],
        ["--no-deps", *wheels.glob("*.whl")],
    ):
        subprocess.run([*install, *what], cwd=ROOT, env=environment, check=True)


def size(folder: Path) -> int:
    """Return the total bytes of the files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def packed(folder: Path) -> int:
    """Return the bytes of a folder's gzip archive."""
    with tempfile.TemporaryFile() as file:
        subprocess.run(["tar", "-C", folder, "-czf", "-", "."], stdout=file, check=True)
        return file.tell()


def largest(folder: Path) -> str:
    """Return the names and megabytes of the largest packages, as text."""
    (packages,) = folder.glob("lib/python*/site-packages")
    sizes: Counter[str] = Counter()
    for path in packages.iterdir():
        name = path.name.removesuffix(".libs")
        sizes[name] += size(path) if path.is_dir() else path.stat().st_size
    most = sizes.most_common(LARGEST)
    return ", ".join(f"{name} {weight / MEGABYTE:.0f}" for name, weight in most)


def main() -> None:
    """Print a table in Markdown; all sizes are in megabytes."""
    print("| environment | installed | slimmed | gzip | largest packages |")
    print("| --- | --- | --- | --- | --- |")
    for lock in ("service.lock", "monitoring.lock"):
        with tempfile.TemporaryDirectory() as folder:
            where = Path(folder) / "opt"
            make(lock, where)
            before = size(where)
            slim(where)
            numbers = (before, size(where), packed(where))
            cells = " | ".join(f"{number / MEGABYTE:.0f}" for number in numbers)
            print(f"| {lock} | {cells} | {largest(where)} |", flush=True)


if __name__ == "__main__":
    main()
