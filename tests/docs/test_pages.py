"""The README and the contributors' page say what is so: every table, example and command is held to the code."""

import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from xml.etree import ElementTree

import annotated_types
import click
import numpy as np
import pytest
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from controller.api.documents import load
from controller.api.policy import Spec
from controller.api.quantity import format_quantity, parse_quantity
from controller.api.wishes import Wishes
from controller.cli.main import main
from controller.engine.reasons import Reason
from controller.forecast import registry
from controller.forecast.model import Model, Points
from controller.host.domain_xml import describe
from controller.observe.board import Board
from controller.observe.http import Pages
from controller.observe.site import ASSETS, node_pages

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "hack" / "README.md").read_text()
MIB = 2**20


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def table(page: str, heading: str) -> list[list[str]]:
    """Cells of the table whose first column has this heading, without its head."""
    lines = page[page.index(f"| {heading} |") :].split("\n\n", maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


class TestPolicyReference:
    """Fields, values and defaults in the README are those of the pydantic models."""

    def test_it_has_every_field_in_order_with_what_it_takes_and_its_default(self):
        documented = [tuple(row[:3]) for row in table(README, "Field")]
        assert documented == list(fields(Spec, ""))

    def test_every_field_has_a_meaning(self):
        assert all(row[3].endswith(".") for row in table(README, "Field"))


def fields(model: type[BaseModel], path: str) -> Iterator[tuple[str, str, str]]:
    """(field, what it takes, default) of all leaves below the model, as the README writes them."""
    for info in model.model_fields.values():
        name = f"{path}{info.alias}"
        part = _part(info.annotation)
        if part is None:
            yield f"`{name}`", _takes(info), _default(info)
        elif get_origin(info.annotation) is tuple:
            yield f"`{name}`", _takes(info), _default(info)
            yield from fields(part, f"{name}[].")
        else:
            yield from fields(part, f"{name}.")


def _part(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *get_args(annotation)]
    return next((each for each in candidates if inspect.isclass(each) and issubclass(each, BaseModel)), None)


def _takes(info: FieldInfo) -> str:
    kind = get_origin(info.annotation) or info.annotation
    if kind is Literal:
        *others, last = (f"`{choice}`" for choice in get_args(info.annotation))
        return f"{', '.join(others)} or {last}"
    if _is_quantity(info):
        return "quantity"
    if kind in (tuple, dict):
        most = next(each.max_length for each in info.metadata if isinstance(each, annotated_types.MaxLen))
        return f"{'list' if kind is tuple else 'map'}, at most {most}"
    if kind is int:
        least = next(each.ge for each in info.metadata if isinstance(each, annotated_types.Ge))
        most = next(each.le for each in info.metadata if isinstance(each, annotated_types.Le))
        return f"integer, {least} to {most}"
    return {str: "text"}[kind]


def _is_quantity(info: FieldInfo) -> bool:
    inside = [each for each in get_args(info.annotation) if get_origin(each) is Annotated]
    metadata = [*info.metadata, *(item for each in inside for item in get_args(each)[1:])]
    optional = get_origin(info.annotation) in (Union, UnionType)
    parses = any(isinstance(each, BeforeValidator) and each.func is parse_quantity for each in metadata)
    return parses and (optional or info.annotation is int)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default in (None, (), {}):
        return "none"
    return f"`{format_quantity(info.default) if _is_quantity(info) else info.default}`"


class TestExamples:
    """What a reader copies works."""

    @pytest.mark.parametrize("text", blocks(README, "yaml"))
    def test_every_policy_passes_the_check(self, text):
        loaded = load(text, "README.md")
        assert loaded.problems == ()
        assert loaded.policies

    def test_a_policy_within_a_command_passes_the_check(self):
        (text,) = re.findall(r"^echo '(.*?)'", README, re.MULTILINE)
        assert [policy.name for policy in load(text, "README.md").policies] == ["all"]

    @pytest.mark.parametrize(
        "line",
        [
            line
            for page in (README, CONTRIBUTING)
            for text in blocks(page, "sh")
            for line in text.splitlines()
            if line.startswith("ballast ")
        ],
    )
    def test_every_command_line_is_one_that_ballast_takes(self, line):
        _, name, *arguments = shlex.split(line, comments=True)
        command = main.get_command(click.Context(main), name)
        assert command is not None
        command.make_context(name, arguments)

    @pytest.mark.parametrize("script", sorted(set(re.findall(r"\./(hack/\w+)", README + CONTRIBUTING))))
    def test_every_script_exists(self, script):
        assert (ROOT / script).is_file()

    @pytest.mark.parametrize(("page", "folder"), [(README, ROOT), (CONTRIBUTING, ROOT / "hack")])
    def test_every_link_leads_to_a_file(self, page, folder):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page)
        assert [link for link in links if not (folder / link).is_file()] == []

    def test_the_wishes_that_virsh_sets_are_understood(self):
        weighty, opted_out = (wishes(text) for text in re.findall(r'--set "(.*?)"', README))
        assert weighty == Wishes(weight=300, minimum=2048 * MIB, maximum=6144 * MIB, labels={"tier": "gold"})
        assert opted_out == Wishes(opt_out=True)


