"""What Ballast said, read back from its JSON log: its balloon orders, and what a person would have noticed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """A balloon order that libvirt took; MiB."""

    at: float
    """Seconds since the epoch, just after it was given."""
    name: str
    uuid: str
    before: int
    target: int


def orders(log: Path) -> list[Order]:
    """All of them, oldest first."""
    return [
        Order(
            datetime.fromisoformat(line["time"]).timestamp(),
            line["domain"],
            line["key"].rsplit("/", 1)[-1],
            line["from_mib"],
            line["to_mib"],
        )
        for line in _lines(log)
        if line.get("event") == "action"
    ]


def remarks(log: Path, since: float) -> list[str]:
    """Notices and warnings from `since` (seconds since the epoch) on, each once, in order."""
    told = (
        f"{line['domain']}: {line['reason']}" if line.get("event") == "notice" else line["message"]
        for line in _lines(log)
        if (line.get("event") == "notice" or line["level"] in {"warning", "error"})
        and datetime.fromisoformat(line["time"]).timestamp() >= since
    )
    return list(dict.fromkeys(told))


def tracebacks(log: Path) -> int:
    """How many there are; any is a bug."""
    return log.read_text(errors="replace").count("Traceback (most recent call last)")


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    for text in log.read_text(errors="replace").splitlines():
        try:
            yield json.loads(text)
        except json.JSONDecodeError:  # cut off by a kill or a full disk
            continue
