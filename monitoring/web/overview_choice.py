"""The user's choices for the overview: search, filters, order and page. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args
from urllib.parse import urlencode

import msgspec

from monitoring.results import Verdict
from monitoring.web.overview import VersionRow, sorted_by

MOST_LISTED = 12  # most tags, and most owners, in the lists of filters
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class OverviewChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Filters and order; fields are named like the URL's parameters, and empty means no filter."""

    q: str = ""  # part of a model's name, version, owner or tags
    verdict: str = ""  # verdict of the latest window
    alarms: str = ""  # "1": only versions with open alarms
    tag: str = ""  # tag of the model
    owner: str = ""  # owner of the model
    sort: str = ""  # a name of overview.SORTS, with a leading "-" for descending order

    def url(self, first: int = 0, **changed: str) -> str:
        """Return the URL with some fields changed; `first` is the first row shown."""
        fields = msgspec.structs.asdict(self) | changed
        query = urlencode({"from": first or "", **fields})
        parts = [part for part in query.split("&") if not part.endswith("=")]
        return f"/?{'&'.join(parts)}" if parts else "/"

    @property
    def filters(self) -> list[tuple[str, str]]:
        """Names and values of the fields that stay when the search text changes."""
        fields = msgspec.structs.asdict(self)
        return [(name, value) for name, value in fields.items() if value and name != "q"]

    @property
    def in_words(self) -> str:
        """The choices as the end of a sentence that begins with "No version"."""
        parts = (
            f"matches “{self.q}”" if self.q else "",
            f"is {self.verdict}" if self.verdict else "",
            "has open alarms" if self.alarms else "",
            f"has the tag {self.tag}" if self.tag else "",
            f"belongs to {self.owner}" if self.owner else "",
        )
        return " and ".join(part for part in parts if part)

    def choose(self, rows: Iterable[VersionRow]) -> list[VersionRow]:
        """Return the chosen rows in the chosen order."""
        chosen = [
            row
            for row in self.matching(rows)
            if (not self.verdict or verdict_of(row) == self.verdict)
            and (not self.alarms or row.alarms)
        ]
        return sorted_by(chosen, self.sort)

    def matching(self, rows: Iterable[VersionRow]) -> list[VersionRow]:
        """Return the rows that match search, tag and owner; verdict and alarms are ignored."""
        return [
            row
            for row in rows
            if self.q.lower() in row.search_text
            and (not self.tag or self.tag in row.tags)
            and (not self.owner or self.owner == row.owner)
        ]

    def counts(self, rows: Sequence[VersionRow]) -> dict[str, int]:
        """Count the matching versions by verdict; the chosen verdict is always included."""
        verdicts = Counter(verdict_of(row) for row in self.matching(rows))
        return {name: verdicts[name] for name in VERDICTS if verdicts[name] or name == self.verdict}

    def tags(self, rows: Sequence[VersionRow]) -> list[tuple[str, int]]:
        """Return the most frequent tags and their counts; the chosen tag is always included."""
        return _frequent((tag for row in rows for tag in row.tags), self.tag)

    def owners(self, rows: Sequence[VersionRow]) -> list[tuple[str, int]]:
        """Return the most frequent owners and their counts; the chosen owner is always included."""
        return _frequent((row.owner for row in rows if row.owner), self.owner)


def _frequent(names: Iterable[str], chosen: str) -> list[tuple[str, int]]:
    counts = Counter(names)
    shown = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_LISTED]
    if chosen and chosen not in shown:
        shown.append(chosen)
    return [(name, counts[name]) for name in shown]


def verdict_of(row: VersionRow) -> str:
    """Return the verdict of the latest window; empty if no window is closed."""
    return row.latest.verdict if row.latest else ""
