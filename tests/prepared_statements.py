"""Let a PostgreSQL server parse statements without values, to find invalid statements."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import psycopg
from psycopg.pq import ExecStatus

_PLACEHOLDER = re.compile(r"%(?:s|\((\w+)\)s|%)")


def refused(url: str, statements: Mapping[str, str], before: Iterable[str] = ()) -> dict[str, str]:
    """Return the server's complaint by the name of a statement; `before` makes temporary tables."""
    complaints = {}
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in before:
            connection.execute(statement.encode())
        for name, statement in statements.items():
            result = connection.pgconn.prepare(b"", _numbered(statement).encode())
            if result.status != ExecStatus.COMMAND_OK:
                complaints[name] = result.error_message.decode()
    return complaints


def _numbered(statement: str) -> str:
    """Return a statement with the server's placeholders in place of the driver's."""
    count = itertools.count(1)
    by_name: defaultdict[str, int] = defaultdict(lambda: next(count))

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        return f"${by_name[found[1]] if found[1] else next(count)}"

    return _PLACEHOLDER.sub(number, statement)
