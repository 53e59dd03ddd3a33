"""Which nodes and domains a policy is for. Pure."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from controller.api.policy import DomainSelector, Expression, NodeSelector


def matches_node(selector: NodeSelector, name: str, labels: Mapping[str, str]) -> bool:
    """True when every field that is not empty matches the node; so an empty selector matches every node."""
    return (
        _matches_name(selector.names, name)
        and selector.match_labels.items() <= labels.items()
        and all(_holds(expression, labels) for expression in selector.match_expressions)
    )


def matches_domain(selector: DomainSelector, name: str, uuid: str, labels: Mapping[str, str]) -> bool:
    """True when every field that is not empty matches the domain; `labels` are those of its metadata."""
    return (
        _matches_name(selector.names, name)
        and (not selector.uuids or uuid in selector.uuids)
        and selector.labels.items() <= labels.items()
    )


def _matches_name(globs: tuple[str, ...], name: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _holds(expression: Expression, labels: Mapping[str, str]) -> bool:
    """As in a Kubernetes LabelSelector: `NotIn` also holds where the label is absent."""
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value in expression.values
        case "NotIn":
            return value not in expression.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
