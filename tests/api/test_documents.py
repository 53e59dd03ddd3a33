"""Policy files: every problem is told, with line, field, value and remedy, and nothing ever raises."""

import textwrap

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from controller.api.documents import (
    MAXIMUM_PROBLEMS,
    MAXIMUM_SIZE,
    MAXIMUM_VALUES,
    Loaded,
    Problem,
    clashes,
    load,
    load_object,
)
from controller.api.yamltext import MAXIMUM_NODES

HEAD = "apiVersion: ballast.dev/v1alpha1\nkind: MemoryPolicy\nmetadata: {name: example}\n"


def problems(text: str | bytes) -> list[str]:
    return [str(problem) for problem in load(text, "p.yaml").problems]


def spec_problems(spec: str) -> list[str]:
    """Problems of a policy whose spec begins in line 5."""
    return problems(HEAD + "spec:\n" + textwrap.indent(textwrap.dedent(spec), "  "))


def names(text: str) -> list[str]:
    return [policy.name for policy in load(text, "p.yaml").policies]


@pytest.mark.parametrize("spec", ["", "spec:\n", "spec: {}\n", "spec: null\n", "spec: {mode: Enforce}\n"])
def test_a_policy_loads(spec: str) -> None:
    loaded = load(HEAD + spec, "p.yaml")
    assert [policy.name for policy in loaded.policies] == ["example"]
    assert (loaded.problems, loaded.lines) == ((), (3,))


@pytest.mark.parametrize("text", ["", b"", "\n", "# nothing\n", "---\n", "---\n---\n...\n", "null", "\ufeff"])
def test_nothing_is_not_a_problem(text: str | bytes) -> None:
    assert load(text, "p.yaml") == Loaded()


def test_all_documents_are_read_and_empty_ones_let_pass() -> None:
    text = f"---\n{HEAD}---\n---\n{HEAD.replace('example', 'other')}"
    assert (names(text), problems(text)) == (["example", "other"], [])


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_bytes_are_utf8_with_or_without_a_byte_order_mark(bom: bytes) -> None:
    assert load(bom + HEAD.replace("\n", "\r\n").encode(), "p.yaml").problems == ()


