"""A storage of kopf that keeps nothing: handlers of events need neither diffs nor progress.

kopf's own ones copy every object several times for each event, to find out what has changed since it was last handled.
That was most of what a status write of a policy cost on every node. They would also clean up after themselves in a
policy that carries annotations of kopf, copied from elsewhere; these write nothing, whatever a policy says.
"""

from typing import Any

import kopf


class NoStorage(kopf.DiffBaseStorage, kopf.ProgressStorage):
    """No object was ever handled before, and nothing of it is worth comparing."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing, instead of a copy of the object."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Nothing is kept."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """There is nothing to remove."""

    def touch(self, **_: Any) -> None:
        """Leave the object alone."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """There is nothing of ours in it."""
        return essence
