"""A Prometheus of one's own that scrapes some endpoints every second."""

import json
import shutil
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from lab.ballast import free_port
from lab.daemons import Daemons
from lab.prometheus.programs import program

JOB = "ballast"
"""What the rules and the dashboard call the scraping of Ballast."""
START_S = 90
"""Deadline for it to be ready; it takes a second."""
ANSWER_S = 30
"""Deadline for one answer."""


class Prometheus:
    """Up inside the `with` block, and gone with its data after it."""

    def __init__(self, targets: Sequence[str], rules: Path, **job: Any) -> None:
        """`targets`: each a HOST:PORT that serves /metrics. `rules`: a file of alerts. `job`: how they are scraped
        otherwise than usual, in Prometheus' words. Raises LabError.
        """
        self._daemons = Daemons()
        root = self._daemons.root
        try:
            shutil.copy(rules, root / "rules.yaml")
            (root / "prometheus.yaml").write_text(yaml.safe_dump(_configuration(targets, job)))
            address = f"127.0.0.1:{free_port()}"
            self.url = f"http://{address}"
            log = root / "prometheus.log"
            files = [f"--config.file={root}/prometheus.yaml", f"--storage.tsdb.path={root}/tsdb"]
            pid = self._daemons.start([str(program("prometheus")), *files, f"--web.listen-address={address}"], log)
            self._daemons.wait(pid, log, self._ready, START_S)
        except BaseException:
            self._daemons.stop()
            raise

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector that `expression` gives now. Raises HTTPError for one that it does not take."""
        result: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return result

    def firing(self) -> dict[str, dict[str, str]]:
        """Labels and annotations together, by name of each alert that fires."""
        alerts = [alert for alert in self._ask("alerts")["alerts"] if alert["state"] == "firing"]
        return {alert["labels"]["alertname"]: alert["labels"] | alert["annotations"] for alert in alerts}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemons.stop()

    def _ask(self, what: str, **parameters: str) -> dict[str, Any]:
        url = f"{self.url}/api/v1/{what}?{urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310 - http, and our own
            data: dict[str, Any] = json.load(answer)["data"]
            return data

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=ANSWER_S):  # noqa: S310 - http, and our own
                return True
        except OSError:  # also where it does not answer in time
            return False


def _configuration(targets: Sequence[str], job: dict[str, Any]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": list(targets)}], **job}],
    }