def test_a_problem_has_all_its_parts() -> None:
    loaded = load(HEAD + "spec:\n  limits:\n    minimum: 12Qx\n", "p.yaml")
    remedy = "use a number with Ki, Mi, Gi, Ti, k, M, G or T behind it, or bytes without a suffix, such as 512Mi"
    assert loaded.problems == (Problem("p.yaml", 6, "spec.limits.minimum", "12Qx", "not a quantity", remedy),)
    assert str(loaded.problems[0]) == f"p.yaml:6: spec.limits.minimum: '12Qx': not a quantity; {remedy}"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "mode: enforce",
            "spec.mode: 'enforce': not a value of this field; did you mean Enforce? use Observe, Enforce or Pause",
        ),
        ("mode: on", "spec.mode: 'on': not text but what YAML reads as a boolean; use Observe, Enforce or Pause"),
        (
            "wieght: 5",
            "spec.wieght: '5': unknown field; did you mean weight? known here: advanced, budget,",
        ),
        (
            "minimum: 1Gi",
            "spec.minimum: '1Gi': unknown field; did you mean spec.limits.minimum? known here: advanced,",
        ),
        (
            "threshold: {percent: 5}",
            "spec.threshold: unknown field; did you mean spec.advanced.threshold? known here: advanced, budget,",
        ),
        ("model: {type: OLS}", "spec.model: unknown field; did you mean spec.advanced.model? known here: advanced,"),
        (
            "stabilizationSeconds: 60",
            "spec.stabilizationSeconds: '60': unknown field; did you mean spec.advanced.shrink.stabilizationSeconds?",
        ),
        (
            "advanced: {halfLifeLooks: 60}",
            "spec.advanced.halfLifeLooks: '60': unknown field; did you mean spec.advanced.model.wls.halfLifeLooks?",
        ),
        ("limits: {percent: 5}", "spec.limits.percent: '5': unknown field; did you mean minimumPercent? known here:"),
        (
            "percent: 5",
            "spec.percent: '5': unknown field; did you mean spec.headroom.percent or spec.advanced.threshold.percent?",
        ),
        ("name: db", "spec.name: 'db': unknown field; did you mean metadata.name? known here: advanced,"),
        ("xyz: {a: b}", "spec.xyz: unknown field; remove it; known here: advanced, budget,"),
        ("node_selector: {}", "spec.node_selector: unknown field; did you mean nodeSelector? known here:"),
        ("weight: 0", "spec.weight: '0': out of range; use an integer from 1 to 10000"),
        ("weight: 10001", "spec.weight: '10001': out of range; use an integer from 1 to 10000"),
        (
            "weight: '5'",
            "spec.weight: '5': not an integer but text; use an integer from 1 to 10000, without quotes",
        ),
        (
            "weight: 5.5",
            "spec.weight: '5.5': not an integer but a number with a fraction; use an integer from 1",
        ),
        ("weight: 1_0.5", "spec.weight: '1_0.5': not an integer but a number with a fraction; use"),
        (
            "weight: .nan",
            "spec.weight: '.nan': not an integer but a number with a fraction; use an integer from 1",
        ),
        (
            "weight: yes",
            "spec.weight: 'yes': not an integer but what YAML reads as a boolean; use an integer from 1",
        ),
        ("weight: [1]", "spec.weight: not an integer but a list; use an integer from 1 to 10000"),
        (
            "weight: 0o12",
            "spec.weight: '0o12': a number in a notation that readers of YAML disagree on; write a plain",
        ),
        (
            "weight: 1_000",
            "spec.weight: '1_000': a number in a notation that readers of YAML disagree on; write a pl",
        ),
        (
            "weight: 99999999999999999999",
            "spec.weight: '99999999999999999999': larger than any integer of Kubernetes;",
        ),
        ("weight: 1e99", "spec.weight: '1e99': larger than any integer of Kubernetes; use a smaller number"),
        (
            "weight: !!float 5.5",
            "spec.weight: '5.5': not an integer but a number with a fraction; use an integer from 1",
        ),
        (
            "weight: !!int five",
            "spec.weight: 'tag:yaml.org,2002:int': a YAML tag that policies do not use; remove it",
        ),
        ("weight: !mine 5", "spec.weight: '!mine': a YAML tag that policies do not use; remove it"),
        (
            "limits: 5",
            "spec.limits: '5': not a mapping but a number; write 'name: value' lines with the fields maxim",
        ),
        (
            "limits: []",
            "spec.limits: not a mapping but a list; write 'name: value' lines with the fields maximum,",
        ),
        (
            "limits: {maximum: 32Mi}",
            "spec.limits.maximum: '32Mi': less than minimum, which is 64Mi; use 64Mi or more,",
        ),
        (
            "limits: {minimumPercent: 60, maximumPercent: 50}",
            "spec.limits.maximumPercent: '50': less than minimumPercent, which is 60; use 60 or more, or set",
        ),
        (
            "advanced: {monitoring: {minimumIntervalSeconds: 90}}",
            "spec.advanced.monitoring.maximumIntervalSeconds: '60': less than minimumIntervalSeconds, which is 90;",
        ),
        (
            "advanced: {threshold: {quantity: 1.5}}",
            "spec.advanced.threshold.quantity: '1.5': not a quantity; use a number with Ki, Mi,",
        ),
        (
            "advanced: {threshold: {quantity: true}}",
            "spec.advanced.threshold.quantity: 'true': not a quantity; use a number with Ki, Mi,",
        ),
        (
            "nodeSelector: {names: a}",
            "spec.nodeSelector.names: 'a': not a list but text; write names: [a, b], or one",
        ),
        (
            "nodeSelector: {names: [1]}",
            "spec.nodeSelector.names[0]: '1': not text but a number; put it in quotes",
        ),
        (
            "nodeSelector: {names: ['']}",
            "spec.nodeSelector.names[0]: empty; write at least one character, or remove",
        ),
        (
            f"nodeSelector: {{names: [{','.join('a' * 65)}]}}",
            "spec.nodeSelector.names: more than 64 entries; use at most 64",
        ),
        (f"nodeSelector: {{names: [{'a' * 254}]}}", "more than 253 characters; use at most 253"),
        (
            "nodeSelector: {matchLabels: {example.org/tier: 1}}",
            "spec.nodeSelector.matchLabels['example.org/tier']: '1': not text but a number; put it in quotes",
        ),
        (
            "nodeSelector: {matchLabels: {tier: 'a b'}}",
            "spec.nodeSelector.matchLabels.tier: 'a b': not a label value",
        ),
        (
            "nodeSelector: {matchLabels: {-a: b}}",
            "spec.nodeSelector.matchLabels.-a: 'b': not a label key that Kuber",
        ),
        (
            "nodeSelector: {matchLabels: {on: b}}",
            "spec.nodeSelector.matchLabels: 'on': the name of a field must be t",
        ),
        (
            "nodeSelector: {matchExpressions: [{key: a, operator: In}]}",
            "spec.nodeSelector.matchExpressions[0].values: operator In compares with values, but",
        ),
        (
            "nodeSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
            "spec.nodeSelector.matchExpressions[0].values: operator Exists takes no values; remove the",
        ),
        (
            "nodeSelector: {matchExpressions: [{key: a}]}",
            "spec.nodeSelector.matchExpressions[0].operator: a required field is missing; add operator: In",
        ),
        (
            "domainSelector: {uuids: [ABC]}",
            "spec.domainSelector.uuids[0]: 'ABC': not a UUID in canonical form; use 36",
        ),
        (
            "domainSelector: {matchLabels: [a]}",
            "spec.domainSelector.matchLabels: not a mapping but a list; write 'name: value'",
        ),
        (
            "domainSelector: {labels: {a: b}}",
            "spec.domainSelector.labels: unknown field; did you mean matchLabels? known here: matchExpressions,",
        ),
        (
            "domainSelector: {names: []}",
            "spec.domainSelector.names: without entries; give it at least one, or remove it",
        ),
        ("nodeSelector: null", "spec.nodeSelector: 'null': null, which narrows nothing; give it entries, or remove it"),
        (
            "selectors: {all: 'yes'}",
            "spec.selectors.all: 'yes': not true or false but text; use true or false, without",
        ),
        ("{mode: Enforce, selectors: {}}", "spec.selectors: an empty selector, or none, would select everything for"),
        (
            "advanced: {model: {lasso: {}}}",
            "spec.advanced.model.lasso: only counts with type Lasso, but type is WLS; remove it, or set type: Lasso",
        ),
        (
            "advanced: {model: {type: Wls}}",
            "spec.advanced.model.type: 'Wls': not a value of this field; did you mean WLS? use WLS, OLS,",
        ),
        ("<<: {mode: Enforce}", "spec['<<']: unknown field; remove it; known here: advanced,"),
    ],
)
def test_each_kind_of_problem_is_told_in_plain_words(spec: str, expected: str) -> None:
    (told,) = spec_problems(spec)
    assert expected in told
    assert told.startswith("p.yaml:5: spec")


