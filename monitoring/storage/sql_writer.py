"""Write the statements of `queries`, compiled for both databases, into the package `sql`.

Run `python -m monitoring.storage.sql_writer` after each change of `queries` or `schema`; a test
compares the package with them.
"""

import pkgutil
from importlib import import_module
from pathlib import Path

from sqlalchemy import Executable

from monitoring.storage import queries
from monitoring.storage.migrations import upgrade_sqlite
from monitoring.storage.query import Compiled, Lookup, Query, RowQuery, Staged
from monitoring.storage.schema import REVISION, VERSION_TABLE
from monitoring.storage.statements import (
    OneOfMany,
    RowChange,
    RowInsert,
    compile_lookup,
    compile_query,
    compile_rows,
)
from registry.history.statements import new_file

_KINDS = [Compiled, Lookup, Query, RowQuery, Staged]
_FOLDER = Path(__file__).with_name("sql")
_LEADING = '''"""{title}; written by monitoring.storage.sql_writer."""

# fmt: off
'''


def generate() -> dict[str, str]:
    """Return the content of the package's files, by file name."""
    revision = f"REVISION = {REVISION!r}\nVERSION_TABLE = {VERSION_TABLE!r}\n"
    leading = _LEADING.format(title="Statements on the monitor's database")
    files = {"__init__.py": f"{leading}\n{revision}", "new_file.py": _new_file()}
    for module in pkgutil.iter_modules(queries.__path__):
        files[f"{module.name}.py"] = _module(module.name)
    return files


def write() -> None:
    """Write the package."""
    _FOLDER.mkdir(exist_ok=True)
    for name, content in generate().items():
        (_FOLDER / name).write_text(content)


def _new_file() -> str:
    """Return the module with the tables of a new SQLite file, as all migrations create them."""
    title = "Tables of a new SQLite file, as the migrations create them"
    body = "".join(f"    {statement!r},\n" for statement in new_file(upgrade_sqlite))
    return f"{_LEADING.format(title=title)}# ruff: noqa: E501\n\nTABLES = (\n{body})\n"


def _module(name: str) -> str:
    module = import_module(f"{queries.__name__}.{name}")
    title = (module.__doc__ or "").partition(".")[0].strip().replace("\n", " ")
    body = "".join(
        f"{key} = {_render(compiled)}\n"
        for key, value in vars(module).items()
        if not key.startswith("_") and (compiled := _compile(f"{name}_{key.lower()}", value))
    )
    kinds = [kind.__name__ for kind in _KINDS if f"{kind.__name__}(" in body]
    imports = f"from monitoring.storage.query import {', '.join(kinds)}\n"
    return f"{_LEADING.format(title=title)}# ruff: noqa: E501\n\n{imports}\n{body}"


def _compile(name: str, value: object) -> Query | Lookup | RowQuery | None:
    if isinstance(value, OneOfMany):
        return compile_lookup(value)
    if isinstance(value, RowInsert | RowChange):
        return compile_rows(value, f"staged_{name}")
    return compile_query(value) if isinstance(value, Executable) else None


def _render(value: object, indent: str = "") -> str:
    """Return a statement as Python code, one field per line, without default values."""
    inner = indent + "    "
    if isinstance(value, Compiled):
        parts = [repr(" ".join(value.sql.split()))]
        parts += [repr(value.names)] if value.names or value.constants else []
        parts += [repr(value.constants)] if value.constants else []
        return f"Compiled({', '.join(parts)})"
    if isinstance(value, Query | Lookup | RowQuery | Staged):
        fields = [
            f"{inner}{name}={_render(getattr(value, name), inner)},\n"
            for name in value.__struct_fields__
        ]
        return f"{type(value).__name__}(\n{''.join(fields)}{indent})"
    return repr(" ".join(value.split()) if isinstance(value, str) else value)


if __name__ == "__main__":
    write()
