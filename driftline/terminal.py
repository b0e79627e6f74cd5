"""Write foreign text, such as names, reasons and errors, safely to a terminal.

Control characters, direction overrides and invisible characters are shown as JSON escapes, so that
no text can move the cursor, change the window's title, or look like another text. Colours of `rich`
are not escaped.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def escaped(text: str) -> str:
    """Return the text with unprintable characters escaped, except line ends and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class EscapingStream:
    """A text stream that escapes text and then writes it to an inner stream."""

    def __init__(self, stream: TextIO) -> None:
        self.unescaped = stream

    def write(self, text: str) -> int:
        """Write the text, escaped except for colours."""
        if not isinstance(text, str):  # click writes bytes to find out whether a stream is binary
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


# These references keep the streams alive. Up to Python 3.12, `print` does not own a reference to
# its stream, so a thread that still prints after the block would crash the process.
_in_use: list[TextIO] = []


@contextmanager
def escaped_streams() -> Iterator[None]:
    """Escape text written to standard output and standard error inside the block."""
    before = sys.stdout, sys.stderr
    escaping = [cast("TextIO", EscapingStream(stream)) for stream in before]
    _in_use.extend(escaping)
    sys.stdout, sys.stderr = escaping
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _UnreadStream:
    """A text stream that discards text after its reader has exited."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def finish_unread() -> Iterator[None]:
    """Let a command with several steps finish even if the reader of its output exits (`| head`)."""
    before = sys.stdout
    stream = cast("TextIO", _UnreadStream(before))
    _in_use.append(stream)
    sys.stdout = stream
    try:
        yield
    finally:
        stream.flush()
        sys.stdout = before


def unescaped_stream(stream: TextIO) -> TextIO:
    """Return the unescaped stream, for displays that move the cursor and show no foreign text."""
    inner: TextIO = getattr(stream, "unescaped", stream)
    return inner