def test_all_problems_of_a_file_are_told_in_order() -> None:
    told = spec_problems(
        "mode: on\nlimits:\n  minimum: 3Gi\n  maximum: 2Gi\n  minimumPercent: -1\nweight: 0\nweight: 4\n"
    )
    assert [line.split(": ")[:2] for line in told] == [
        ["p.yaml:5", "spec.mode"],
        ["p.yaml:8", "spec.limits.maximum"],
        ["p.yaml:9", "spec.limits.minimumPercent"],
        ["p.yaml:10", "spec.weight"],
        ["p.yaml:11", "spec.weight"],
    ]


def test_a_problem_in_one_document_leaves_the_others_alone() -> None:
    text = f"{HEAD}spec: {{weight: 0}}\n---\n{HEAD.replace('example', 'other')}"
    assert names(text) == ["other"]
    assert problems(text) == ["p.yaml:4: spec.weight: '0': out of range; use an integer from 1 to 10000"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "012",
            "'012': a number in a notation that readers of YAML disagree on; write a plain decimal number",
        ),
        ("12", "'12': not text but a number; put it in quotes"),
        ("1e9", "'1e9': not text but a number; put it in quotes"),
        ("y", "'y': not text but what YAML reads as a boolean; put it in quotes"),
        ("null", "'null': a required field is missing; add name: my-policy"),
        ("My_Policy", "'My_Policy': not a name that Kubernetes takes; use lower-case letters"),
    ],
)
def test_a_name_that_yaml_does_not_read_as_text_is_told(name: str, told: str) -> None:
    (problem,) = problems(HEAD.replace("example", name))
    assert problem.startswith(f"p.yaml:3: metadata.name: {told}")


