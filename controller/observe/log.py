"""Logging set-up: one line an event, for people or as JSON lines.

A record's structured numbers travel in `extra={"fields": {...}}`; the human format shows the message only.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from controller.api.printable import bounded, printable

FORMATS = ("human", "json")
LEVELS = ("debug", "info", "warning", "error")


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Never contains a raw line break, whatever the message holds."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": bounded(record.getMessage()),
            **{name: _short(value) for name, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _short(value: Any) -> Any:
    return bounded(value) if isinstance(value, str) else value


class HumanLines(logging.Formatter):
    """`2025-01-31 12:00:00 warning message`; without the time where the journal writes it already."""

    def __init__(self, timestamps: bool) -> None:
        prefix = "%(asctime)s " if timestamps else ""
        super().__init__(f"{prefix}%(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Control characters of a message (a domain's name can hold any) are shown escaped."""
        text = super().format(record)
        if record.exc_info:
            return "\n".join(map(printable, text.split("\n")))
        return bounded(printable(text))


def configure(style: str, level: str, stream: TextIO = sys.stderr) -> None:
    """Send everything Ballast logs to `stream`. `style` is one of FORMATS, `level` one of LEVELS."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if style == "json" else HumanLines("JOURNAL_STREAM" not in os.environ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("controller").setLevel(level.upper())
