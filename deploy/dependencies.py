"""Write NOTICE, docs/dependencies.md and the bills of materials: python deploy/dependencies.py.

Names, versions and hashes are read from the locks; licences and sizes from the installed packages.
Nothing is downloaded. `python deploy/dependencies.py sbom FOLDER` writes CycloneDX for each image.
"""

import importlib.metadata
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
IMAGES = {"service": "service, forwarder and tools", "monitoring": "monitor"}
_PIN = re.compile(
    r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+?)(?: ; [^\\\n]+)? \\\n((?:    --hash=\S+(?: \\)?\n)+)",
    re.MULTILINE,
)
_HASH = re.compile(r"sha256:(\w+)")
_SPDX = {  # licence names in package metadata that are not SPDX expressions
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "2-clause BSD": "BSD-2-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "PSFL": "PSF-2.0",
}
# Packages whose metadata states no licence, or only a family of licences. Read from their files.
STATED = {
    "click-option-group": "BSD-3-Clause",
    "colorama": "BSD-3-Clause",
    "cronsim": "BSD-3-Clause",
    "httpcore": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "lz4": "BSD-3-Clause",
    "nvidia-ml-py": "BSD-3-Clause",
    "pathspec": "MPL-2.0",
    "scipy": "BSD-3-Clause",
    "uvloop": "Apache-2.0 OR MIT",
}
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "CC0-1.0",
    "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "TCL", "Zlib",
}  # fmt: skip
# Libraries under the LGPL, which requires that users can replace them.
LGPL = {"crc32c", "psycopg", "psycopg-binary"}
WHY = {
    "alembic": "upgrades of the databases' schemas",
    "bentoml": "workers, supervision, model store, REST pages and client",
    "blake3": "digests of large payloads that are not logged",
    "click": "the command line",
    "cronsim": "times of retraining schedules, including daylight saving",
    "cryptography": "signatures of heads of the registry's history, and of tokens",
    "evidently": "drift statistics and the HTML report",
    "fsspec": "model files on S3, GCS and other stores",
    "grpcio": "the gRPC server `aio`, and the gRPC clients of the tests",
    "grpcio-health-checking": "the standard health service of gRPC",
    "grpcio-reflection": "the list of methods for tools such as grpcurl",
    "httptools": "the HTTP/1.1 parser",
    "httpx": "the Python client, and webhooks",
    "jinja2": "the status page's templates",
    "kafka-python": "forwarding to and reading from Kafka",
    "msgspec": "JSON, settings, events: validation while decoding",
    "numpy": "tensors",
    "onnx": "reading and checking model files",
    "onnxruntime": "running models",
    "opentelemetry-exporter-otlp-proto-http": "traces",
    "opentelemetry-sdk": "traces",
    "pandas": "tables of references and windows",
    "pillow": "pictures of sampled inputs on the status page",
    "prometheus-client": "metrics",
    "protobuf": "messages of gRPC and of model files",
    "psycopg": "PostgreSQL",
    "pyarrow": "Parquet",
    "pyjwt": "tokens of an identity provider",
    "pyyaml": "manifests and policies",
    "rich": "tables on a terminal",
    "scikit-learn": "calibration and models of errors",
    "scipy": "statistical tests and intervals",
    "sqlalchemy": "definitions of queries, for SQLite and PostgreSQL",
    "standardwebhooks": "signatures of webhooks",
    "starlette": "the status page",
    "threadpoolctl": "one thread for each scoring process",
    "tzdata": "time zones of schedules, if the machine has none",
    "uvicorn": "HTTP connections",
    "uvloop": "the event loop",
    "zttp": "HTTP/2 of the native gRPC server",
}