@pytest.mark.parametrize("name", ["'012'", "'y'", "!!str 012", "2026-01-31", "1.2.3"])
def test_a_name_that_is_text_is_taken_as_it_is(name: str) -> None:
    assert names(HEAD.replace("example", name)) == [name.removeprefix("!!str ").strip("'")]


def test_a_number_without_a_fraction_is_the_integer_that_kubectl_sends() -> None:
    (policy,) = load(HEAD + "spec: {weight: 5.0}", "p.yaml").policies
    assert policy.spec.weight == 5


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1e9", 10**9),
        ("'1e9'", 10**9),
        ("1.5e9", 1_500_000_000),
        ("104857600", 100 * 2**20),
        ("104857600.0", 100 * 2**20),
        ("1.5Gi", 3 * 2**29),
    ],
)
def test_a_quantity_may_be_an_integer_or_text(text: str, size: int) -> None:
    (policy,) = load(HEAD + f"spec: {{budget: {{maximum: {text}}}}}", "p.yaml").policies
    assert policy.spec.budget.maximum == size


@pytest.mark.parametrize(
    ("spec", "field", "value", "meant"),
    [
        ("limits: {minimum: 4, maximum: 8}", "limits.minimum", "4", "4Gi?"),
        ("headroom: {quantity: 64}", "headroom.quantity", "64", "64Gi?"),
        ("advanced: {threshold: {quantity: 33554432}}", "advanced.threshold.quantity", "33554432", "33554432Ki?"),
        ("limits: {maximum: 2097152}", "limits.maximum", "2097152", "2097152Ki?"),
        ("budget: {reserve: 67108863.0}", "budget.reserve", "67108863.0", "67108863Ki?"),
        ("budget: {maximum: 6e7}", "budget.maximum", "6e7", "60000000Ki?"),
        ("limits: {minimum: 512}", "limits.minimum", "512", "512Mi?"),
        ("limits: {maximum: '67108864'}", "limits.maximum", "67108864", None),
        ("budget: {maximum: 64}", "budget.maximum", "64", "64Gi?"),
        ("budget: {reserve: 524288}", "budget.reserve", "524288", "524288Ki?"),
        ("advanced: {threshold: {quantity: 32}}", "advanced.threshold.quantity", "32", "32Gi?"),
        ("headroom: {quantity: 1e3}", "headroom.quantity", "1e3", "1000Mi?"),
    ],
)
def test_a_size_whose_unit_was_forgotten_is_refused_with_the_one_that_was_meant(spec, field, value, meant) -> None:
    loaded = load(HEAD + f"spec: {{{spec}}}", "p.yaml")
    found = [(each.field, each.value, each.remedy.split(" ")[0]) for each in loaded.problems]
    assert ((f"spec.{field}", value, meant) in found) == (meant is not None)


def test_metadata_takes_what_kubernetes_takes_and_nothing_else() -> None:
    metadata = "metadata: {name: a, creationTimestamp: null, managedFields: [{fieldsV1: {'f:spec': {}}}]}"
    assert problems(HEAD.replace("metadata: {name: example}", metadata)) == []
    (told,) = problems(HEAD.replace("name: example", "name: a, lables: {b: c}"))
    assert told.startswith("p.yaml:3: metadata.lables: unknown field; did you mean labels? known here: annotations,")


