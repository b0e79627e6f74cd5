"""Read labels in every unambiguous spelling: one rule for the service and the monitor. Pure.

Systems spell one class in several ways: 1, 1.0, "1", " 1", "1.0", true and "True". A label whose
spelling is that of exactly one class counts as that class, and a number as text as that number.
Every other label is refused: scoring it would blame the model for a fault of the data.
"""

import math
import re
from collections.abc import Collection
from typing import Any

from eventlog.events import Label
from registry.manifest import Manifest


def category(value: Any) -> str:
    """Return a category as text; 1, 1.0, "1" and True, from different clients, are equal."""
    kind = type(value).__name__  # those of NumPy's scalars begin alike
    if kind == "bool":
        return str(int(value))
    if kind.startswith("float") and value.is_integer():
        return str(int(value))
    return str(value)


def classes_of(manifest: Manifest) -> frozenset[str] | None:
    """Return the classes that labels of a version may name, as text; None: labels are numbers."""
    if manifest.task != "classification":
        return None
    return frozenset(map(category, manifest.prediction.classes))


def read_label(label: Label, classes: Collection[str] | None) -> Label | None:
    """Return a label as one of the classes or as a number; None if the model cannot have it.

    `classes` are those of a classification, as text; None: a finite number is expected.
    """
    if classes is None:
        return _finite(label)
    if category(label) in classes:
        return label
    spelled = _spelling(label)
    alike = [name for name in classes if _spelling(name) == spelled]
    return alike[0] if len(alike) == 1 else None


def invalid_reason(label: Label, classes: Collection[str] | None) -> str:
    """Return why the model cannot have this label."""
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
    """Return a number in digits, with a sign, a point and an exponent; no words such as nan."""
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
    except OverflowError:  # an integer that no float can hold
        return None
