"""The Lease of an election in the API server, and the thread that takes part in it."""

from collections.abc import Callable
from typing import Any

from controller.cluster.client import Client
from controller.cluster.election import Election, LeaseError, LeaseRecord, VersionedLease
from controller.cluster.errors import ApiError, invalid
from controller.cluster.resources import LEASES, Object
from controller.cluster.shape import sound, version_of
from controller.cluster.worker import Worker


class ApiLease:
    """One Lease by name; a LeaseStore."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._known: Object = {}

    def read(self) -> VersionedLease | None:
        """The Lease; None when there is none. Raises LeaseError."""
        try:
            return self._keep(self._client.get(LEASES, self._name, namespace=self._namespace))
        except ApiError as error:
            if error.not_found:
                return None
            raise self._refused(error) from error

    def create(self, record: LeaseRecord) -> VersionedLease:
        """Make the Lease. Raises LeaseError."""
        lease = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": _spec(record),
        }
        try:
            return self._keep(self._client.create(LEASES, lease, namespace=self._namespace))
        except ApiError as error:
            raise self._refused(error) from error

    def replace(self, record: LeaseRecord, version: str) -> VersionedLease:
        """Write the Lease unless it changed since `version`; what others keep in it stays. Raises LeaseError."""
        metadata = self._known["metadata"] | {"resourceVersion": version}
        lease = self._known | {"metadata": metadata, "spec": (self._known.get("spec") or {}) | _spec(record)}
        try:
            return self._keep(self._client.update(LEASES, lease, namespace=self._namespace))
        except ApiError as error:
            raise self._refused(error) from error

    def _keep(self, lease: Object) -> VersionedLease:
        """Raises ApiError."""
        version, spec = version_of(lease), sound(lease).get("spec") or {}
        self._known = lease
        record = LeaseRecord(
            holder=_text(spec, "holderIdentity"),
            duration_s=_number(spec, "leaseDurationSeconds"),
            acquired_at=_text(spec, "acquireTime"),
            renewed_at=_text(spec, "renewTime"),
            transitions=_number(spec, "leaseTransitions"),
        )
        return VersionedLease(record, version)

    def _refused(self, error: ApiError) -> LeaseError:
        return LeaseError(f"Lease {self._namespace}/{self._name}: {error}")


class LeaseCandidate:
    """Takes part in an election from a thread of its own. `worker` is to be entered; nothing is released at its end."""

    def __init__(self, election: Election, changed: Callable[[], None]) -> None:
        """`changed` is called, from that thread, whenever this replica begins or ends to lead."""
        self._election = election
        self._changed = changed
        self._led = False
        self.worker = Worker("election", self._turn)

    @property
    def problem(self) -> str:
        """Why the Lease cannot be read or written; empty when it can."""
        return self._election.problem

    def _turn(self) -> float:
        pause = self._election.turn()
        if self._election.leading is not self._led:
            self._led = not self._led
            self._changed()
        return pause


def _text(spec: Object, field: str) -> str:
    """Raises ApiError for what is no text."""
    value = spec.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(f"spec.{field} of a Lease is not text")
    return value


def _number(spec: Object, field: str) -> int:
    """Raises ApiError for what is no number of 32 bits, as the API has it."""
    value = spec.get(field)
    if value is None:
        return 0
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise invalid(f"spec.{field} of a Lease is not a number that it can have")
    return value


def _spec(record: LeaseRecord) -> dict[str, Any]:
    return {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration_s,
        "acquireTime": record.acquired_at,
        "renewTime": record.renewed_at,
        "leaseTransitions": record.transitions,
    }
