"""An environment as an image has it: what a lock names, the wheel, and nothing else."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]


def install(lock: str, where: Path) -> Path:
    """Make the environment below `where`; gives its Python.

    The packages are links to those of the environment that runs the tests, so that nothing is
    fetched. What a lock does not name is not there, though the tests' own environment may have it.
    """
    beside = Path(sys.executable).parent
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", where], check=True)
    packages = next(where.glob("lib/python*/site-packages"))
    named = re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)
    for name in named:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for other systems
        tops = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
        for top in tops:
            link, there = packages / top, Path(str(found.locate_file(top)))
            if there.exists() and not link.is_symlink():
                link.symlink_to(there)
    wheels = where / "wheel"
    built = [beside / "hatchling", "build", "-t", "wheel", "-d", wheels]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True)
    python = where / "bin" / "python"
    subprocess.run(
        [beside / "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python,
         *wheels.glob("*.whl")], check=True,
    )  # fmt: skip
    return python
