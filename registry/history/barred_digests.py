"""The barred and rejected digests of a model, as a pure function of its rows.

| row | the digest becomes | until |
| --- | --- | --- |
| barred (by a rollback, a verdict or a person) | barred | a row `unbarred` |
| rejected (by an approver) | rejected | permanent |

No alias can be pointed at such a digest. Its rollouts and shadows end, and no call reaches it.
"""

from registry.history.rows import HistoryRow

Rows = dict[str, HistoryRow]  # digest -> first row that barred or rejected it


def after_bar(rejected: Rows, barred: Rows, row: HistoryRow) -> bool:
    """Apply a row of kind `rejected`, `barred` or `unbarred`; return False for `unbarred`."""
    match row.kind:
        case "rejected":
            rejected.setdefault(row.digest, row)
        case "barred":
            barred.setdefault(row.digest, row)
        case "unbarred":
            barred.pop(row.digest, None)
    return row.kind != "unbarred"


def refusing_row(rejected: Rows, barred: Rows, digest: str) -> HistoryRow | None:
    """Return the row that rejected or barred a digest, or None if no row did."""
    return rejected.get(digest) or barred.get(digest)


def why_refused(rejected: Rows, barred: Rows, digest: str) -> str:
    """Return who barred or rejected a digest, when and why, or "" if nobody did."""
    if digest in barred:
        return f"its content was barred by {_by(barred[digest])}"
    if digest in rejected:
        return f"its content was rejected by {_by(rejected[digest])}"
    return ""


def _by(row: HistoryRow) -> str:
    reason = f": {row.why}" if row.why else ""
    return f"{row.actor or 'unknown'} in revision {row.revision}{reason}"
