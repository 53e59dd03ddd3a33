"""`ballast explain`: sentences about one domain, and what it says when there is nothing to tell."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.main import main
from controller.engine.decision import Action, Decision
from controller.engine.inventory import DomainFacts
from controller.engine.ownership import NodeIdentity, assign
from controller.engine.reasons import Reason
from controller.engine.state import State
from controller.engine.step import align
from controller.observe.address import Address
from controller.observe.decisionhistory import DecisionHistory
from controller.observe.http import Endpoint
from controller.observe.routes import node_pages
from controller.observe.statusstore import StatusSnapshot, StatusStore

MIB = 2**20
NAMES = ("web-1", "web-2", "evil\x1b[31m\nname", "a b/c?d&e")


class ExplainedConnection:
    uri, connected, error = "qemu:///system", True, ""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A node on which web-1 grew four seconds ago."""
    facts = [DomainFacts(f"k{n}", f"u{n}", name, 1, 1024 * MIB, 1024 * MIB) for n, name in enumerate(NAMES)]
    state = align(State.initial(), assign(facts, (), NodeIdentity("node-1")).inventory, 0.0)
    grown = Action(0, "k0", "web-1", 512 * MIB, 768 * MIB, Reason.FORECAST_GROW)
    status_store = StatusStore("node-1", lambda: 104.0)
    decision_history = DecisionHistory().extended(state, Decision((grown,)), {}, 100.0)
    status_store.publish(
        StatusSnapshot(100.0, state, (ExplainedConnection(),), (), True, decision_history=decision_history)
    )
    with Endpoint(Address("127.0.0.1", 0), status_store, more=node_pages(status_store)) as endpoint:
        yield f"http://127.0.0.1:{endpoint.port}"


def explain(*arguments: str):
    return CliRunner().invoke(main, ["explain", *arguments])


def test_what_holds_now_comes_first_then_the_decisions(url):
    result = explain("web-1", "--url", url)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "web-1 on node-1"
    assert "  Now: no decision yet [None]." in lines
    grown = lines.index(
        "4s ago: Grown: 512 MiB -> 768 MiB (+256 MiB): forecast demand needs more memory [ForecastGrow]."
    )
    assert grown > lines.index("  Now: no decision yet [None].")


def test_describe_has_the_figures_and_a_line_for_each_decision(url):
    result = CliRunner().invoke(main, ["describe", "web-1", "--url", url])
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert lines[:5] == [
        "Name:            web-1",
        "UUID:            u0",
        "Node:            node-1",
        "Policy:          -",
        "Mode:            -",
    ]
    assert "Maximum:         1024 MiB" in lines
    assert lines[-3:] == [
        "Decisions:",
        "  AGE  OUTCOME  REASON        FROM     TO",
        "  4s   done     ForecastGrow  512 MiB  768 MiB",
    ]


def test_describe_says_that_there_is_no_decision_and_that_there_is_no_such_domain(url):
    assert CliRunner().invoke(main, ["describe", "web-2", "--url", url]).output.endswith("Decisions:       none\n")
    result = CliRunner().invoke(main, ["describe", "web1", "--url", url])
    assert (result.exit_code, "is it one of web-1, web-2?" in result.output) == (1, True)


def test_without_a_decision_that_is_said(url):
    assert "No decision changed it" in explain("web-2", "--url", url).output


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_the_explanation_as_a_document(url, form, parse):
    (told,) = parse(explain("u0", "--url", url, "-o", form).output)["domains"]
    (decision,) = told["decisions"]
    assert (decision["outcome"], decision["reason"], decision["age_s"]) == ("done", "ForecastGrow", 4.0)
    assert (decision["allocation"], decision["target"], decision["demand"]) == (512 * MIB, 768 * MIB, None)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_found_and_none_reaches_the_terminal_raw(url, name):
    result = explain(name, "--url", url)
    assert result.exit_code == 0
    assert "\x1b" not in result.output


def test_an_unknown_domain_is_an_error_that_names_those_like_it(url):
    result = explain("web1", "--url", url)
    assert result.exit_code == 1
    assert result.output == "Error: DOMAIN 'web1' is not known on node-1; is it one of web-1, web-2?\n"


def test_an_unknown_domain_like_no_other_is_an_error_with_the_remedy(url):
    result = explain("zzz", "--url", url)
    assert (result.exit_code, "`ballast top` lists those there are" in result.output) == (1, True)


def test_no_agent_is_an_error_with_the_remedy():
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        free = server.server_address[1]
    result = explain("web-1", "--url", f"http://127.0.0.1:{free}")
    assert result.exit_code == 1
    assert f"nothing answers at http://127.0.0.1:{free}" in result.output


def test_a_domain_has_to_be_named():
    assert explain().exit_code == 2


@pytest.mark.parametrize("command", ["describe", "explain", "top"])
@pytest.mark.parametrize(("begun", "offered"), [("", ["web-1", "web-2"]), ("web-2", ["web-2"]), ("x", [])])
def test_the_shell_is_offered_domains_whose_names_are_one_word_to_it(url, command, begun, offered):
    words = f"ballast {command} --url {url} {begun}"
    variables = {"_BALLAST_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
    result = CliRunner().invoke(main, prog_name="ballast", env=variables)
    assert result.output.split() == [f"plain,{name}" for name in offered]


def test_the_shell_is_offered_no_domain_where_nothing_answers():
    words = "ballast explain --url http://127.0.0.1:1 "
    variables = {"_BALLAST_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
    result = CliRunner().invoke(main, prog_name="ballast", env=variables)
    assert (result.exit_code, result.output.strip()) == (0, "")