@pytest.mark.parametrize("time", ["2026-01-31T12:00:00Z", "'2026-01-31T12:00:00Z'", "2026-01-31T13:00:00+01:00"])
def test_a_creation_time_is_read_with_or_without_quotes(time: str) -> None:
    (policy,) = load(HEAD.replace("name: example", f"name: a, creationTimestamp: {time}"), "p").policies
    assert policy.metadata.creation_timestamp is not None
    assert policy.metadata.creation_timestamp.timestamp() == 1769860800


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("yesterday", "not a time; leave it out"),
        ("2026-01-31T12:00:00", "a time without a time zone; end it with Z"),
    ],
)
def test_a_creation_time_without_sense_is_told(time: str, told: str) -> None:
    (problem,) = problems(HEAD.replace("name: example", f"name: a, creationTimestamp: '{time}'"))
    assert problem.startswith(f"p.yaml:3: metadata.creationTimestamp: '{time}': {told}")


def test_a_status_is_let_pass() -> None:
    assert problems(HEAD + "status: {conditions: [{type: Ready}], nodes: 3.5}\n") == []


def test_what_is_missing_is_told_where_it_belongs() -> None:
    assert problems("\nkind: MemoryPolicy\nmetadata:\n  labels: {}\n") == [
        "p.yaml:2: apiVersion: a required field is missing; add apiVersion: ballast.dev/v1alpha1",
        "p.yaml:3: metadata.name: a required field is missing; add name: my-policy",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "apiVersion: v1\nkind: List\nitems: []\n",
            "p.yaml:2: kind: 'List': a list of resources, as kubectl prints it; write each of its items as a document",
        ),
        ("kind: MemoryPolicyList\n", "p.yaml:1: kind: 'MemoryPolicyList': a list of resources, as kubectl prints it;"),
        ("kind: [List]\n", "p.yaml:1: kind: not a MemoryPolicy; use MemoryPolicy here"),
        ("kind: Pod\n", "p.yaml:1: kind: 'Pod': not a MemoryPolicy; use MemoryPolicy here, and keep other resources"),
        (
            "- 1\n",
            "p.yaml:1: not a MemoryPolicy; write one MemoryPolicy a document, with documents parted by '---'",
        ),
        ("5\n", "p.yaml:1: '5': not a MemoryPolicy; write one MemoryPolicy a document"),
        (
            HEAD.replace("v1alpha1", "v1"),
            "p.yaml:1: apiVersion: 'ballast.dev/v1': not a value of this field; use ballast.dev/v1alpha1",
        ),
    ],
)
def test_another_kind_of_document_is_a_problem(text: str, told: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\n\tb: 2\n", "p.yaml:2: not valid YAML: found a tab character that violates indentation"),
        ("a:\n  b: {c: d\n", "p.yaml:3: not valid YAML: did not find expected ',' or '}'"),
        ("a: 1\nb\n", "p.yaml:3: not valid YAML: could not find expected ':'"),
        ("a: 'b\n", "p.yaml:2: not valid YAML: found unexpected end of stream"),
        ("a: 1\nb: \x00\n", "p.yaml:2: not valid YAML: a character that does not print; remove it"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', "p.yaml:2: not valid YAML: found invalid Unicode character escape code"),
        (f"%YAML {'9' * 5000}\n---\n", "p.yaml:1: not valid YAML: found extremely long version number"),
        ("a: &x [1]\nb: *x\n", "p.yaml:2: a YAML alias, which policies do not use; write the value out"),
        ("a: &x [*x]\n", "p.yaml:1: a YAML alias, which policies do not use; write the value out"),
        ("a:\n " + "[" * 500, "p.yaml:2: nested deeper than 64 levels; remove the nesting"),
        (
            "[\n" + "a,\n" * (MAXIMUM_NODES + 1),
            f"p.yaml:{MAXIMUM_NODES + 1}: more than {MAXIMUM_NODES} names and values",
        ),
        ("\n\ud800", "p.yaml:2: not valid YAML: a character that does not print; remove it"),
        (b"a: b\nc: \xff\n", "p.yaml:2: not UTF-8 text; save the file as UTF-8"),
        (HEAD.encode("utf-16"), "p.yaml:1: not UTF-8 text; save the file as UTF-8"),
        (b"#" * (MAXIMUM_SIZE + 1), "p.yaml: larger than 262144 bytes; split it"),
        ("\u00e4" * (MAXIMUM_SIZE // 2 + 1), "p.yaml: larger than 262144 bytes; split it"),
    ],
)
def test_text_that_is_not_yaml_is_told_with_its_line(text: str | bytes, told: str) -> None:
    loaded = load(text, "p.yaml")
    assert loaded.policies == ()
    assert len(loaded.problems) == 1
    assert str(loaded.problems[0]).startswith(told)


def test_documents_before_broken_yaml_are_still_read() -> None:
    text = f"{HEAD}---\na: [\n"
    assert names(text) == ["example"]
    assert [problem.split(": ")[0] for problem in problems(text)] == ["p.yaml:6"]


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff"])
def test_half_a_character_is_refused(half: str) -> None:
    (told,) = problems(HEAD.replace("example", f'"{half}"'))
    assert told.startswith("p.yaml:3: not valid YAML: found invalid Unicode character escape code")
    assert told.endswith("; correct the escape")


def test_a_field_given_twice_is_refused_at_every_level() -> None:
    text = HEAD + "spec: {mode: Observe}\nspec: {mode: Enforce}\n"
    assert problems(text) == ["p.yaml:5: spec: given twice, first at line 4; keep one of the two"]


def test_a_mapping_as_the_name_of_a_field_is_refused() -> None:
    assert problems(HEAD + "? [a]\n: b\n") == [
        "p.yaml:4: a list or mapping as the name of a field; write fields as name: value"
    ]


def test_two_policies_of_one_name_are_a_problem_and_the_first_is_kept() -> None:
    text = f"{HEAD}---\n{HEAD}spec: {{weight: 5}}\n"
    loaded = load(text, "p.yaml")
    assert [policy.spec.weight for policy in loaded.policies] == [100]
    assert problems(text) == [
        "p.yaml:7: metadata.name: 'example': another policy has this name, at line 3; rename or remove one of the two"
    ]


def test_policies_of_one_name_in_two_files_clash() -> None:
    one, two = load(HEAD, "one.yaml"), load("\n" + HEAD, "two.yaml")
    assert clashes({"one.yaml": one}) == ()
    assert [str(problem) for problem in clashes({"one.yaml": one, "two.yaml": two})] == [
        "two.yaml:4: metadata.name: 'example': another policy has this name, at one.yaml:3; "
        "rename or remove one of the two"
    ]


@pytest.mark.parametrize("place", ["{}", "metadata: {{name: a, {}}}"])
def test_a_flood_of_problems_is_cut_short(place: str) -> None:
    flood = ", ".join(f"f{number:04}: 1" for number in range(2000))
    told = problems("{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, " + place.format(flood) + "}")
    assert len(told) == MAXIMUM_PROBLEMS + 1
    assert told[-1].endswith("more problems from here on; correct those above first")


def test_a_long_value_is_cut_and_stays_on_one_line() -> None:
    (told,) = spec_problems('release: "' + "x\\n" * 5000 + '"')
    assert len(told) < 250
    assert "\n" not in told


tokens = st.sampled_from(
    [
        *("apiVersion: ballast.dev/v1alpha1\n", "kind: MemoryPolicy\n", "metadata:\n", "  name: ", "spec:\n"),
        *(
            "  ",
            "\n",
            "- ",
            ": ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "'",
            '"',
            "|",
            ">",
            "?",
            "&a ",
            "*a",
            "!!int ",
            "!",
            "%",
        ),
        *(
            "---\n",
            "...\n",
            "#",
            "\t",
            "\\ud800",
            "012",
            "on",
            ".inf",
            "0x_",
            "1e99",
            "limits",
            "minimum",
            "12Qx",
            "<<",
        ),
    ]
)


@given(st.one_of(st.binary(), st.text(), st.lists(tokens, max_size=30).map("".join)))
@example('"\\U00110000"')
@example("\ud800")
@example("!%ff x")
@example("%TAG ! tag:\n--- !x y")
@example("0b_")
@example("-0x")
@example("? ")
@example("a: !!null x")
@example("!!binary '?'")
@example("!!omap [a]")
@example("1_e5")
@example("!!timestamp 2026-99-99")
def test_no_input_ever_raises_and_every_problem_is_one_line(text: str | bytes) -> None:
    for problem in load(text, "p.yaml").problems:
        told = str(problem)
        assert told.isprintable()
        assert "pydantic" not in told
        assert problem.message
        assert problem.remedy


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
paths = [
    *(
        "mode",
        "priority",
        "nodeSelector",
        "domainSelector",
        "limits",
        "budget",
        "advanced",
    ),
    *(
        "nodeSelector.names",
        "nodeSelector.matchLabels",
        "nodeSelector.matchExpressions",
        "domainSelector.uuids",
    ),
    *(
        "limits.maximum",
        "limits.minimumPercent",
        "advanced.model",
        "advanced.model.wls",
        "advanced.model.type",
        "advanced.threshold",
        "advanced.monitoring.minimumIntervalSeconds",
    ),
]


@given(st.sampled_from(paths), values)
def test_any_value_in_any_field_is_taken_or_told(path: str, value: object) -> None:
    for step in reversed(["spec", *path.split(".")]):
        value = {step: value}
    loaded = load(HEAD + yaml.safe_dump(value), "p.yaml")
    assert (loaded.policies == ()) == bool(loaded.problems)
    for problem in loaded.problems:
        assert problem.line is None or problem.line >= 4
        assert problem.field.startswith("spec")
        assert "should" not in problem.message, "pydantic's own words"


def test_a_rollout_in_a_file_stays_whatever_status_the_file_has():
    """As `kubectl get -o yaml` prints it: on a host without a cluster nobody has chosen."""
    text = (
        "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: a, generation: 1}, "
        "spec: {mode: Enforce, rollout: {maximumNodes: 50%}}, "
        "status: {observedGeneration: 1, enforcingNodes: [node]}}"
    )
    loaded = load(text, "a.yaml")
    assert loaded.problems == ()
    rollout = loaded.policies[0].spec.rollout
    assert rollout is not None
    assert rollout.maximum_nodes == "50%"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("rollout: null", "null, which narrows nothing"),
        ("rollout: {}", "a required field is missing; add maximumNodes: 2"),
        ("rollout: {maximumNodes: null}", "a required field is missing; add maximumNodes: 2"),
        ("rollout: {maximumNodes: 0}", "'0': neither a number of nodes, 1 to 1000, nor a share of them, 1% to 100%"),
        ("rollout: {maximumNodes: '2'}", "'2': neither a number of nodes"),
        ("rollout: {maximumNodes: true}", "neither a number of nodes"),
        ("rollout: {maximumNode: 2}", "did you mean maximumNodes?"),
    ],
)
def test_a_rollout_that_narrows_nothing_is_refused(written, told):
    text = f"{{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {{name: a}}, spec: {{{written}}}}}"
    loaded = load(text, "a.yaml")
    assert loaded.policies == ()
    assert told in "\n".join(map(str, loaded.problems))


def test_an_object_with_more_values_than_can_be_told_of_is_refused_in_one_line():
    many = {"uuids": ["a"] * (MAXIMUM_VALUES + 1)}
    head = {"apiVersion": "ballast.dev/v1alpha1", "kind": "MemoryPolicy", "metadata": {"name": "a"}}
    (problem,) = load_object(head | {"spec": {"domainSelector": many}}, "it").problems
    assert str(problem) == f"it: spec: more than {MAXIMUM_VALUES} values; use fewer"
