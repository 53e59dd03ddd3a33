"""The pages say what is so: examples, reasons, addresses and layers are held to the code."""

import re
from xml.etree import ElementTree

import pytest
from doc_pages import PAGES, ROOT, blocks, read, table

from controller.api.documents import load
from controller.api.wishes import Wishes
from controller.engine.reasons import Reason
from controller.host.domain_xml import describe
from controller.observe.http import Pages
from controller.observe.routes import ASSETS, node_pages
from controller.observe.statusstore import StatusStore

RESOURCES = read("crds/README.md")
HOST = read("manifests/systemd/README.md")
EVIDENCE = read("hack/EVIDENCE.md")
CONTRIBUTING = read("hack/README.md")
POLICIES = [text for page in PAGES for text in blocks(read(page), "yaml") if "kind: MemoryPolicy" in text]
MIB = 2**20


class TestExamples:
    """What a reader copies works."""

    @pytest.mark.parametrize("text", POLICIES)
    def test_every_policy_passes_the_check(self, text):
        loaded = load(text, "README.md")
        assert loaded.problems == ()
        assert loaded.policies

    def test_a_policy_within_a_command_passes_the_check(self):
        (text,) = re.findall(r"^echo '(.*?)'", HOST, re.MULTILINE)
        assert [policy.name for policy in load(text, "README.md").policies] == ["all"]

    def test_the_wishes_that_virsh_sets_are_understood(self):
        weighty, opted_out = (wishes(text) for text in re.findall(r'--set "(.*?)"', RESOURCES))
        assert weighty == Wishes(weight=300, minimum=2048 * MIB, maximum=6144 * MIB, labels={"tier": "gold"})
        assert opted_out == Wishes(opt_out=True)


def wishes(text: str) -> Wishes:
    """What Ballast reads once `virsh metadata --uri URI --set TEXT` has put the text into a domain."""
    (uri,) = set(re.findall(r"--uri (\S+)", RESOURCES))
    element = ElementTree.fromstring(text)  # noqa: S314 - our own page
    for each in element.iter():
        each.tag = f"{{{uri}}}{each.tag}"
    domain = ElementTree.fromstring("<domain><memory>1048576</memory><metadata/></domain>")  # noqa: S314 - as above
    domain[1].append(element)
    return describe(ElementTree.tostring(domain, "unicode"), "key", "uuid", "db-1", 1).facts.wishes


def test_every_reason_is_listed_with_its_words():
    listed = [(reason, text) for reason, text, _ in table(read("controller/README.md"), "Reason")]
    assert listed == [(f"`{reason}`", reason.text) for reason in Reason]


def test_every_page_of_the_endpoint_is_listed():
    status_store = StatusStore("node", lambda: 0.0)
    no_such_page = Pages(status_store, more=node_pages(status_store)).get("/nowhere").body.decode()
    served = no_such_page.strip().partition("there is ")[2].split(", ")
    listed = [row[0].strip("`").partition("?")[0] for row in table(HOST, "Page")]
    assert listed == [path for path in served if path.removeprefix("/") not in ASSETS]


def test_peers_are_compared_by_what_was_measured():
    measured = {row[0]: row for row in table(EVIDENCE, "Trace, host")}
    workers, production = measured["workers, 125 %"], measured["production, 125 %"]
    others = [dict(each.rsplit(" ", 1) for each in row[5].split(", ")) for row in (workers, production)]
    told = {re.sub(r"\[(.*)\].*", r"\1", row[0]): row[3] for row in table(EVIDENCE, "Peer")}
    assert {peer: figures for peer, figures in told.items() if figures} == {
        "oVirt MoM": f"{others[0]['MoM']}, {others[1]['MoM']}; Ballast {workers[1]}, {production[1]}",
        "Proxmox VE": f"{others[0]['Proxmox']}, {others[1]['Proxmox']}",
        "Qubes qmemman": f"{workers[2]}, {production[2]}",
    }


def test_every_layer_is_listed_in_order():
    contract = (ROOT / "pyproject.toml").read_text().split("layers = [")[1].split("]")[0]
    listed = " ".join(row[0] for row in table(CONTRIBUTING, "Package"))
    assert re.findall(r"\.(\w+)\b", listed) == re.findall(r"controller\.(\w+)", contract)


def test_the_walk_of_one_number_goes_through_functions_that_exist_and_at_most_eight_files():
    walk = table(CONTRIBUTING, "Step")
    assert len(walk) <= 8
    for _, file, functions, _ in walk:
        source = (ROOT / "controller" / file.strip("`")).read_text()
        named = re.findall(r"`(\w+)`", functions)
        assert [name for name in named if not re.search(rf"def {name}\b", source)] == []


def test_the_code_of_every_script_is_listed_and_there():
    listed = {row[0].strip("`"): re.findall(r"`(hack/[^`]*)`", row[1]) for row in table(CONTRIBUTING, "Script")}
    assert list(listed) == sorted(path.name for path in (ROOT / "hack").iterdir() if path.is_file() and not path.suffix)
    assert [path for paths in listed.values() for path in paths if not (ROOT / path).exists()] == []
