"""A distribution as a small picture: the reference behind, the window in front. Pure."""

from markupsafe import Markup

from monitoring.presenter.formats import percent
from monitoring.web.charts.lines import shorten
from monitoring.web.charts.svg import drawing, element
from monitoring.web.distributions import Bin, Distribution

WIDTH, HEIGHT = 250.0, 118.0
_FLOOR = HEIGHT - 16.0  # where the bars stand
_LETTER = 7.4  # pixels, about


def bars(shown: Distribution) -> Markup:
    """Return one column's bins from left to right; each shows its shares in a tooltip."""
    words = [_words(bin_, shown.beside) for bin_ in shown.bins]
    changed = max(
        range(len(words)), key=lambda n: abs(shown.bins[n].found - shown.bins[n].expected)
    )
    highest = max(max(bin_.expected, bin_.found) for bin_ in shown.bins)
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
    front = _bar("p0", left + gap / 2 + width * 0.2, width * 0.6, bin_.found / highest)
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
    """Return the ends of a range of numbers; of values, each name that has room."""
    if shown.numeric:
        low, high = shown.bins[0].name, shown.bins[-1].name
        return [
            element("text", low, class_="label", x=0.0, y=HEIGHT - 3),
            element("text", high, class_="label end", x=WIDTH, y=HEIGHT - 3),
        ]
    letters = int(step / _LETTER)
    if letters < 2:  # one letter names nothing
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


def _words(bin_: Bin, beside: str) -> str:
    return f"{bin_.name}: {percent(bin_.found)} of the rows, {percent(bin_.expected)} {beside}"
