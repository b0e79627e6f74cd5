"""An environment as an image or a client has it: what is named, our wheels, and nothing else."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BESIDE = Path(sys.executable).parent


def install(lock: str, where: Path) -> Path:
    """Make the environment of an image below `where`: what its lock names; gives its Python."""
    named = re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)
    return install_wheels(where, named, build_wheels(where / "wheel"))


def install_wheels(where: Path, names: Iterable[str], wheels: Iterable[Path]) -> Path:
    """Make an environment with these wheels and packages below `where`; gives its Python.

    The packages are links to those of the environment that runs the tests, so that nothing is
    fetched. What is not named is not there, though the tests' own environment may have it.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", where], check=True)
    packages = next(where.glob("lib/python*/site-packages"))
    for name in names:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for other systems
        tops = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
        for top in tops:
            link, there = packages / top, Path(str(found.locate_file(top)))
            if there.exists() and not link.is_symlink():
                link.symlink_to(there)
    python = where / "bin" / "python"
    subprocess.run(
        [_BESIDE / "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python,
         *wheels], check=True,
    )  # fmt: skip
    return python


def build_wheels(where: Path) -> list[Path]:
    """Build the wheels of the client and of the server."""
    for project in (ROOT, ROOT / "server"):
        built = [_BESIDE / "hatchling", "build", "-t", "wheel", "-d", where]
        subprocess.run(built, cwd=project, check=True, capture_output=True)
    return sorted(where.glob("*.whl"))


def closure(names: Iterable[str]) -> Iterator[str]:
    """Yield packages and what they require here, without extras."""
    waiting, found = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        yield name
        try:
            required = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        waiting += [re.split(r"[^\w.-]", one)[0] for one in required if "extra ==" not in one]
