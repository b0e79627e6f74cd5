"""Bar charts of distributions: the reference behind, the window in front. Pure."""

from markupsafe import Markup

from monitoring.presenter.formats import percent
from monitoring.web.charts.lines import shorten
from monitoring.web.charts.svg import drawing, element
from monitoring.web.distributions import Bin, Distribution

WIDTH, HEIGHT = 250.0, 118.0
_FLOOR = HEIGHT - 16.0  # y of the bars' lower end
_LETTER = 7.4  # approximate width of a letter, in pixels


def bars(shown: Distribution) -> Markup:
    """Draw one column's bins from left to right; tooltips state their shares."""
    words = [_words(bin_, shown.origin) for bin_ in shown.bins]
    changed = max(
        range(len(words)), key=lambda n: abs(shown.bins[n].current - shown.bins[n].expected)
    )
    highest = max(max(bin_.expected, bin_.current) for bin_ in shown.bins)
    step = WIDTH / len(shown.bins)
    return drawing(
        WIDTH,
        HEIGHT,
        f"{shown.column}: {words[changed]}",
        *(
            _pair(bin_, words[index], (index * step, step), highest)
            for index, bin_ in enumerate(shown.bins)
        ),
        *_labels(shown, step),
        class_="chart",
    )


def _pair(bin_: Bin, words: str, place: tuple[float, float], highest: float) -> Markup:
    left, step = place
    gap = min(step * 0.12, 3.0)
    width = step - gap
    behind = _bar("p2", left + gap / 2, width, bin_.expected / highest)
    front = _bar("p0", left + gap / 2 + width * 0.2, width * 0.6, bin_.current / highest)
    target = element(
        "rect",
        element("title", words),
        class_="target", x=left, y=0.0, width=step, height=_FLOOR,
    )  # fmt: skip
    return element("g", behind, front, target)


def _bar(kind: str, x: float, width: float, share: float) -> Markup:
    height = share * (_FLOOR - 4.0)
    return element("rect", class_=kind, x=x, y=_FLOOR - height, width=width, height=height)


def _labels(shown: Distribution, step: float) -> list[Markup]:
    """Label the ends of a numeric range, or each value if there is room."""
    if shown.numeric:
        low, high = shown.bins[0].name, shown.bins[-1].name
        return [
            element("text", low, class_="label", x=0.0, y=HEIGHT - 3),
            element("text", high, class_="label end", x=WIDTH, y=HEIGHT - 3),
        ]
    letters = int(step / _LETTER)
    if letters < 2:  # a single letter is no useful label
        return []
    return [
        element(
            "text",
            shorten(bin_.name, letters),
            class_="label mid",
            x=(n + 0.5) * step,
            y=HEIGHT - 3,
        )
        for n, bin_ in enumerate(shown.bins)
    ]


def _words(bin_: Bin, origin: str) -> str:
    return f"{bin_.name}: {percent(bin_.current)} of the rows, {percent(bin_.expected)} {origin}"
