"""A real Chromium without a window, driven by its DevTools protocol: pages, their console, and pictures of them."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

from lab.daemons import until

START_S = 60.0
"""Seconds a browser may take to start, or to load a page, on a busy machine."""
LISTENS = re.compile("DevTools listening on ws://([^/]+)/")
"""In what it says on standard error, with its address."""
STILL = "setInterval = () => 0; AbortSignal.timeout = () => new AbortController().signal"
"""In every page, before its own scripts: it is renewed when it is told to, and waits for that on a busy machine."""
WIDTH, HEIGHT = 1400, 900


class Tab:
    """One tab. Everything the browser complained of since its page was opened is in `complaints`."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._number = 0
        self._loads = 0
        self._asked: dict[str, str] = {}
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Audits", "Network"):
            self._call(f"{domain}.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=STILL)

    def open(self, url: str, scheme: str = "light") -> None:
        """Load a page for someone who prefers this colour scheme; returns when all of it is there."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[feature])
        self._navigate("about:blank")  # ends what the last page was about to ask for
        self.complaints.clear()
        self._navigate(url)

    def resize(self, width: int, height: int) -> None:
        """The screen, in CSS pixels; narrower than WIDTH it is a phone's."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < WIDTH}
        self._call("Emulation.setDeviceMetricsOverride", **screen)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        result = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def picture(self) -> bytes:
        """A PNG of what is in sight."""
        return base64.b64decode(self._call("Page.captureScreenshot")["data"])

    def _navigate(self, url: str) -> None:
        before = self._loads
        self._call("Page.navigate", url=url)
        while self._loads == before:
            self._receive()

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, message["error"]
                return message["result"]

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        self._loads += message.get("method") == "Page.loadEventFired"
        if message.get("method") == "Network.requestWillBeSent":
            self._asked[message["params"]["requestId"]] = message["params"]["request"]["url"]
        complaints = {
            "Runtime.exceptionThrown": lambda told: told["exceptionDetails"]["text"],
            "Runtime.consoleAPICalled": lambda told: str(told["args"]),
            "Log.entryAdded": lambda told: told["entry"]["text"],
            "Audits.issueAdded": lambda told: str(told["issue"]),
            "Network.loadingFailed": lambda told: f"{told['errorText']} {self._asked.get(told['requestId'])}",
        }
        if message.get("method") in complaints:
            self.complaints.append(complaints[message["method"]](message["params"]))
        return message


@contextmanager
def browser() -> Iterator[Tab]:
    """A Chromium with a profile of its own, which ends with the block."""
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing; ./hack/setup installs it"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"]
        options += ["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
        environment = os.environ | {"HOME": profile, "TMPDIR": profile}
        command = [program, *options, "about:blank"]
        log = Path(profile) / "log"  # not a pipe: it is told more than a pipe holds
        with log.open("w") as said:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        try:
            until(lambda: bool(LISTENS.search(log.read_text()) or process.poll()), START_S, "chromium listening")
            told = LISTENS.search(log.read_text())
            assert told is not None, f"chromium did not start: {log.read_text()}"
            until(lambda: _tabs(told[1]) != [], START_S, "chromium's first tab")
            socket = websocket.create_connection(_tabs(told[1])[0], timeout=START_S, suppress_origin=True)
            yield Tab(socket)
            socket.close()
        finally:
            process.terminate()
            process.wait(START_S)


def _tabs(host: str) -> list[str]:
    """Addresses of its tabs; there is none yet when it begins to listen."""
    with urlopen(f"http://{host}/json/list", timeout=START_S) as reply:
        return [str(each["webSocketDebuggerUrl"]) for each in json.load(reply) if each["type"] == "page"]
