"""Objects as the API server sends them, read as far as sums need them. Nothing in them raises."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ValidationError

from controller.aggregation.contribution import NodeReport
from controller.aggregation.rollup import Policy
from controller.aggregation.watchevents import Raw
from controller.api.documents import crowd
from controller.api.nodestate import BriefPolicy, NodeMemoryState
from controller.api.policy import MemoryPolicy
from controller.api.problems import Problem, dotted
from controller.api.wording import explain, path_of

_READ = ("apiVersion", "kind", "metadata", "spec")
"""Of a policy; as agents have it."""


def decode_policy(raw: Raw) -> Policy:
    """A policy; one that this version cannot read selects no node and says why."""
    metadata = raw["metadata"]
    identity = metadata["name"], metadata.get("uid", ""), metadata.get("generation", 0)
    if problem := crowd(raw, "spec"):
        return Policy(*identity, None, str(problem))
    try:
        policy = MemoryPolicy.model_validate({part: raw[part] for part in _READ if part in raw})
    except ValidationError as errors:
        return Policy(*identity, None, _said(errors, MemoryPolicy))
    rollout = policy.spec.rollout if policy.spec.mode == "Enforce" else None
    return Policy(*identity, policy.spec.node_selector, rollout=rollout)


def decode_state(raw: Raw) -> NodeReport:
    """A node's state; one that this version cannot read says why."""
    node, reported_at = raw["metadata"]["name"], written_at(raw)
    mark = raw["metadata"].get("resourceVersion", "")
    if problem := crowd(raw, "status"):
        return NodeReport(node, mark, reported_at, problem=str(problem))
    try:
        status = NodeMemoryState.model_validate(raw).status
    except ValidationError as errors:
        return NodeReport(node, mark, reported_at, problem=_said(errors, NodeMemoryState))
    policies = {policy.name: policy for policy in status.policies}
    return NodeReport(
        node,
        status.observed_time,
        reported_at,
        pressure=status.holds("HostMemoryPressure"),
        policies=policies,
        brief={uid: BriefPolicy(*numbers) for uid, numbers in status.brief_policies.items()},
        left_out=status.policies_left_out,
    )


def decode_labels(raw: Raw) -> Mapping[str, str]:
    """A Node's labels."""
    labels: Mapping[str, str] = raw["metadata"].get("labels") or {}
    return labels


def written_at(raw: Raw) -> str:
    """When the object was last written, by the API server's clock; empty where it does not say.

    An apply that changes a value renews the time of its manager's entry in `managedFields`.
    """
    entries = raw["metadata"].get("managedFields") or ()
    return max((entry.get("time") or "" for entry in entries), default="")


def age_s(written: str, now: str) -> float:
    """Seconds between two RFC 3339 times of the API server's clock; 0 where one makes no sense, or is in the future."""
    try:
        return max(0.0, (datetime.fromisoformat(now) - datetime.fromisoformat(written)).total_seconds())
    except (ValueError, OverflowError, TypeError):  # TypeError: one of the two without its zone
        return 0.0


def _said(errors: ValidationError, model: type[BaseModel]) -> str:
    """The first error in one line: field, value, remedy."""
    error = errors.errors(include_url=False)[0]
    value = error["input"] if isinstance(error["input"], str | int | float) else ""
    return str(Problem("", None, dotted(path_of(error, model)), str(value), *explain(error, model)))
