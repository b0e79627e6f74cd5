"""Remove the files of an environment that no image needs: python deploy/slim.py ENVIRONMENT.

These are test suites, C headers, notebook widgets, and Arrow's clients of other systems. The tests
run the images without these files.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# Patterns below site-packages. Tests are listed by package, because some packages need a folder
# named `tests`.
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
    "zstandard/_cffi.*.so",  # for interpreters other than CPython
    "jupyterlab_plotly",
)


def superfluous(environment: Path) -> Iterator[Path]:
    """Yield the files and folders to remove; none is below another."""
    (packages,) = environment.glob("lib/python*/site-packages")
    for pattern in SUPERFLUOUS:
        for path in sorted(packages.glob(pattern)):
            if "tests" not in path.relative_to(packages).parts[:-1]:
                yield path


def slim(environment: Path) -> None:
    """Remove the superfluous files of an environment."""
    for path in list(superfluous(environment)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
