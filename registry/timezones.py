"""Find time zones by their names in the IANA database."""

from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

_OF_THIS_MACHINE = "localtime"  # refused, because it differs between machines
_SIMILAR = 0.75  # minimum similarity of a suggested name


def zone_if_any(name: str) -> ZoneInfo | None:
    """Return the time zone of this name, or None if this machine does not have it."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def find_zone(name: str) -> ZoneInfo:
    """Return a time zone; raises ValueError, with the most similar name, if it is unknown."""
    if name != _OF_THIS_MACHINE and (zone := zone_if_any(name)) is not None:
        return zone
    raise ValueError(unknown_zone(name))


def unknown_zone(name: str) -> str:
    """Return the error message for an unknown time zone, with the most similar name."""
    names = {zone.lower(): zone for zone in available_timezones() - {_OF_THIS_MACHINE}}
    query = name[:100].lower().replace(" ", "_")
    # People often write only the city: "New_York", "Berlin".
    cities = {lower.rpartition("/")[2]: zone for lower, zone in sorted(names.items())}
    similar = get_close_matches(query, names, 1, _SIMILAR) or get_close_matches(
        query, cities, 1, _SIMILAR
    )
    nearest = (names | cities)[similar[0]] if similar else ""
    hint = f"did you mean {nearest}?" if nearest else "such as Europe/Berlin or UTC"
    return (
        f"time zone {name[:100]!r}: expected a name of the IANA database"
        f"{'; ' if nearest else ', '}{hint}"
    )
