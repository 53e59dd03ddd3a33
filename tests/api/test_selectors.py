"""Which nodes and domains a selector selects."""

import pytest

from controller.api.policy import DomainSelector, NodeSelector
from controller.api.selectors import matches_domain, matches_node

UUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
OTHER = "00000000-2fa1-11d2-883f-0016d3cca427"


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"names": ["node-1"]}, True),
        ({"names": ["node-?"]}, True),
        ({"names": ["other", "node-[0-9]"]}, True),
        ({"names": ["NODE-*"]}, False),
        ({"names": ["node"]}, False),
        ({"matchLabels": {"zone": "a"}}, True),
        ({"matchLabels": {"zone": "a", "disk": "ssd"}}, False),
        ({"matchLabels": {"zone": "b"}}, False),
        ({"names": ["node-*"], "matchLabels": {"zone": "b"}}, False),
        ({"names": ["other"], "matchLabels": {"zone": "a"}}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}, False),
        ({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "disk", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "disk", "operator": "DoesNotExist"}]}, True),
        (
            {
                "matchExpressions": [
                    {"key": "zone", "operator": "Exists"},
                    {"key": "disk", "operator": "Exists"},
                ]
            },
            False,
        ),
    ],
)
def test_nodes(selector: dict[str, object], selected: bool) -> None:
    node = NodeSelector.model_validate(selector)
    assert matches_node(node, "node-1", {"zone": "a", "arch": "x"}) is selected


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"names": ["web-*"]}, True),
        ({"names": ["Web-*"]}, False),
        ({"uuids": [OTHER, UUID]}, True),
        ({"uuids": [OTHER]}, False),
        ({"labels": {"tier": "db"}}, True),
        ({"labels": {"tier": "web"}}, False),
        ({"labels": {"tier": "db", "team": "x"}}, False),
        ({"names": ["web-*"], "uuids": [OTHER]}, False),
        ({"names": ["web-*"], "uuids": [UUID], "labels": {"tier": "db"}}, True),
    ],
)
def test_domains(selector: dict[str, object], selected: bool) -> None:
    domain = DomainSelector.model_validate(selector)
    assert matches_domain(domain, "web-1", UUID, {"tier": "db", "owner": "me"}) is selected


def test_a_glob_cannot_be_made_slow() -> None:
    domain = DomainSelector.model_validate({"names": ["*a" * 120 + "b"]})
    assert not matches_domain(domain, "a" * 250, UUID, {})
