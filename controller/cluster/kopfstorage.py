"""Storages of kopf that keep nothing: handlers of events need neither diffs nor progress.

kopf's own ones copy every object several times for each event, to find out what has changed since it was last handled.
That was most of what a status write of a policy cost on every node. They would also clean up after themselves in a
policy that carries annotations of kopf, copied from elsewhere; these write nothing, whatever a policy says.
"""

from typing import Any

import kopf


class NoDiffs(kopf.DiffBaseStorage):
    """No object was ever handled before, and nothing of it is worth comparing."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002 - kopf's signature
        """Nothing, instead of a copy of the object."""
        return {}

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 - kopf's signature
        """Nothing is kept."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """Handlers of events succeed or fail at once."""

    def fetch(self, *, key: Any, body: kopf.Body) -> None:
        """Nothing is kept."""

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Keep nothing."""

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """There is nothing to remove."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Leave the object alone."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """There is nothing of ours in it."""
        return essence
