"""Everything that decides whether a label can be the truth for a model lives here.

What cannot be is never joined: it would be scored as an error of the model, and is none.
"""

import math
from collections.abc import Collection

from eventlog.events import Label
from monitoring.ingest.domain import category


def unfit(label: Label, classes: Collection[str] | None) -> str:
    """Why a label cannot be true, empty where it can.

    `classes` are those of a classification, as text; None: a finite number is expected.
    """
    if classes is None:
        return "" if _is_number(label) else f"its label {label!r:.80} is no finite number"
    if category(label) in classes:
        return ""
    return f"its label {label!r:.80} is none of the classes {', '.join(sorted(classes)):.200}"


def _is_number(label: Label) -> bool:
    try:
        return not isinstance(label, str | bool) and math.isfinite(label)
    except OverflowError:  # an integer that no float can hold
        return False
