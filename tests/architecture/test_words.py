"""The project's vocabulary: standard terms, one name for one thing."""

import ast
import re
import subprocess
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
BANNED = ("told", "anew", "whoever", "somebody", "let go", "set aside", "goes on")
# Names that stored data and metrics have had since the first release.
STORED = ("rows_let_go", "dead_letters_let_go")
# Lines that hold such a name: file -> part of the line. The empty part allows the whole file.
QUOTED: dict[str, tuple[str, ...]] = {
    "docs/ledger.md": STORED,
    "docs/operations.md": STORED,
    "monitoring/storage/migrations/versions/r0001_tables.py": ('"told"',),
    "monitoring/storage/schema.py": ('"told"', "`told`"),
    "monitoring/storage/sql/predictions.py": (" told", ".told"),
    "monitoring/ingest/expiry.py": STORED,
    "tests/architecture/test_words.py": ("",),
    "tests/driftline/home_without_identity/monitor.sql": ("told BLOB",),
    "tests/monitoring/storage/before_migrations/postgresql.sql": ("told bytea",),
    "tests/monitoring/storage/before_migrations/sqlite.sql": ("told BLOB",),
    "tests/monitoring/storage/test_migrations.py": ("DROP COLUMN told",),
    "tests/monitoring/test_retention.py": STORED,
}
# The client is a package of its own: what it returns is named as the service's reply.
MIRRORS = {"driftline/client_bodies.py"}
READ_BY_PEOPLE = {".py", ".md", ".html", ".css", ".js", ".yaml", ".yml", ".toml", ".sh", ".sql"}
GENERATED = ("_pb2.py", "_pb2.pyi")
ROOMS = ("service", "monitoring", "registry", "access", "eventlog", "telemetry", "driftline")


def _tracked() -> list[Path]:
    found = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in found.stdout.split("\0") if name]
    return [Path(name) for name in names if (ROOT / name).is_file()]


def test_no_banned_word_is_written() -> None:
    banned = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
    found = []
    for path in _tracked():
        if path.suffix not in READ_BY_PEOPLE | {""} or path.name.endswith(GENERATED):
            continue
        quoted = QUOTED.get(str(path), ())
        for number, line in enumerate((ROOT / path).read_text(errors="ignore").splitlines(), 1):
            # An identifier is read as its words: `let_go` is "let go".
            text = line.replace("_", " ")
            if banned.search(text) and not any(part in line for part in quoted):
                found.append(f"{path}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in _tracked():
        if (
            path.suffix == ".py"
            and path.parts[0] in ROOMS
            and not path.name.endswith(GENERATED)
            and str(path) not in MIRRORS
        ):
            tree = ast.parse((ROOT / path).read_text())
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path))
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(paths)}" for name, paths in twice.items())


def test_no_module_is_named_for_an_activity() -> None:
    """A module is named for a thing; the few standard terms that end in -ing are listed."""
    # `sharing` goes with the leader of several monitors (docs/adr/0012).
    standard = {"batching", "routing", "tracing", "scoring", "grouping", "sharing"}
    found = [
        str(path)
        for path in _tracked()
        if path.suffix == ".py"
        and path.parts[0] in ROOMS
        and (path.stem.endswith("ing") or any(part.endswith("ing") for part in path.parts[1:-1]))
        and not {path.stem, *path.parts[1:-1]} & standard
    ]
    assert not found, found
