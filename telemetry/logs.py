"""Log format of every process: text for people, or JSON for log collectors.

A line can identify its request (`extra=about(traceparent)`), but never contains request content.
"""

import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Format = Literal["text", "json"]

PREFIX = "DRIFTLINE_LOGGING_"

# The attributes that a line can have in addition to its message.
NAMES = ("trace_id", "span_id", "prediction_id", "model", "version")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_OWN_HANDLERS = ("bentoml", "uvicorn", "uvicorn.error", "circus")
_CHATTY = (  # loggers that log only warnings and errors
    "alembic", "asyncio", "httpcore", "httpx", "kafka", "uvicorn.access",
)  # fmt: skip


class LoggingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """DRIFTLINE_LOGGING_*: the log lines on standard error."""

    format: Format = "text"  # text for people, or one JSON object per line
    level: Literal["debug", "info", "warning", "error"] = "info"


class TextLines(logging.Formatter):
    """Log records as text; line breaks within a record are escaped, so it stays one line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line before an exception's traceback."""
        return _one_line(super().formatMessage(record))


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger, process, message, and the fields in NAMES."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the log line."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": record.getMessage(),
        }
        fields |= {name: value for name in NAMES if (value := getattr(record, name, ""))}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _one_line(msgspec.json.encode(fields).decode())


def configure(process: str, settings: LoggingSettings) -> None:
    """Configure the log format of this process.

    `process` is service, forwarder or monitor.
    """
    for name in _OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(process, settings))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def for_dictionary(process: str, settings: LoggingSettings) -> dict[str, Any]:
    """Return the log format as a formatter of `logging.config.dictConfig`."""
    return {"()": lambda: _formatter(process, settings)}


def about(traceparent: str = "", **names: str) -> Mapping[str, str]:
    """Return the log attributes of a request."""
    _, trace, span, _ = traceparent.split("-") if traceparent else ("", "", "", "")
    return {"trace_id": trace, "span_id": span, **names}


def _formatter(process: str, settings: LoggingSettings) -> logging.Formatter:
    return JsonLines(process) if settings.format == "json" else TextLines(_TEXT)


def _one_line(text: str) -> str:
    """Escape non-printable characters as JSON does; a terminal could interpret them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
