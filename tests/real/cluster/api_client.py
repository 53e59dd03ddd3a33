"""A client for tests that ask an API server thousands of times: one kept connection, JSON in and out."""

import base64
import http.client
import json
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

ANSWER_S = 60
"""Deadline for one answer; an idle server takes milliseconds."""
IDLE_S = 30.0
"""After which a connection is made anew: the API server closes one that rests for 90 s, just as the next request may be
on its way."""

STATES = "/apis/ballast.dev/v1alpha1/nodememorystates"

STATUS = {
    "observedTime": "2026-01-31T12:00:00Z",
    "memory": {
        "total": "64000Mi",
        "reserve": "3000Mi",
        "budget": "60000Mi",
        "allocated": "30000Mi",
        "demand": "20000Mi",
        "short": "0Mi",
        "reclaimable": "9000Mi",
    },
    "domains": 0,
    "stableDomains": 0,
}
"""What an agent says of a node without domains."""


class Answer(NamedTuple):
    """What the API server said."""

    status: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """Why it refused; empty when it did not."""
        return str(self.body.get("message", "")) if self.status >= 400 else ""


class ApiClient:
    """One user's connection to an API server."""

    def __init__(self, url: str, trust: ssl.SSLContext, token: str = "") -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=ANSWER_S, context=trust
        )
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._asked_at = time.monotonic()

    @classmethod
    def of_kubeconfig(cls, kubeconfig: Path) -> Self:
        """As the user whose certificate is in the file (JSON, as the lab writes it)."""
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as proof:
            proof.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
            proof.flush()
            trust.load_cert_chain(proof.name)
        return cls(cluster["server"], trust)

    @classmethod
    def of_token(cls, url: str, authority: Path, token: str) -> Self:
        """As the service account that the token is of."""
        return cls(url, ssl.create_default_context(cafile=authority), token)

    def ask(self, method: str, path: str, body: object = None, content: str = "application/json") -> Answer:
        """One request; any status is an answer. Of a watch it is the first event."""
        data = None if body is None else json.dumps(body).encode()
        if time.monotonic() - self._asked_at > IDLE_S:
            self._connection.close()
        self._asked_at = time.monotonic()
        self._connection.request(method, path, data, {**self._headers, "Content-Type": content})
        response = self._connection.getresponse()
        text, _, _ = response.read().partition(b"\n")
        return Answer(response.status, json.loads(text) if text.startswith(b"{") else {"message": text.decode()})

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
