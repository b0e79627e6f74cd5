"""The area that charts are drawn on: one slot per window, alarm bands, and the axes. Pure.

The style sheet defines the colours, so that the same SVG works in light and dark mode. Every slot
has a <title> that describes its values, and a link to its window.
"""

from collections.abc import Callable, Sequence

import msgspec
from markupsafe import Markup

from monitoring.results import Window
from monitoring.web.charts.scale import Scale, ticks, time_ticks
from monitoring.web.charts.svg import element

NARROW_BELOW = 450.0  # pixels; a narrower chart is for phones
RIGHT, TOP, BOTTOM = 14.0, 20.0, 24.0  # margins, in pixels
_CHARACTER = 6.5  # approximate width of a label's character, in pixels


class Slot(msgspec.Struct, frozen=True):
    """One window on the time axis."""

    window: Window
    href: str = ""  # path of the window's page; empty if it had no traffic


class Mark(msgspec.Struct, frozen=True):
    """The value of one slot."""

    value: float | None = None
    title: str = ""  # describes the value
    breached: bool = False
    faint: bool = False  # whether the value is based on few labels


class Band(msgspec.Struct, frozen=True):
    """The slots `first` to `last` (inclusive), during which an alarm was open."""

    first: int
    last: int
    title: str
    open: bool = True


class Sheet(msgspec.Struct, frozen=True):
    """The properties that several charts of a model version share; sizes are in pixels."""

    slots: Sequence[Slot]
    bands: Sequence[Band] = ()
    width: float = 540.0
    height: float = 200.0

    @property
    def narrow(self) -> bool:
        """Whether the chart is for phones."""
        return self.width < NARROW_BELOW


class Plot:
    """The area between the axes of one sheet."""

    def __init__(self, sheet: Sheet, left: float) -> None:
        self.sheet = sheet
        self.left, self.right = left, sheet.width - RIGHT
        self.top, self.bottom = TOP, sheet.height - BOTTOM
        self.step = (self.right - self.left) / max(len(sheet.slots), 1)

    def edge(self, index: float) -> float:
        """Return the x coordinate of a slot's left edge."""
        return self.left + index * self.step

    def middle(self, index: int) -> float:
        """Return the x coordinate of a slot's centre."""
        return self.edge(index + 0.5)

    def time_axis(self) -> Markup:
        """Draw the time axis below the plot."""
        room = int((self.right - self.left) / (46 if self.sheet.narrow else 60))
        marks = []
        for tick in time_ticks([slot.window.start for slot in self.sheet.slots], max(room, 1)):
            x = self.edge(tick.index)
            marks.append(
                element("line", class_="tick", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4)
            )
            if x + _CHARACTER * len(tick.text) <= self.sheet.width:  # else it would be cut off
                marks.append(element("text", tick.text, class_="label", x=x, y=self.bottom + 16))
        return element("g", *marks, class_="axis")

    def value_axis(self, scale: Scale, step: float, write: Callable[[float], str]) -> Markup:
        """Draw grid lines at round values, with labels."""
        lines = []
        for value in ticks(scale.low, scale.high, step):
            y = scale(value)
            lines.append(element("line", class_="grid", x1=self.left, x2=self.right, y1=y, y2=y))
            lines.append(
                element("text", write(value), class_="label end", x=self.left - 6, y=y + 3.5)
            )
        return element("g", *lines, class_="axis")

    def bands(self) -> Markup:
        """Draw the bands of alarms, to be placed behind all other elements."""
        return element("g", *(self._band(band) for band in self.sheet.bands))

    def _band(self, band: Band) -> Markup:
        x, width = self.edge(band.first), (band.last + 1 - band.first) * self.step
        height = self.bottom - self.top
        return element(
            "g",
            element("title", band.title),
            element("rect", class_="band", x=x, y=self.top, width=width, height=height),
            element("rect", class_="band-edge", x=x, y=self.top - 3, width=width, height=3),
            class_="alarm open" if band.open else "alarm",
        )

    def targets(self, marks: Sequence[Mark]) -> Markup:
        """Return invisible full-height areas with the marks' titles and the links to windows."""
        height = self.bottom - self.top
        return element(
            "g",
            *(
                self.linked(
                    index,
                    element(
                        "rect",
                        element("title", mark.title),
                        class_="target",
                        x=self.edge(index),
                        y=self.top,
                        width=self.step,
                        height=height,
                    ),
                )
                for index, mark in enumerate(marks)
            ),
        )

    def linked(self, index: int, shape: Markup) -> Markup:
        """Return the shape, with a link to the window's page if there is one.

        The link is not in the tab order, because the table of windows has the same links.
        """
        href = self.sheet.slots[index].href
        return element("a", shape, href=href, tabindex=-1) if href else shape
