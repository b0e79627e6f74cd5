"""The compiled statements are those that `queries` defines."""

from pathlib import Path

from monitoring.storage import sql, sql_writer


def test_the_compiled_statements_are_current() -> None:
    folder = Path(sql.__file__).parent
    stored = {path.name: path.read_text() for path in folder.glob("*.py")}
    assert stored == sql_writer.generate(), "run python -m monitoring.storage.sql_writer"