def wishes(text: str) -> Wishes:
    """What Ballast reads once `virsh metadata --uri URI --set TEXT` has put the text into a domain."""
    (uri,) = set(re.findall(r"--uri (\S+)", README))
    element = ElementTree.fromstring(text)  # noqa: S314 - our own page
    for each in element.iter():
        each.tag = f"{{{uri}}}{each.tag}"
    domain = ElementTree.fromstring("<domain><memory>1048576</memory><metadata/></domain>")  # noqa: S314 - as above
    domain[1].append(element)
    return describe(ElementTree.tostring(domain, "unicode"), "key", "uuid", "db-1", 1).facts.wishes


def test_every_reason_is_listed_with_its_words():
    listed = [(reason, text) for reason, text, _ in table(README, "Reason")]
    assert listed == [(f"`{reason}`", reason.text) for reason in Reason]


def test_every_page_of_the_endpoint_is_listed():
    board = Board("node", lambda: 0.0)
    no_such_page = Pages(board, more=node_pages(board)).get("/nowhere").body.decode()
    served = no_such_page.strip().partition("there is ")[2].split(", ")
    listed = [row[0].strip("`").partition("?")[0] for row in table(README, "Page")]
    assert listed == [path for path in served if path.removeprefix("/") not in ASSETS]


def test_every_layer_is_listed_in_order():
    contract = (ROOT / "pyproject.toml").read_text().split("layers = [")[1].split("]")[0]
    listed = " ".join(row[0] for row in table(CONTRIBUTING, "Package"))
    assert re.findall(r"\.(\w+)\b", listed) == re.findall(r"controller\.(\w+)", contract)


class TestForecastModelOfTheContributorsPage:
    """Following the page gives a model that policies could use."""

    @pytest.fixture
    def mean(self, monkeypatch: pytest.MonkeyPatch) -> Model:
        (source,) = blocks(CONTRIBUTING, "python")
        module = ModuleType("controller.forecast.mean")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(source, module.__dict__)  # noqa: S102 - our own page
        monkeypatch.setitem(registry.KINDS, "Mean", module.Mean)
        return registry.model("Mean", decision_points=3)

    def test_it_is_a_model_by_its_name(self, mean):
        assert mean == registry.model("Mean", decision_points=3)

    def test_it_forecasts_the_mean_of_its_points(self, mean):
        ages, values = np.array([[1.0, 5.0, 9.0, 12.0]]), np.array([[40.0, 10.0, 70.0, 900.0]])
        line = mean.fit(Points(ages, values, np.ones((1, 4), dtype=bool)))
        assert (line.level[0], line.slope[0]) == (40.0, 0.0)
