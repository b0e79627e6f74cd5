"""Tests use public names: no private attribute of an object, no private name of a module."""

import ast
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Names with an underscore that their libraries document.
DOCUMENTED = {"_asdict", "_exit", "_fields", "_replace", "_repr_html_"}
# File -> private names that it uses. Each causes a fault that no caller can cause, or frees what a
# caller cannot see.
ALLOWED: dict[str, set[str]] = {
    "tests/driftline/test_conservation.py": {"_lock"},  # a killed process loses its lock
    "tests/eventlog/test_kafka_records.py": {"_begin", "_consumer", "_fetcher"},
    "tests/integration/test_monitor_reads_kafka.py": {"_consumer", "_listener", "_subscription"},
    "tests/integration/test_reader_conformance.py": {"_subscription"},
    "tests/monitoring/scoring/test_drift_methods.py": {"_registered_stat_tests"},  # Evidently's
    "tests/service/test_grpc_wire.py": {"_buffer"},  # counts copies
    "tests/service/test_loading_options.py": {"_queue", "_runner"},  # what unloading must free
}


def _private_names(tree: ast.Module) -> Iterator[str]:
    own = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    own |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in {"self", "cls"}
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            names = [text.rpartition(".")[2] for text in texts[:1] if isinstance(text, str)]
        else:
            continue
        for name in names:
            if name.startswith("_") and not name.startswith("__") and name not in own | DOCUMENTED:
                yield name


def test_tests_use_public_names() -> None:
    files = subprocess.run(
        ["git", "ls-files", "tests/*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    uses = {
        path: Counter(_private_names(ast.parse((ROOT / path).read_text())))
        for path in files
        if (ROOT / path).is_file()
    }
    found = {path: set(names) - ALLOWED.get(path, set()) for path, names in uses.items()}
    assert not {path: names for path, names in found.items() if names}
    unused = {path: names - set(uses.get(path, ())) for path, names in ALLOWED.items()}
    assert not {path: names for path, names in unused.items() if names}
