"""The sheet that charts are drawn on: one slot a window, alarms behind, the calendar below. Pure.

Colours come from the style sheet, so that one picture serves light and dark. Every slot carries a
<title> that says in words what is drawn, and leads to its window.
"""

from collections.abc import Callable, Sequence

import msgspec
from markupsafe import Markup

from monitoring.results import Window
from monitoring.web.charts.scale import Scale, ticks, time_ticks
from monitoring.web.charts.svg import element

NARROW_BELOW = 450.0  # pixels
RIGHT, TOP, BOTTOM = 14.0, 20.0, 24.0  # margins
_CHARACTER = 6.5  # pixels of a label's width, about


class Slot(msgspec.Struct, frozen=True):
    """One window along the axis; `href` is empty if nothing was seen."""

    window: Window
    href: str = ""


class Mark(msgspec.Struct, frozen=True):
    """The drawing of one slot, and its text."""

    value: float | None = None
    title: str = ""
    breached: bool = False
    faint: bool = False  # rests on little


class Band(msgspec.Struct, frozen=True):
    """Slots `first` to `last`, both included, during which an alarm was open."""

    first: int
    last: int
    title: str
    open: bool = True


class Sheet(msgspec.Struct, frozen=True):
    """The properties that all charts of one model version share; sizes in pixels."""

    slots: Sequence[Slot]
    bands: Sequence[Band] = ()
    width: float = 540.0
    height: float = 200.0

    @property
    def narrow(self) -> bool:
        """Whether this is the picture for a phone."""
        return self.width < NARROW_BELOW


class Plot:
    """The area between the axes of one sheet."""

    def __init__(self, sheet: Sheet, left: float) -> None:
        self.sheet = sheet
        self.left, self.right = left, sheet.width - RIGHT
        self.top, self.bottom = TOP, sheet.height - BOTTOM
        self.step = (self.right - self.left) / max(len(sheet.slots), 1)

    def edge(self, index: float) -> float:
        """Return the left edge of the slot with this index."""
        return self.left + index * self.step

    def middle(self, index: int) -> float:
        """Return the centre of a slot."""
        return self.edge(index + 0.5)

    def time_axis(self) -> Markup:
        """Return the calendar below the plot."""
        room = int((self.right - self.left) / (46 if self.sheet.narrow else 60))
        marks = []
        for tick in time_ticks([slot.window.start for slot in self.sheet.slots], max(room, 1)):
            x = self.edge(tick.index)
            marks.append(
                element("line", class_="tick", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4)
            )
            if x + _CHARACTER * len(tick.text) <= self.sheet.width:  # else it would be cut
                marks.append(element("text", tick.text, class_="label", x=x, y=self.bottom + 16))
        return element("g", *marks, class_="axis")

    def value_axis(self, scale: Scale, step: float, write: Callable[[float], str]) -> Markup:
        """Return hairlines at round values, with their labels."""
        lines = []
        for value in ticks(scale.low, scale.high, step):
            y = scale(value)
            lines.append(element("line", class_="grid", x1=self.left, x2=self.right, y1=y, y2=y))
            lines.append(
                element("text", write(value), class_="label end", x=self.left - 6, y=y + 3.5)
            )
        return element("g", *lines, class_="axis")

    def bands(self) -> Markup:
        """Return the spans of alarms, behind everything else."""
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
        """Return invisible full-height areas that carry the words and lead to the windows."""
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
        """Return the shape, leading to the slot's window if there is one.

        Kept out of the tab order: the table of windows below the charts has the same links.
        """
        href = self.sheet.slots[index].href
        return element("a", shape, href=href, tabindex=-1) if href else shape
