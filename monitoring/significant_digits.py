"""Round numbers that are stored, so that their last bits never differ. Pure."""


def significant(value: float, digits: int = 9) -> float:
    """Round to so many significant digits."""
    return float(f"{value:.{digits}g}")
