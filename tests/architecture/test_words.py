"""The project's vocabulary: standard terms, one name for one thing."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jinja2

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
    "monitoring/storage/sql/new_file.py": ("told BLOB",),
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
# Words that say what happened to a thing, not what it is.
PARTICIPLES = frozenset(
    [
        "asked",
        "brought",
        "found",
        "given",
        "got",
        "held",
        "kept",
        "known",
        "made",
        "meant",
        "named",
        "one",
        "owed",
        "put",
        "said",
        "seen",
        "stated",
        "taken",
        "told",
        "tried",
        "wanted",
    ]
)
# Package -> words that no local variable or parameter has as its name there.
BANNED_LOCALS: dict[str, frozenset[str]] = {
    "access": PARTICIPLES,
    "benchmarks": PARTICIPLES,
    "deploy": PARTICIPLES,
    "driftline": PARTICIPLES,
    "eventlog": PARTICIPLES,
    "examples": PARTICIPLES,
    "loadtests": PARTICIPLES,
    "monitoring": PARTICIPLES,
    "registry": PARTICIPLES,
    "service": PARTICIPLES,
    "telemetry": PARTICIPLES,
}
READ_BY_PEOPLE = {".py", ".md", ".html", ".css", ".js", ".yaml", ".yml", ".toml", ".sh", ".sql"}
GENERATED = ("_pb2.py", "_pb2.pyi")
ROOMS = ("service", "monitoring", "registry", "access", "eventlog", "telemetry", "driftline")


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


@cache
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
            and path.parts[0] in {*ROOMS, "benchmarks", "loadtests"}
            and not path.name.endswith(GENERATED)
            and str(path) not in MIRRORS
        ):
            tree = _parsed(path)
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path))
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(paths)}" for name, paths in twice.items())


def test_no_docstring_begins_with_a_question_word() -> None:
    """`What a check found` is a riddle: name the thing, or begin with a verb."""
    questions = ("What ", "How ", "Where ", "When ", "Which ", "Who ", "Why ")
    riddles = [
        f"{path}:{node.body[0].lineno}: {text.splitlines()[0]}"
        for path in _tracked()
        if path.suffix == ".py" and path.parts[0] != "tests"
        for node in ast.walk(_parsed(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (text := ast.get_docstring(node))
        and text.startswith(questions)
    ]
    assert not riddles, "\n".join(riddles)


def test_no_test_is_named_by_a_question() -> None:
    """A test's name states a promise; `test_what_is_left` names neither subject nor promise."""
    question = re.compile(r"test_(what|who|which|where|when|how|why)(ever)?_")
    riddles = [
        f"{path}:{node.lineno}: {node.name}"
        for path in _tracked()
        if path.suffix == ".py" and path.parts[0] == "tests"
        for node in ast.walk(_parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and question.match(node.name)
    ]
    assert not riddles, "\n".join(riddles)


def _locals(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Return the name and line of each variable and parameter, but not of the fields of classes."""
    fields = {
        node
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for statement in owner.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in fields:
            yield node.id, node.lineno


def test_no_local_is_named_by_what_happened_to_it() -> None:
    misnamed = [
        f"{path}:{line}: {name}: name the thing (row, path, match), not what happened to it"
        for path in _tracked()
        if (words := BANNED_LOCALS.get(path.parts[0]))
        and path.suffix == ".py"
        and not path.name.endswith(GENERATED)
        for name, line in _locals(_parsed(path))
        if name in words
    ]
    assert not misnamed, "\n".join(misnamed)


def test_no_template_variable_is_named_by_what_happened_to_it() -> None:
    """Names come from loops, `set`, macros and the handlers' context."""
    environment = jinja2.Environment(autoescape=True)
    templates = [path for path in _tracked() if str(path.parent) == "monitoring/web/templates"]
    assert templates
    misnamed = set()
    for path in templates:
        tree = environment.parse((ROOT / path).read_text())
        for node in tree.find_all(jinja2.nodes.Name):
            if node.name in PARTICIPLES:
                misnamed.add(f"{path}:{node.lineno}: {node.name}: name the thing")
    assert not misnamed, "\n".join(sorted(misnamed))


def test_no_file_is_a_link() -> None:
    """Archives and some file systems lose links; what is needed twice is copied and compared."""
    assert [path for path in _tracked() if (ROOT / path).is_symlink()] == []


def test_no_module_is_named_for_an_activity() -> None:
    """A module is named for a thing; the few standard terms that end in -ing are listed."""
    standard = {"batching", "routing", "tracing", "scoring", "grouping"}
    found = [
        str(path)
        for path in _tracked()
        if path.suffix == ".py"
        and path.parts[0] in ROOMS
        and (path.stem.endswith("ing") or any(part.endswith("ing") for part in path.parts[1:-1]))
        and not {path.stem, *path.parts[1:-1]} & standard
    ]
    assert not found, found
