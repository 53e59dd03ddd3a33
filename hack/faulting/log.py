"""What Ballast said, read back from its JSON log: the orders it claims, and what a person would have noticed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Claim:
    """A balloon order that libvirt took, by Ballast's word."""

    at: float
    """Seconds since the epoch, just after it was given."""
    uuid: str
    target: int
    """MiB."""


def claims(log: Path) -> list[Claim]:
    """All of them, oldest first."""
    return [
        Claim(datetime.fromisoformat(line["time"]).timestamp(), line["key"].partition("@")[0], line["to_mib"])
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


def complaints(log: Path, since: float) -> list[str]:
    """Every warning and error from `since` (seconds since the epoch) on, however often it was said."""
    return [
        line["message"]
        for line in _lines(log)
        if line["level"] in {"warning", "error"} and datetime.fromisoformat(line["time"]).timestamp() >= since
    ]


def tracebacks(log: Path) -> int:
    """How many there are; any is a bug."""
    return log.read_text(errors="replace").count("Traceback (most recent call last)")


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    for text in log.read_text(errors="replace").splitlines():
        try:
            yield json.loads(text)
        except json.JSONDecodeError:  # cut off by a kill or a full disk
            continue
