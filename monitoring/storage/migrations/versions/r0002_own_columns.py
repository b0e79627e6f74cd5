"""Rename the positive class's drift score if a feature is named `probability`.

The results of such models have two drift scores with that name: first the score of the feature,
then the score of the positive class's predicted probability.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMN, _OWN = "probability", "@probability"
_QUOTED_NAME = b'"probability"'  # searched first, so that most results need not be parsed
_results = sa.table("results", *map(sa.column, ("model", "version", "start", "revision", "body")))


def upgrade() -> None:
    """Rewrite the affected results, one version after another.

    Every result is checked, because windows without scores do not show whether a version is
    affected.
    """
    connection, stored = op.get_bind(), _results.c
    versions = connection.execute(sa.select(stored.model, stored.version).distinct()).all()
    for model, version in versions:
        of_version = stored.model == model, stored.version == version
        places = sa.select(stored.start, stored.revision).where(*of_version)
        for start, number in connection.execute(places).all():
            key = *of_version, stored.start == start, stored.revision == number
            body = connection.execute(sa.select(stored.body).where(*key)).scalar_one()
            if (after := _renamed(bytes(body))) is not None:
                connection.execute(sa.update(_results).where(*key).values(body=after))


def _renamed(body: bytes) -> bytes | None:
    """Return the result with the second `probability` score renamed; None without a second one."""
    if body.count(_QUOTED_NAME) < 2:
        return None
    result: dict[str, Any] = json.loads(body)
    same = [
        score
        for score in result.get("scores", [])
        if (score["name"], score.get("column"), score.get("segment", "")) == ("drift", _COLUMN, "")
    ]
    if len(same) < 2:
        return None
    same[1]["column"] = _OWN
    return json.dumps(result, separators=(",", ":"), ensure_ascii=False).encode()
