"""Rename the probability's scores where a feature has the name `probability`.

Such results held two drift scores of one name: the feature's, then that of the positive class's
probability.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMN, _OWN = "probability", "@probability"
_SPELLED = b'"probability"'  # spares most results from being parsed
_results = sa.table("results", *map(sa.column, ("model", "version", "start", "revision", "body")))


def upgrade() -> None:
    """Rewrite the results that need it, one version's after the other.

    Each is looked at: windows without scores, such as those of refused requests, tell nothing.
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
    """Return a result whose second drift score of the name is renamed; None: it has one only."""
    if body.count(_SPELLED) < 2:
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
