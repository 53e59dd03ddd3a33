"""Which nodes and domains a selector selects."""

import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.api import selectors
from controller.api.policy import DomainSelector, NodeSelector, Selectors
from controller.api.selectors import SelectorSubject, SelectorSubjects, matches_node

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
        ({"matchLabels": {"tier": "db"}}, True),
        ({"matchLabels": {"tier": "web"}}, False),
        ({"matchLabels": {"tier": "db", "team": "x"}}, False),
        ({"names": ["web-*"], "uuids": [OTHER]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "db"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web", "db"]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, False),
        ({"matchLabels": {"tier": "db"}, "matchExpressions": [{"key": "owner", "operator": "DoesNotExist"}]}, False),
        ({"names": ["web-*"], "uuids": [UUID], "matchLabels": {"tier": "db"}}, True),
    ],
)
def test_domains(selector: dict[str, object], selected: bool) -> None:
    other = SelectorSubject("other", "", {})
    asked = SelectorSubjects([other, SelectorSubject("web-1", UUID, {"tier": "db", "owner": "me"})])
    assert (1 in asked.selected(DomainSelector.model_validate(selector))) is selected


LABELS = ({}, {"tier": "db"}, {"tier": "web"}, {"team": "x"}, {"tier": "db", "team": "x"})
EXPRESSIONS = [
    {"key": "tier", "operator": operator} | ({"values": values} if values else {})
    for operator, values in (
        *(("In", ["db"]), ("In", ["db", "web"]), ("In", ["other"]), ("NotIn", ["db"]), ("NotIn", ["db", "web"])),
        *(("Exists", None), ("DoesNotExist", None)),
    )
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_domains_and_nodes_are_selected_alike(expression: dict[str, object]) -> None:
    selector = {"matchLabels": {"team": "x"}, "matchExpressions": [expression]}
    for entries in (selector, {"matchExpressions": [expression]}):
        nodes = [matches_node(NodeSelector.model_validate(entries), "a", labels) for labels in LABELS]
        asked = SelectorSubjects([SelectorSubject("a", "", labels) for labels in LABELS])
        expected = [row for row, selected in enumerate(nodes) if selected]
        assert list(asked.selected(DomainSelector.model_validate(entries))) == expected


class TestVirtualMachinesOfPods:
    """`selectors`: of the domains that `domainSelector` selects those in pods whose labels and namespaces match."""

    PODS = (
        SelectorSubject("host", "", {"tier": "db"}),
        SelectorSubject("db", "", {}, {"tier": "db"}, {"team": "x"}),
        SelectorSubject("web", "", {}, {"tier": "web"}, {"team": "x"}),
        SelectorSubject("bare", "", {}, {}, {}),
    )

    @pytest.mark.parametrize(
        ("selectors", "names"),
        [
            ({"all": True}, ["db", "web", "bare"]),
            ({}, ["db", "web", "bare"]),
            ({"virtualMachineInstanceSelector": {"matchLabels": {"tier": "db"}}}, ["db"]),
            ({"virtualMachineInstanceSelector": {}}, ["db", "web", "bare"]),
            ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, ["db", "web"]),
            ({"namespaceSelector": {"matchLabels": {"tier": "db"}}}, []),
            ({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}}, ["bare"]),
            (
                {
                    "namespaceSelector": {"matchLabels": {"team": "x"}},
                    "virtualMachineInstanceSelector": {
                        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}]
                    },
                },
                ["web"],
            ),
        ],
    )
    def test_no_domain_outside_of_a_pod_is_selected(self, selectors: dict[str, object], names: list[str]) -> None:
        found = SelectorSubjects(self.PODS).selected(DomainSelector(), Selectors.model_validate(selectors))
        assert [self.PODS[row].name for row in found] == names

    def test_domain_selectors_match_as_well(self) -> None:
        asked = SelectorSubjects(self.PODS)
        assert asked.selected(DomainSelector(names=("web", "host")), Selectors(all=True)) == [2]
        assert asked.selected(DomainSelector(matchLabels={"tier": "db"}), Selectors(all=True)) == []


def test_an_empty_selector_selects_all_and_an_empty_host_has_none() -> None:
    assert SelectorSubjects([SelectorSubject("b"), SelectorSubject("a"), SelectorSubject("b")]).selected(
        DomainSelector()
    ) == range(3)
    assert not SelectorSubjects([]).selected(DomainSelector())


def test_domains_of_one_name_are_selected_together() -> None:
    asked = SelectorSubjects([SelectorSubject("b"), SelectorSubject("a"), SelectorSubject("b")])
    assert asked.selected(DomainSelector(names=("b",))) == [0, 2]


@given(
    st.lists(st.text("ab-[]!*?\n", min_size=1, max_size=6), min_size=1, max_size=6),
    st.lists(st.text("ab-[]!*?", min_size=1, max_size=6), min_size=1, max_size=3),
)
@example(["[]", "[", "a"], ["[]", "[!]", "[!]]", "[a"])
@example(["b", "a"], ["[a-b]", "[b-a]", "[!a]"])
def test_globs_match_as_the_standard_librarys_do(names: list[str], globs: list[str]) -> None:
    expected = [row for row, name in enumerate(names) if any(fnmatchcase(name, glob) for glob in globs)]
    assert (
        SelectorSubjects([SelectorSubject(name) for name in names]).selected(DomainSelector(names=tuple(globs)))
        == expected
    )
    nodes = [matches_node(NodeSelector(names=tuple(globs)), name, {}) for name in names]
    assert [row for row, selected in enumerate(nodes) if selected] == expected


def test_a_glob_cannot_be_made_slow() -> None:
    slow = DomainSelector.model_validate({"names": ["*a" * 120 + "*b*"]})
    assert SelectorSubjects([SelectorSubject("b" + "a" * 250), SelectorSubject("a" * 250)]).selected(slow) == []


def test_globs_by_the_ten_thousand_cost_no_regular_expression_each() -> None:
    """More than fnmatch's cache holds, which would then make each anew for each domain: three seconds for two."""
    asked = SelectorSubjects([SelectorSubject("web-1"), SelectorSubject("db-1")])
    began = time.process_time()
    for policy in range(520):
        names = tuple(f"{kind}{policy}-{glob}*x" for kind in ("web-[0-9]", "w?", "*", "db-1") for glob in range(16))
        assert asked.selected(DomainSelector.model_construct(names=names)) == []
    assert time.process_time() - began < 1.0


def test_node_names_by_the_ten_thousand_cost_no_regular_expression_each() -> None:
    began = time.process_time()
    for policy in range(1000):
        names = tuple(f"{kind}{policy}-{node}{end}" for kind in ("rack", "row") for node in range(16) for end in "*x")
        assert not matches_node(NodeSelector.model_construct(names=names), "node-1", {})
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    ("glob", "searches"),
    [("web", False), ("web*", False), ("*", False), ("web[*", False)]
    + [(glob, True) for glob in ("*web", "we?", "we[ab]", "w*b*", "**", "[a-b]*")],
)
def test_a_whole_name_and_the_beginning_of_names_are_found_without_a_search(glob: str, searches: bool) -> None:
    assert selectors.searches(glob) is searches
