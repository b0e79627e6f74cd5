"""Read labels in every unambiguous spelling, with one rule for the service and the monitor. Pure.

Systems spell the same class differently: 1, 1.0, "1", " 1", "1.0", true and "True". If exactly one
class has the spelling of a label, the label means this class. A number as text means that number.
Every other label is refused, because scoring it would count a data error as a model error.
"""

import math
import re
from collections.abc import Collection
from typing import Any

from eventlog.events import Label
from registry.manifest import Manifest


def category(value: Any) -> str:
    """Return a category as text; 1, 1.0, "1" and True, from different clients, are equal."""
    kind = type(value).__name__  # NumPy's scalar types have names such as float32
    if kind == "bool":
        return str(int(value))
    if kind.startswith("float") and value.is_integer():
        return str(int(value))
    return str(value)


def classes_of(manifest: Manifest) -> frozenset[str] | None:
    """Return the classes of a version as text, or None if its labels are numbers."""
    if manifest.task != "classification":
        return None
    return frozenset(map(category, manifest.prediction.classes))


def read_label(label: Label, classes: Collection[str] | None) -> Label | None:
    """Return a label as one of the classes or as a number, or None if the label is invalid.

    `classes` are the classes as text, or None if a finite number is expected.
    """
    if classes is None:
        return _finite(label)
    if category(label) in classes:
        return label
    spelled = _spelling(label)
    alike = [name for name in classes if _spelling(name) == spelled]
    return alike[0] if len(alike) == 1 else None


def invalid_reason(label: Label, classes: Collection[str] | None) -> str:
    """Return why a label is invalid for the model."""
    if classes is None:
        return f"its label {label!r:.80} is not a finite number"
    return f"its label {label!r:.80} is not one of the classes {', '.join(sorted(classes)):.200}"


_BOOLEANS = {"true": "1", "false": "0"}


def _spelling(label: Label) -> str:
    """Return the normalized spelling of a class."""
    text = category(label).strip()
    number = _number(text)
    if number is not None:
        return category(number)
    return _BOOLEANS.get(text.casefold(), text)


def _number(text: str) -> float | None:
    """Return the number that a text of digits represents, or None for others such as "nan"."""
    if not _DIGITS.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


_DIGITS = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def _finite(label: Label) -> Label | None:
    if isinstance(label, bool):
        return None
    if isinstance(label, str):
        return _number(label.strip())
    try:
        return label if math.isfinite(label) else None
    except OverflowError:  # an integer that is too large for a float
        return None
