"""Removes from an environment what no image runs: python deploy/slim.py ENVIRONMENT.

Test suites, headers of C, widgets of notebooks, and those parts of Arrow that speak to other
systems. The tests run the images without them.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# Below site-packages. By package, because in some a folder named tests is not a test.
SUPERFLUOUS = (
    *(f"{name}/**/tests" for name in ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "zmq")),
    "statsmodels/**/tests",
    "statsmodels/datasets/*/*.csv",
    "onnx/backend/test",
    "tornado/test",
    "nltk/test",
    "pyarrow/include",
    "pyarrow/*arrow_flight*",
    "pyarrow/*arrow_python_flight*",
    "pyarrow/_flight.*.so",
    "pyarrow/*arrow_s3*",
    "pyarrow/_s3fs.*.so",
    "zstandard/_cffi.*.so",  # beside the one in C, for other interpreters
    "jupyterlab_plotly",
)


def superfluous(environment: Path) -> Iterator[Path]:
    """Yield files and folders that may go; none lies below another."""
    (packages,) = environment.glob("lib/python*/site-packages")
    for pattern in SUPERFLUOUS:
        for path in sorted(packages.glob(pattern)):
            if "tests" not in path.relative_to(packages).parts[:-1]:
                yield path


def slim(environment: Path) -> None:
    """Remove them."""
    for path in list(superfluous(environment)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
