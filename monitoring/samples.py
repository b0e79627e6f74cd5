"""Sampled rows of tensors, as they are stored: small, and safe to display."""

from typing import Literal

import msgspec

# png: a small picture. file: an encoded image as it was sent, until the scoring process has made a
# picture of it. text: the beginning of a text. vector: FP32, little-endian. none: why there is
# nothing to look at.
SampleForm = Literal["png", "file", "text", "vector", "none"]


class Sample(msgspec.Struct, frozen=True, order=True):
    """One sampled row of a tensor."""

    tensor: str
    number: int  # its hash
    start: int  # start of the pane that contains the row's event time
    form: SampleForm
    body: bytes

    @property
    def words(self) -> str:
        """The text, or the reason for none; empty for a picture."""
        return self.body.decode(errors="replace") if self.form in {"text", "none"} else ""
