"""Write text of other people and systems to a terminal: names, reasons, errors.

Controls, direction overrides and invisible characters are shown as escapes, as JSON writes them, so
that no text can move the cursor, change the window's title, or look like another text. The
colours of `rich` pass.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def escaped(text: str) -> str:
    """Return the text with an escape for each character that is not printable.

    Line ends and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class EscapingStream:
    """A text stream that escapes what is written to it; other attributes are the inner stream's."""

    def __init__(self, stream: TextIO) -> None:
        self.unescaped = stream

    def write(self, text: str) -> int:
        """Write the text, escaped except for colours."""
        if not isinstance(text, str):  # click tries whether a stream takes bytes
            return self.unescaped.write(text)
        if "\x1b" in text:
            colours = [*_COLOUR.findall(text), ""]
            parts = [escaped(part) for part in _COLOUR.split(text)]
            written = "".join(part + colour for part, colour in zip(parts, colours, strict=True))
        else:
            written = escaped(text)
        self.unescaped.write(written)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write every line, escaped."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unescaped, name)


# Python up to 3.12 lets `print` use a stream that it does not own: a thread that still prints
# when the block ends would end the process if nothing else held the stream.
_in_use: list[TextIO] = []


@contextmanager
def escaped_streams() -> Iterator[None]:
    """Escape what is written to standard output and error while the block runs."""
    before = sys.stdout, sys.stderr
    escaping = [cast("TextIO", EscapingStream(stream)) for stream in before]
    _in_use.extend(escaping)
    sys.stdout, sys.stderr = escaping
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _UnreadStream:
    """A text stream that drops what is written after its reader has ended."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def finish_unread() -> Iterator[None]:
    """Let a change of several steps finish although the reader of its output ends: `| head`."""
    before = sys.stdout
    stream = cast("TextIO", _UnreadStream(before))
    _in_use.append(stream)
    sys.stdout = stream
    try:
        yield
    finally:
        stream.flush()
        sys.stdout = before


def own_control(stream: TextIO) -> TextIO:
    """Return the unescaped stream, for a display that moves the cursor and shows only own text."""
    inner: TextIO = getattr(stream, "unescaped", stream)
    return inner
