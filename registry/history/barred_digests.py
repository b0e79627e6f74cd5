"""The barred or rejected digests of a model, as a pure function of its rows.

| row | the digest becomes | until |
| --- | --- | --- |
| barred (by a rollback, a verdict or a person) | barred | a row `unbarred` |
| rejected (by an approver) | rejected | for ever |

No alias may be pointed at such a digest. Its rollouts and shadows end, and no call reaches it.
"""

from registry.history.rows import HistoryRow

Rows = dict[str, HistoryRow]  # keyed by digest: the first row that decided it


def after_bar(rejected: Rows, barred: Rows, row: HistoryRow) -> bool:
    """Apply a row of kind `rejected`, `barred` or `unbarred`; return whether it refuses."""
    match row.kind:
        case "rejected":
            rejected.setdefault(row.digest, row)
        case "barred":
            barred.setdefault(row.digest, row)
        case "unbarred":
            barred.pop(row.digest, None)
    return row.kind != "unbarred"


def refusing_row(rejected: Rows, barred: Rows, digest: str) -> HistoryRow | None:
    """Return the row that rejected or barred a digest, None if none did."""
    return rejected.get(digest) or barred.get(digest)


def why_refused(rejected: Rows, barred: Rows, digest: str) -> str:
    """Return by whom, when and why a digest was barred or rejected, "" if it was not."""
    if digest in barred:
        return f"its content was barred by {_by(barred[digest])}"
    if digest in rejected:
        return f"its content was rejected by {_by(rejected[digest])}"
    return ""


def _by(row: HistoryRow) -> str:
    reason = f": {row.why}" if row.why else ""
    return f"{row.actor or 'unknown'} in revision {row.revision}{reason}"
