"""The sampled inputs of a window as the page and the API show them."""

import msgspec

from monitoring.presenter.links import samples_path
from monitoring.results import Result
from monitoring.web.queries import Queries


class SampledRowView(msgspec.Struct, frozen=True):
    """One sampled row: a picture, a text, or a note that explains why neither is shown."""

    picture: str = ""  # path of its URL
    text: str | None = None
    note: str = ""


class SampledInputView(msgspec.Struct, frozen=True):
    """The sampled rows of one input."""

    tensor: str
    rows: list[SampledRowView]


def sampled_inputs(store: Queries, result: Result) -> list[SampledInputView]:
    """Return the inputs that can be shown; empty if payloads are not logged."""
    folder = samples_path(result.model, result.version, result.window.start)
    rows: dict[str, list[SampledRowView]] = {}
    for place, sample in enumerate(store.samples(result.model, result.version, result.window)):
        if sample.form == "png":
            view = SampledRowView(picture=f"{folder}/{place}.png")
        elif sample.form == "text":
            view = SampledRowView(text=sample.words)
        else:
            note = "its picture is being prepared" if sample.form == "file" else sample.words
            view = SampledRowView(note=note)
        rows.setdefault(sample.tensor, []).append(view)
    return [
        SampledInputView(tensor, views)
        for tensor, views in rows.items()
        if any(view != SampledRowView() for view in views)
    ]
