"""A folder of policy files as a source of policies."""

import os
import threading
import time
from pathlib import Path

import pytest

from controller.engine.ownership import NodeIdentity
from controller.standalone import ABSENCE_S, RESCAN_S, FolderError, FolderReader, FolderWatch, PolicyFolder, Writers

NODE = NodeIdentity("node")


def policy(name: str, spec: str = "{}") -> str:
    return f"{{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {{name: {name}}}, spec: {spec}}}\n"


class Folder:
    """A folder, and the source that reads it; `scan` is what an event brings about."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.ahead = 3600.0
        """Seconds by which the clock is later than that of files: none is still being written."""
        self.source = PolicyFolder(path, NODE, lambda: self.now, lambda: time.time() + self.ahead)

    @property
    def elsewhere(self) -> Path:
        """Another folder on the same file system."""
        return self.path.with_name("elsewhere")

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def scan(self) -> list[str]:
        """Names of the policies in force."""
        self.source.scan()
        return self.in_force

    @property
    def in_force(self) -> list[str]:
        """Names of the policies in force as of the last scan."""
        return [each.name for each in self.source.current()[1]]

    def later(self, seconds: float) -> list[str]:
        """Names of the policies in force after that time without an event."""
        self.now += seconds
        if self.source.due() <= self.now:
            self.source.scan()
        return self.in_force

    @property
    def version(self) -> int:
        return self.source.current()[0]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    for name in ("policies", "elsewhere"):
        (tmp_path / name).mkdir()
    return Folder(tmp_path / "policies")


def test_every_yaml_file_counts_and_nothing_else(folder):
    names = ["a.yaml", "b.yml", "c.json", "d.yaml~", ".e.yaml", ".#f.yaml", "g.yaml.swp", "#h.yaml#", "README"]
    for name in names:
        folder.write(name, policy(name[0] if name[0].isalpha() else "x"))
    assert folder.scan() == ["a", "b"]
    assert folder.source.problems == ()


def test_one_file_may_hold_several_policies(folder):
    folder.write("all.yaml", policy("a") + "---\n" + policy("b"))
    assert folder.scan() == ["a", "b"]


def test_the_version_grows_only_when_the_policies_change(folder):
    folder.write("a.yaml", policy("a"))
    folder.scan()
    before = folder.version
    folder.write("a.yaml", "# a comment more\n" + policy("a"))
    folder.scan()
    assert folder.version == before
    folder.write("a.yaml", policy("a", "{weight: 7}"))
    folder.scan()
    assert folder.version == before + 1


def test_a_broken_file_is_refused_while_its_last_good_version_works_on(folder):
    folder.write("a.yaml", policy("a", "{weight: 7}"))
    folder.scan()
    folder.write("a.yaml", policy("a", "{weight: heavy}"))
    assert folder.scan() == ["a"]
    assert folder.source.current()[1][0].spec.weight == 7
    (problem,) = folder.source.problems
    assert problem.startswith(f"{folder.path}/a.yaml:1: spec.weight: 'heavy': ")


def test_one_bad_policy_refuses_its_whole_file_and_no_other(folder):
    folder.write("a.yaml", policy("a1") + "---\n" + policy("a2", "{wieght: 1}"))
    folder.write("b.yaml", policy("b"))
    assert folder.scan() == ["b"]


def test_a_mended_file_counts_again(folder):
    folder.write("a.yaml", "spec: [")
    folder.scan()
    folder.write("a.yaml", policy("a"))
    assert folder.scan() == ["a"]
    assert folder.source.problems == ()


def test_a_refusal_is_logged_once_for_each_content(folder, caplog):
    folder.write("a.yaml", "spec: [")
    folder.scan()
    folder.scan()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    folder.write("a.yaml", "spec: [[")
    folder.scan()
    assert len(caplog.records) == 4


def test_it_is_said_what_stays_in_force_and_when_the_file_is_good_again(folder, caplog):
    caplog.set_level("INFO")
    folder.write("new.yaml", "spec: [")
    folder.scan()
    assert caplog.messages[-1] == f"{folder.path}/new.yaml: refused; nothing of it is in force"
    folder.write("new.yaml", policy("a"))
    folder.scan()
    assert caplog.messages[-2:] == [f"{folder.path}/new.yaml: accepted", "MemoryPolicies in force: a"]
    folder.write("new.yaml", "spec: [")
    folder.scan()
    assert caplog.messages[-1] == f"{folder.path}/new.yaml: refused; its last good version stays in force: a"


def test_a_file_that_vanished_takes_its_policies_with_it(folder):
    folder.write("a.yaml", policy("a"))
    folder.write("b.yaml", policy("b"))
    folder.scan()
    (folder.path / "a.yaml").unlink()
    folder.scan()
    assert folder.later(ABSENCE_S) == ["b"]


def test_a_file_that_is_replaced_by_deleting_it_first_was_never_gone(folder):
    folder.write("a.yaml", policy("a"))
    folder.write("b.yaml", policy("b"))
    folder.scan()
    before = folder.version
    (folder.path / "a.yaml").unlink()
    assert folder.scan() == ["a", "b"]
    assert folder.later(ABSENCE_S - 0.1) == ["a", "b"]
    folder.write("a.yaml", policy("a"))
    folder.scan()
    assert folder.later(ABSENCE_S) == ["a", "b"]
    assert folder.version == before


def test_a_file_that_is_gone_again_and_again_is_given_its_time_each_time(folder):
    folder.write("a.yaml", policy("a"))
    for _ in range(3):
        folder.scan()
        (folder.path / "a.yaml").unlink()
        folder.scan()
        assert folder.later(ABSENCE_S - 0.1) == ["a"]
        folder.write("a.yaml", policy("a"))


def test_a_policy_that_moved_to_another_file_counts_as_it_is_there_and_clashes_with_nothing(folder):
    folder.write("b.yaml", policy("a", "{weight: 1}"))
    folder.scan()
    (folder.path / "b.yaml").unlink()
    folder.write("c.yaml", policy("a", "{weight: 2}"))
    assert folder.scan() == ["a"]
    assert folder.source.current()[1][0].spec.weight == 2
    assert folder.source.problems == ()
    assert folder.later(ABSENCE_S) == ["a"]


def test_a_policy_that_two_files_hold_stays_the_first_ones_while_that_is_replaced(folder):
    folder.write("a.yaml", policy("same", "{weight: 1}"))
    folder.write("b.yaml", policy("same", "{weight: 2}"))
    folder.scan()
    before = folder.version
    folder.now += 1
    (folder.path / "a.yaml").unlink()
    folder.scan()
    folder.write("a.yaml", policy("same", "{weight: 1}"))
    folder.scan()
    assert folder.version == before
    (folder.path / "a.yaml").unlink()
    folder.scan()
    folder.later(ABSENCE_S)
    assert folder.source.current()[1][0].spec.weight == 2


def test_a_broken_file_that_vanished_takes_its_problem_with_it(folder):
    folder.write("a.yaml", "spec: [")
    folder.scan()
    (folder.path / "a.yaml").unlink()
    folder.scan()
    assert folder.later(ABSENCE_S) == []
    assert folder.source.problems == ()


def test_an_emptied_file_keeps_its_policies_until_it_is_deleted(folder):
    folder.write("a.yaml", policy("a"))
    folder.scan()
    folder.write("a.yaml", "")
    assert folder.scan() == ["a"]
    (problem,) = folder.source.problems
    assert problem.endswith("holds no MemoryPolicy any more; delete the file to delete its policies")


def test_a_file_that_never_held_a_policy_is_no_problem(folder):
    folder.write("a.yaml", "# to come\n")
    assert folder.scan() == []
    assert folder.source.problems == ()


def test_of_two_policies_with_one_name_the_first_file_wins(folder):
    folder.write("b.yaml", policy("same", "{weight: 2}"))
    folder.write("a.yaml", policy("same", "{weight: 1}"))
    assert folder.scan() == ["same"]
    assert folder.source.current()[1][0].spec.weight == 1
    (problem,) = folder.source.problems
    assert problem.startswith(f"{folder.path}/b.yaml:1: metadata.name: 'same': ")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.symlink_to("nowhere.yaml"), id="link to nothing"),
        pytest.param(lambda path: path.symlink_to("a.yaml"), id="link to itself"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), id="link to a device"),
        pytest.param(lambda path: path.symlink_to("."), id="link to a folder"),
        pytest.param(lambda path: path.mkdir(), id="folder"),
        pytest.param(os.mkfifo, id="pipe without a writer"),
    ],
)
def test_what_is_no_plain_file_is_refused_and_the_last_good_version_works_on(folder, spoil, caplog):
    folder.write("a.yaml", policy("a"))
    folder.scan()
    (folder.path / "a.yaml").unlink()
    spoil(folder.path / "a.yaml")
    assert folder.scan() == ["a"]
    assert folder.scan() == ["a"]
    assert len(folder.source.problems) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_without_an_event_the_folder_is_read_again_after_a_while_not_before(folder):
    folder.scan()
    folder.write("a.yaml", policy("a"))
    assert folder.later(RESCAN_S - 1) == []
    assert folder.later(1) == ["a"]


def test_a_folder_that_goes_away_leaves_its_policies_in_force(folder, caplog):
    folder.write("a.yaml", policy("a"))
    folder.scan()
    away = folder.path.rename(folder.path.with_name("away"))
    assert folder.scan() == ["a"]
    assert folder.scan() == ["a"]
    assert len(caplog.records) == 1
    assert folder.source.outage.endswith("its policies stay in force until then")
    away.rename(folder.path)
    assert folder.scan() == ["a"]
    assert (folder.source.outage, folder.source.problems) == ("", ())


def test_a_missing_folder_is_refused_at_the_start(tmp_path):
    with pytest.raises(FolderError, match=r"/nowhere: No such file or directory; create the folder"):
        PolicyFolder(tmp_path / "nowhere", NODE, lambda: 0.0, lambda: 0.0)


def test_a_file_in_place_of_the_folder_is_refused_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=r"/file: Not a directory; name the folder that holds it"):
        PolicyFolder(tmp_path / "file", NODE, lambda: 0.0, lambda: 0.0)


class TestWatching:
    """Real inotify; every wait ends by its event."""

    @pytest.fixture
    def changed(self) -> threading.Event:
        return threading.Event()

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda folder: folder.write("new.yaml", policy("new")), id="written"),
            pytest.param(lambda folder: (folder.path / "old.yaml").unlink(), id="deleted"),
            pytest.param(lambda folder: (folder.path / "old.yaml").rename(folder.path / "b.yaml"), id="renamed"),
            pytest.param(lambda folder: (folder.elsewhere / "b.yaml").rename(folder.path / "b.yaml"), id="moved in"),
            pytest.param(lambda folder: (folder.path / "old.yaml").rename(folder.elsewhere / "c"), id="moved out"),
        ],
    )
    def test_a_changed_file_is_told(self, folder, changed, change):
        folder.write("old.yaml", policy("old"))
        (folder.elsewhere / "b.yaml").write_text(policy("new"))
        with FolderWatch(folder.path, Writers(), time.time, changed.set):
            change(folder)
            assert changed.wait(60)

    def test_reading_the_files_is_no_change(self, folder):
        folder.write("old.yaml", policy("old"))
        changes = []
        told = threading.Event()

        def note() -> None:
            changes.append(1)
            told.set()

        with FolderWatch(folder.path, Writers(), time.time, note):
            folder.scan()
            (folder.path / "old.yaml").unlink()
            assert told.wait(60)
        assert changes == [1]

    def test_a_folder_that_cannot_be_watched_is_said_and_borne(self, tmp_path, changed, caplog):
        with FolderWatch(tmp_path / "nowhere", Writers(), time.time, changed.set):
            assert "cannot be watched" in caplog.text
