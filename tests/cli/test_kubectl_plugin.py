"""`kubectl ballast`, with a kubectl that plays a cluster of two nodes and writes down what it is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from controller.cli.kubectl_ballast import main

KUBECTL = f"""#!{sys.executable} -IS
import json, os, sys
words = sys.argv[1:]
with open(os.environ["ASKED"], "a") as log:
    log.write(json.dumps(words) + "\\n")
def pod(name, node, phase="Running", **annotations):
    namespace = annotations.pop("namespace", "ballast-system")
    return {{"metadata": {{"name": name, "namespace": namespace, "annotations": annotations}},
            "spec": {{"nodeName": node}}, "status": {{"phase": phase}}}}
if "ANSWER" in os.environ:
    print(os.environ["ANSWER"])
elif "REFUSED" in os.environ:
    sys.exit(os.environ["REFUSED"])
elif "kubevirt.io=virt-launcher" in words:
    machine = {{"kubevirt.io/domain": "web-1"}}
    print(json.dumps({{"items": [pod("old", "n1", "Succeeded", **machine), pod("new", "n2", **machine)]}}))
elif "pods" in words:
    gone = pod("gone", "n0", "Failed")
    false = [pod("false", "n0", namespace="shop")] if "FALSE" in os.environ and "-A" in words else []
    print(json.dumps({{"items": [gone, *false, pod("a1", "n1"), pod("a2", "n2")]}}))
elif "a1" in words and "top" not in words:
    sys.exit("Error: DOMAIN " + repr(words[-1]) + " is not known on n1\\ncommand terminated with exit code 1")
elif "odd" in words:
    sys.stdout.buffer.write(b"told \\xff\\n")
elif "nobody" in words:
    sys.exit("Error: DOMAIN 'nobody' is not known on n2\\ncommand terminated with exit code 1")
else:
    print("told", *words[words.index("--") + 1:] if "--" in words else words)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    return tmp_path


def plugin(folder: Path, *words: str, **variables: str) -> Result:
    """What comes of the words; what the plugin ends in runs as a process of its own."""

    def become(_program: str, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        click.echo(done.stdout, nl=False)
        sys.exit(done.exit_code)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.execvp", become)
        return CliRunner().invoke(main, words, env={"PATH": str(folder), "ASKED": str(folder / "asked")} | variables)


def asked(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "asked").read_text().splitlines()]


def test_top_has_a_line_a_node(folder):
    command = [sys.executable, "-c", "from controller.cli.kubectl_ballast import main; main()", "top"]
    environment = os.environ | {"PATH": str(folder), "ASKED": str(folder / "asked")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.communicate() == ("told get nodememorystates\n", None)
    assert (process.returncode, asked(folder)) == (0, [["get", "nodememorystates"]])


def test_top_of_a_node_is_its_agents_with_all_its_options(folder):
    done = plugin(folder, "top", "--node", "n2", "--sort", "demand", "--once")
    assert done.stdout == "told ballast top --sort demand --once\n"
    assert asked(folder)[-1][:6] == ["exec", "-n", "ballast-system", "a2", "-c", "agent"]


def test_options_of_the_table_without_a_node_are_a_usage_error(folder):
    done = plugin(folder, "top", "--once")
    assert (done.exit_code, "name it with --node" in done.stderr) == (2, True)


@pytest.mark.parametrize("verb", ["explain", "describe"])
def test_a_domain_is_asked_for_at_each_agent_until_one_knows_it(folder, verb):
    assert plugin(folder, verb, "db").stdout == f"told ballast {verb} -- db\n"
    assert [words[3] for words in asked(folder)[1:]] == ["a1", "a2"]


def test_what_an_agent_says_is_shown_as_far_as_it_is_text(folder):
    assert plugin(folder, "explain", "odd").stdout == "told \N{REPLACEMENT CHARACTER}\n"


def test_a_machine_of_kubevirt_is_asked_for_where_it_runs(folder):
    assert plugin(folder, "explain", "web-1", "-n", "shop").stdout == "told ballast explain -- shop_web-1\n"
    assert [words[3] for words in asked(folder)[2:]] == ["a2"]


def test_a_domain_that_no_agent_knows_is_an_error_in_their_words(folder):
    done = plugin(folder, "explain", "nobody")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "Error: n1: DOMAIN 'nobody' is not known on n1",
        "n2: DOMAIN 'nobody' is not known on n2",
    ]


def test_a_machine_that_kubevirt_does_not_run_is_an_error(folder):
    done = plugin(folder, "explain", "web-2", "-n", "shop")
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: KubeVirt runs no virtual machine 'web-2' in namespace 'shop'\n",
    )


def test_a_node_without_an_agent_is_an_error(folder):
    done = plugin(folder, "top", "--node", "n0")
    assert (done.exit_code, "no agent of Ballast runs on node n0" in done.stderr) == (1, True)


@pytest.mark.parametrize("words", [("top", "--node", "n0"), ("top", "--node", "n2"), ("explain", "db")])
def test_a_pod_that_somebody_gave_the_labels_of_an_agent_is_not_asked(folder, words):
    done = plugin(folder, *words, FALSE="1")
    assert (done.exit_code, "pods in ballast-system, shop have the labels of agents" in done.stderr) == (1, True)
    assert not any("exec" in each for each in asked(folder))
    done = plugin(folder, "--ballast-namespace", "ballast-system", "explain", "db", FALSE="1")
    assert done.stdout == "told ballast explain -- db\n"


def test_policies_are_listed_in_the_cluster_that_is_named(folder):
    done = plugin(folder, "--context", "prod", "policies")
    assert done.stdout == "told --context prod get memorypolicies -o wide\n"


def test_check_is_ballasts_own(folder):
    (folder / "p.yaml").write_text("{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: all}}")
    assert plugin(folder, "check", str(folder / "p.yaml")).stdout == f"{folder}/p.yaml: ok (1 policy)\n"


def test_what_kubectl_refuses_is_said_in_its_words(folder):
    done = plugin(folder, "explain", "db", REFUSED="error: You must be logged in to the server (Unauthorized)")
    assert (done.exit_code, done.stderr) == (1, "Error: error: You must be logged in to the server (Unauthorized)\n")


def test_what_kubectl_was_told_does_not_steer_the_terminal(folder):
    done = plugin(folder, "explain", "db", REFUSED="denied: \x1b]0;owned\x07\nby \x9b31m webhook")
    assert (done.exit_code, done.stderr) == (1, "Error: denied: \\x1b]0;owned\\x07\nby \\x9b31m webhook\n")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "hello",
        "[]",
        "{}",
        '{"items": null}',
        '{"items": [1]}',
        '{"items": [{"status": {"phase": "Running"}}]}',
        "[" * 9999,
    ],
)
def test_a_kubectl_that_answers_with_something_else_is_said(folder, answer):
    done = plugin(folder, "explain", "db", ANSWER=answer)
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: kubectl does not answer with a list of pods; is it kubectl?\n",
    )


@pytest.mark.parametrize("words", [("top",), ("explain", "db")])
def test_a_kubectl_that_is_not_there_is_said(folder, words):
    (folder / "kubectl").unlink()
    done = plugin(folder, *words)
    assert done.exit_code == 1
    assert "kubectl cannot be run: No such file or directory; is it on the PATH?" in done.stderr