class Package(NamedTuple):
    """One pinned package."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str
    size: int  # bytes, installed


def locked(lock: str) -> list[Package]:
    """Return the packages of a lock; KeyError if a licence is unknown."""
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    return [
        Package(
            name, version, tuple(re.findall(r"sha256:(\w+)", hashes)), licence(name), size(name)
        )
        for name, version, hashes in _PIN.findall(text)
    ]


def licence(name: str) -> str:
    """Return the SPDX expression of an installed package."""
    if name in STATED:
        return STATED[name]
    metadata = importlib.metadata.metadata(name)
    classifiers = metadata.get_all("Classifier") or []
    licences = [
        metadata.get("License-Expression"),
        (metadata.get("License") or "").strip().split("\n")[0],
        *(
            classifier.rsplit(" :: ", 1)[-1]
            for classifier in classifiers
            if classifier.startswith("License ::")
        ),
    ]
    for text in filter(None, licences):
        expression = _SPDX.get(text, text)
        if set(re.split(r" (?:AND|OR|WITH) ", expression)) <= ALLOWED or name in LGPL:
            return expression
    raise KeyError(
        f"{name}: no licence is known: {licences}; read its licence and add it to STATED"
    )


def size(name: str) -> int:
    """Return the bytes of an installed package."""
    return sum(file.size or 0 for file in importlib.metadata.files(name) or [])


def notice() -> str:
    """Return the content of NOTICE."""
    packages = {package.name: package for lock in IMAGES for package in locked(lock)}
    width = max(map(len, packages)) + 2
    lines = [f"{name:<{width}}{packages[name].licence}" for name in sorted(packages)]
    return "\n".join(
        [
            "Driftline",
            "",
            "Licensed under the Apache License, Version 2.0 (see LICENSE).",
            "",
            "Driftline contains no code of other projects. The packages that it needs at run time",
            "are installed unchanged. Each of them contains the text of its licence:",
            "",
            *lines,
            "",
            "crc32c, psycopg and psycopg-binary are libraries under the LGPL. They are separate",
            "packages, which can be replaced. The wheels of NumPy, SciPy and ONNX Runtime contain",
            "the notices of the libraries in them.",
            "",
        ]
    )


def page() -> str:
    """Return the content of docs/dependencies.md."""
    direct = _direct()
    by_lock = {lock: {package.name: package for package in locked(lock)} for lock in IMAGES}
    everything = {
        name: package for packages in by_lock.values() for name, package in packages.items()
    }
    chosen = sorted(name for name in everything if name in direct)
    if missing := [name for name in chosen if name not in WHY]:
        raise KeyError(f"{missing}: state the reason of each package in WHY")
    lines = [
        "# Dependencies",
        "",
        "This page lists the packages in Driftline's images, with licence, size and purpose.",
        "`python deploy/dependencies.py` writes it from the locks and the installed packages.",
        "",
        "## Direct dependencies",
        "",
        "| package | licence | MB | purpose |",
        "| --- | --- | --- | --- |",
        *(_row(everything[name], WHY[name]) for name in chosen),
        "",
        "## Dependencies of dependencies",
        "",
        "| package | licence | MB | image |",
        "| --- | --- | --- | --- |",
    ]
    for name in sorted(set(everything) - set(chosen)):
        images = " and ".join(lock for lock in IMAGES if name in by_lock[lock])
        lines.append(_row(everything[name], images))
    return "\n".join([*lines, "", _TRIMMED])


_TRIMMED = """## Excluded packages

Evidently declares its web server, text metrics and LLM helpers as requirements.
`requirements/unused.txt` lists the requirements that Driftline does not use. The monitor's lock is
compiled without them: without statsmodels, faker and their dependencies, 60 MB. `nltk` and
`litestar` stay, because `import evidently` fails without them. `deploy/slim.py` removes test suites
and headers from the images.

A new package must be well maintained, its licence must be in `ALLOWED` of
`deploy/dependencies.py`, and the standard library must not offer the same. The GPL, the AGPL and
the Business Source License are refused; the LGPL is accepted for libraries that are installed
unchanged. `make audit` checks for known vulnerabilities; `make sbom` writes a CycloneDX bill of
materials for each image.
"""


def _direct() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    groups = [
        project["dependencies"],
        *(extras[name] for name in ("registry", "eventlog", *IMAGES)),
    ]
    return {re.split(r"[\[<>=; ]", line)[0].lower() for lines in groups for line in lines}


def _row(package: Package, last: str) -> str:
    return f"| {package.name} | {package.licence} | {package.size / 1e6:.1f} | {last} |"


def bill(lock: str) -> dict[str, Any]:
    """Return the bill of materials of an image, as CycloneDX 1.6."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": f"driftline-{lock}",
                "version": project["version"],
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [_component(package) for package in locked(lock)],
    }


def _component(package: Package) -> dict[str, Any]:
    url = f"pkg:pypi/{package.name}@{package.version}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
        "licenses": [{"expression": package.licence}],
        # One digest for each wheel and source archive that the lock accepts.
        "properties": [{"name": "driftline:sha256", "value": digest} for digest in package.hashes],
    }


def main(arguments: list[str]) -> None:
    """Write NOTICE and the page, or write the bills of materials into a folder."""
    if arguments[:1] == ["sbom"]:
        folder = Path(arguments[1])
        folder.mkdir(parents=True, exist_ok=True)
        for lock in IMAGES:
            text = json.dumps(bill(lock), indent=2, sort_keys=True)
            (folder / f"driftline-{lock}.cdx.json").write_text(f"{text}\n")
        return
    (ROOT / "NOTICE").write_text(notice())
    (ROOT / "docs" / "dependencies.md").write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
