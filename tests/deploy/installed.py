"""An environment with only the locked packages and our wheels, as in an image."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BESIDE = Path(sys.executable).parent


def install(lock: str, where: Path) -> Path:
    """Create an image's environment, with its lock's packages, below `where`; return its Python."""
    named = re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)
    return install_wheels(where, named, build_wheels(where / "wheel"))


def install_wheels(where: Path, names: Iterable[str], wheels: Iterable[Path]) -> Path:
    """Create an environment with these wheels and packages below `where`; return its Python.

    The packages are links into the tests' environment, so nothing is fetched. Packages that are not
    named are missing, although the tests' environment may have them.
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
    """Yield packages and their requirements on this system, without extras."""
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
