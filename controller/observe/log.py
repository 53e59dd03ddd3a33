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
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""Lowest level of a record, and syslog(3)'s number for it, most urgent first."""


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


class JournalLines(logging.Formatter):
    """Lines of another format, each with its priority in front as sd-daemon(3) has it, for `journalctl --priority`."""

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        """The journal makes an entry of every line of a traceback, too."""
        priority = next(number for level, number in PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in self._lines.format(record).split("\n"))


def configure(style: str, level: str, stream: TextIO = sys.stderr) -> None:
    """Send everything Ballast logs to `stream`. `style` is one of FORMATS, `level` one of LEVELS."""
    journal = _is_journal(stream)
    lines = JsonLines() if style == "json" else HumanLines(timestamps=not journal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JournalLines(lines) if journal else lines)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("controller").setLevel(level.upper())


def _is_journal(stream: TextIO) -> bool:
    """systemd names device and inode of its socket to the journal; a stream that was redirected has others."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # a stream without a descriptor, or with one that is closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
