"""Settings by environment variables, and words that are not quite right."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from controller.cli.main import COMMANDS, main
from controller.observe.address import Address


def ballast(*arguments: str, **variables: str):
    return CliRunner().invoke(main, arguments, env=variables)


def parsed(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, object]:
    """What the command would be called with."""
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    return main.get_command(click.Context(main), name).make_context(name, list(arguments)).params


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_has_a_variable_by_its_name_and_shows_it(name):
    text = " ".join(ballast(name, "--help").output.split())
    command = main.get_command(click.Context(main), name)
    for option in (each for each in command.params if isinstance(each, click.Option)):
        long = next(each for each in option.opts if each.startswith("--"))
        variable = f"BALLAST_{name.upper()}_{long[2:].replace('-', '_').upper()}"
        assert option.envvar[0] == variable
        assert f"env var: {variable}" in text


def test_a_variable_sets_the_option_and_an_option_that_is_given_counts_before_it(monkeypatch):
    variables = {"BALLAST_RUN_POLICIES": "/p", "BALLAST_RUN_LISTEN": "none", "BALLAST_RUN_DOMAIN_METRICS": "false"}
    assert parsed("run", monkeypatch=monkeypatch, **variables)["policies"] == Path("/p")
    params = parsed("run", "--listen", "127.0.0.1:1", monkeypatch=monkeypatch)
    assert (params["listen"], params["domain_metrics"]) == (Address("127.0.0.1", 1), False)


def test_several_values_are_separated_by_blanks_and_an_empty_variable_sets_nothing(monkeypatch):
    variables = {"BALLAST_RUN_POLICIES": "/p", "BALLAST_RUN_CONNECT": "test:///a test:///b"}
    assert parsed("run", monkeypatch=monkeypatch, **variables)["uris"] == ("test:///a", "test:///b")
    assert parsed("run", monkeypatch=monkeypatch, BALLAST_RUN_CONNECT="")["uris"] == ("qemu:///system",)


def test_libvirts_own_variable_counts_after_ballasts(monkeypatch):
    policies = ("--policies", "/p")
    assert parsed("run", *policies, monkeypatch=monkeypatch, LIBVIRT_DEFAULT_URI="test:///a")["uris"] == ("test:///a",)
    assert parsed("run", *policies, monkeypatch=monkeypatch, BALLAST_RUN_CONNECT="test:///b")["uris"] == ("test:///b",)
    assert parsed("run", *policies, "-c", "test:///c", monkeypatch=monkeypatch)["uris"] == ("test:///c",)


def test_a_remote_host_in_libvirts_own_variable_is_refused_with_its_name():
    result = ballast("run", "--policies", "/p", LIBVIRT_DEFAULT_URI="qemu+ssh://root@other/system")
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert "LIBVIRT_DEFAULT_URI" in text
    assert "leads to another host" in text


@pytest.mark.parametrize("name", ["top", "describe", "explain"])
def test_one_variable_says_where_ballast_answers(name, monkeypatch):
    assert parsed(name, "web", monkeypatch=monkeypatch, BALLAST_URL="http://h:1")["url"] == "http://h:1"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BALLAST_RUN_ONCE", "perhaps"),
        ("BALLAST_RUN_LISTEN", "9178"),
        ("BALLAST_RUN_LOG_LEVEL", "loud"),
        ("BALLAST_RUN_CONNECT", "qemu+ssh://other/system"),
        ("BALLAST_TOP_INTERVAL", "nan"),
    ],
)
def test_a_value_without_sense_is_a_usage_error_that_names_the_variable(variable, value):
    result = ballast(*(("top",) if "TOP" in variable else ("run", "--policies", "/p")), **{variable: value})
    assert result.exit_code == 2
    assert f"env var: '{variable}'" in " ".join(result.output.split())


def test_a_variable_that_sets_nothing_is_a_usage_error_that_offers_what_was_meant():
    result = ballast("run", "--policies", "/p", BALLAST_RUN_LISTN="none")
    assert result.exit_code == 2
    assert "BALLAST_RUN_LISTN sets no option of `ballast run`. Did you mean 'BALLAST_RUN_LISTEN'" in result.output
    assert ballast("run", "--help", BALLAST_RUN_LISTN="none").exit_code == 0


def test_variables_of_other_commands_and_of_a_kubelet_are_none_of_its_own():
    variables = {
        "BALLAST_RUN_LISTN": "none",
        "BALLAST_CHECK_PORT": "tcp://10.0.0.1:9178",
        "BALLAST_CHECK_PORT_9178_TCP_ADDR": "10.0.0.1",
        "BALLAST_CHECK_SERVICE_PORT_METRICS": "9178",
        "BALLAST_CHECK_SERVICE_HOST": "10.0.0.1",
    }
    result = ballast("check", "/nowhere", **variables)
    assert (result.exit_code, "cannot be read" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tpo",), "No such command 'tpo'. Did you mean 'top'?"),
        (("fly",), "No such command 'fly'.\n"),
        (("top", "--intervall", "1"), "--interval"),
    ],
)
def test_a_word_that_is_not_known_is_a_usage_error_that_offers_those_like_it(arguments, message):
    result = ballast(*arguments)
    assert result.exit_code == 2
    assert message in result.output
