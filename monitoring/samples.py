"""Sampled rows of tensors in their stored form, which is small and safe to display."""

from typing import Literal

import msgspec

# png: a small picture. file: an encoded image as the client sent it, until the scoring process
# replaces it by a picture. text: the beginning of a text. vector: FP32, little-endian. none: the
# reason why the row cannot be shown.
SampleForm = Literal["png", "file", "text", "vector", "none"]


class Sample(msgspec.Struct, frozen=True, order=True):
    """One sampled row of a tensor."""

    tensor: str
    number: int  # the row's hash
    start: int  # start of the pane that contains the row's event time
    form: SampleForm
    body: bytes

    @property
    def words(self) -> str:
        """The text, or the reason why there is none; empty for other forms."""
        return self.body.decode(errors="replace") if self.form in {"text", "none"} else ""
