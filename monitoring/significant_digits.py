"""Round stored numbers, so that they are equal on every machine. Pure."""


def significant(value: float, digits: int = 9) -> float:
    """Return `value` rounded to `digits` significant digits."""
    return float(f"{value:.{digits}g}")
