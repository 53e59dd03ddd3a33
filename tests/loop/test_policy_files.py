"""Which files of a policy folder count: links, kinds of files, numbers. `check` and `run` go by this alike."""

import os
import resource
from pathlib import Path

import pytest

from controller import policyfiles
from controller.engine.ownership import NodeIdentity
from controller.policyfiles import located, names, read_folder
from controller.policyfolder import PolicyFolder

STRANGER = 4711
"""A user ID that nobody has."""


def policy(name: str, spec: str = "{}") -> str:
    return f"{{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {{name: {name}}}, spec: {spec}}}\n"


def write(path: Path, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(policy(name))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    return tmp_path / "policies"


def of_check(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the policies, and problems, as `ballast check` has them."""
    loaded = read_folder(folder).values()
    return [each.name for one in loaded for each in one.policies], [
        str(each) for one in loaded for each in one.problems
    ]


def of_run(folder: Path) -> tuple[list[str], list[str]]:
    """The same as `ballast run` has them."""
    source = PolicyFolder(folder, NodeIdentity("node"), lambda: 0.0, lambda: 1e12)
    source.scan()
    _, policies = source.current()
    return [each.name for each in policies], list(source.problems)


def owned(path: Path, user: int) -> Path:
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(path, user, user, follow_symlinks=False)
    return path


def both(folder: Path) -> tuple[list[str], list[str]]:
    seen = of_run(folder)
    assert of_check(folder) == seen
    return seen


def test_a_config_maps_links_count_and_its_swap_as_well(folder):
    write(folder / "..2026_1" / "all.yaml", "one")
    (folder / "..data").symlink_to("..2026_1")
    (folder / "all.yaml").symlink_to("..data/all.yaml")
    assert both(folder) == (["one"], [])
    write(folder / "..2026_2" / "all.yaml", "two")
    (folder / "..new").symlink_to("..2026_2")
    (folder / "..new").rename(folder / "..data")
    assert both(folder) == (["two"], [])


def test_a_folder_behind_a_link_counts_as_git_sync_makes_it(folder):
    write(folder / "tree-1" / "policies" / "all.yaml", "one")
    (folder / "repo").symlink_to("tree-1")
    assert both(folder / "repo" / "policies") == (["one"], [])


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_a_link_out_of_the_folder_counts_where_its_owner_owns_the_file(folder, tmp_path, absolute):
    target = write(tmp_path / "store" / "all.yaml", "elsewhere")
    (folder / "all.yaml").symlink_to(target if absolute else "../store/all.yaml")
    assert both(folder) == (["elsewhere"], [])


def test_a_strangers_link_counts_within_the_folder_and_to_his_own_files(folder, tmp_path):
    write(folder / "..data" / "in.yaml", "in")
    owned(folder / "..data" / "in.yaml", 0)
    (folder / "in.yaml").symlink_to("..data/in.yaml")
    owned(write(tmp_path / "his.yaml", "his"), STRANGER)
    (folder / "out.yaml").symlink_to("../his.yaml")
    for name in ("in.yaml", "out.yaml"):
        owned(folder / name, STRANGER)
    assert both(folder) == (["in", "his"], [])


@pytest.mark.parametrize(
    "target",
    ["../secret.yaml", "/proc/self/environ", "..data/up/secret.yaml", "via.link"],
    ids=lambda target: target[:8],
)
def test_a_strangers_link_to_what_he_may_not_read_is_refused_unread(folder, tmp_path, target):
    (tmp_path / "secret.yaml").write_text("password: swordfish\n")
    (folder / "..data").mkdir()
    (folder / "..data" / "up").symlink_to(tmp_path)
    (folder / "via.link").symlink_to("../secret.yaml")
    (folder / "all.yaml").symlink_to(target)
    owned(folder / "all.yaml", STRANGER)
    names_, (problem,) = both(folder)
    assert names_ == []
    assert f"a link of user {STRANGER} that leads out of the folder, to a file of user 0; link to a file in" in problem
    assert "swordfish" not in problem


def test_a_strangers_link_on_the_way_of_roots_link_is_refused(folder, tmp_path):
    (tmp_path / "secret.yaml").write_text("password: swordfish\n")
    (folder / "..data").symlink_to(tmp_path)
    (folder / "all.yaml").symlink_to("..data/secret.yaml")
    owned(folder / "..data", STRANGER)
    assert f"a link of user {STRANGER}" in both(folder)[1][0]


def test_a_folder_whose_name_begins_like_this_ones_is_not_inside_of_it(folder, tmp_path):
    (tmp_path / "policies-secret").mkdir()
    write(tmp_path / "policies-secret" / "all.yaml", "secret")
    (folder / "all.yaml").symlink_to("../policies-secret/all.yaml")
    owned(folder / "all.yaml", STRANGER)
    assert both(folder)[0] == []


def test_nothing_but_a_plain_file_is_opened(folder, monkeypatch):
    os.mkfifo(folder / "pipe.yaml")
    (folder / "folder.yaml").mkdir()
    (folder / "device.yaml").symlink_to("/dev/zero")
    (folder / "circle.yaml").symlink_to("circle.yaml")
    (folder / "nothing.yaml").symlink_to("nowhere")
    opened = []
    monkeypatch.setattr(policyfiles, "_patiently", lambda path, _flags: opened.append(path))
    assert [problem.rpartition("/")[2] for problem in both(folder)[1]] == [
        "circle.yaml: links that lead in a circle; correct or remove them",
        "device.yaml: not a plain file; make it a plain file that Ballast can read",
        "folder.yaml: not a plain file; make it a plain file that Ballast can read",
        "nothing.yaml: a link to nothing; correct or remove it",
        "pipe.yaml: not a plain file; make it a plain file that Ballast can read",
    ]
    assert opened == []


def test_a_long_way_takes_no_more_descriptors_than_a_short_one(folder):
    write(folder / "a.yaml", "a")
    (folder / "b.yaml").symlink_to("./" * 1500 + "a.yaml")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 10, hard))
    try:
        assert of_check(folder)[0] == ["a", "a"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hidden_files_do_not_count(folder):
    for name in (".swp.yaml", "..data.yaml", ".#a.yaml"):
        (folder / name).write_text("not: a policy")
    assert both(folder) == ([], [])


def test_a_file_that_is_gone_between_listing_and_reading_is_no_problem(folder):
    assert policyfiles.read_file(folder, "gone.yaml", "gone.yaml").problems == ()
    with pytest.raises(FileNotFoundError), located(folder, "gone.yaml"):
        pass


def test_a_file_that_is_written_while_it_is_read_is_not_judged(folder):
    path = write(folder / "a.yaml", "a")
    with located(folder, "a.yaml") as found:
        path.write_text(policy("b") * 2)
        assert found.read() is None


def test_of_too_many_files_the_first_by_name_count(folder, monkeypatch):
    monkeypatch.setattr(policyfiles, "MAXIMUM_FILES", 2)
    for name in "cab":
        write(folder / f"{name}.yaml", name)
    seen, (problem,) = both(folder)
    assert seen == ["a", "b"]
    assert problem.startswith(f"{folder}: 1 policy files more than the 2 that are read, the first by name; put")
    assert names(folder) == (["a.yaml", "b.yaml"], 1)


def test_a_file_with_which_there_would_be_too_many_policies_is_refused(folder, monkeypatch):
    monkeypatch.setattr(policyfiles, "MAXIMUM_POLICIES", 2)
    for name in "abc":
        write(folder / f"{name}.yaml", name)
    seen, (problem,) = both(folder)
    assert seen == ["a", "b"]
    assert problem.startswith(f"{folder}/c.yaml: with it the folder holds more than 2 policies; let one policy")


@pytest.mark.parametrize("field", ["domainSelector", "nodeSelector"])
def test_a_file_with_which_there_would_be_too_many_names_to_search_for_is_refused(folder, monkeypatch, field):
    monkeypatch.setattr(policyfiles, "MAXIMUM_GLOBS", 3)
    selects = {"a": "[web, 'db*', '*-x']", "b": "['a?', '[ab]*']", "c": "['?', '*y*']", "d": "[whole, 'beginning*']"}
    for name, globs in selects.items():
        (folder / f"{name}.yaml").write_text(policy(name, f"{{{field}: {{names: {globs}}}}}"))
    seen, (problem,) = both(folder)
    assert seen == ["a", "b", "d"]
    assert problem.startswith(
        f"{folder}/c.yaml: with it the folder's policies have more than 3 names with wildcards in them; write names out"
    )


@pytest.mark.parametrize(
    "selector",
    [
        "domainSelector: {{matchExpressions: {0}}}",
        "selectors: {{namespaceSelector: {{matchExpressions: {0}}}}}",
        "selectors: {{virtualMachineInstanceSelector: {{matchExpressions: {0}}}}}",
    ],
    ids=["of domains", "of namespaces", "of pods"],
)
def test_a_file_with_which_there_would_be_too_many_expressions_is_refused(folder, monkeypatch, selector):
    monkeypatch.setattr(policyfiles, "MAXIMUM_EXPRESSIONS", 3)
    for name, number in {"a": 2, "b": 2, "c": 1}.items():
        expressions = ", ".join(["{key: tier, operator: Exists}"] * number)
        (folder / f"{name}.yaml").write_text(policy(name, f"{{{selector.format(f'[{expressions}]')}}}"))
    (folder / "d.yaml").write_text(policy("d", "{nodeSelector: {matchExpressions: [{key: tier, operator: Exists}]}}"))
    seen, (problem,) = both(folder)
    assert seen == ["a", "c", "d"]
    said = "with it the folder's policies have more than 3 matchExpressions for domains; write matchLabels"
    assert problem.startswith(f"{folder}/b.yaml: {said}")


def test_no_descriptor_is_left_open(folder, descriptors):
    write(folder / "a.yaml", "a")
    (folder / "f.yaml").symlink_to("/" + "./" * 1500 + f"{folder}/a.yaml")
    (folder / "g.yaml").symlink_to("a.yaml/b")
    (folder / "h.yaml").symlink_to("/")
    (folder / "b.yaml").symlink_to("a.yaml")
    (folder / "c.yaml").symlink_to("c.yaml")
    (folder / "d.yaml").symlink_to("/nowhere/at/all")
    (folder / "e.yaml").mkdir()
    before = descriptors()
    of_run(folder)
    of_check(folder)
    assert descriptors() == before
