"""A folder of policy files as a source of policies."""

import os
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from controller.engine.ownership import NodeIdentity
from controller.policyfiles import Found
from controller.policyfolder import (
    ABSENCE_S,
    RESCAN_S,
    SETTLED_S,
    TOLD,
    TOLD_OF_ALL,
    WRITING_S,
    FolderError,
    FolderReader,
    FolderWatch,
    PolicyFolder,
    Writers,
)

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


def test_a_refused_file_is_said_to_leave_its_last_policies_in_force_until_it_is_good_again(folder, caplog):
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


def test_a_folder_that_a_link_leads_to_is_swapped_as_a_whole(tmp_path):
    for tree, names in (("one", "abc"), ("two", "ad")):
        (tmp_path / tree).mkdir()
        for name in names:
            (tmp_path / tree / f"{name}.yaml").write_text(policy(f"{name}-{tree}"))
    (tmp_path / "policies").symlink_to("one")
    folder = Folder(tmp_path / "policies")
    assert folder.scan() == ["a-one", "b-one", "c-one"]
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "policies")
    assert folder.scan() == ["a-two", "d-two"]
    (tmp_path / "two" / "d.yaml").unlink()
    assert folder.scan() == ["a-two", "d-two"]
    folder.now += ABSENCE_S
    assert folder.scan() == ["a-two"]


def test_what_is_read_is_of_one_folder_though_another_takes_its_place_meanwhile(tmp_path):
    for tree in ("one", "two"):
        (tmp_path / tree).mkdir()
        for name in "ab":
            (tmp_path / tree / f"{name}.yaml").write_text(policy(f"{name}-{tree}"))
    (tmp_path / "policies").symlink_to("one")

    def swap(_seconds: float) -> bool:
        (tmp_path / "new").symlink_to("two")
        (tmp_path / "new").rename(tmp_path / "policies")
        return True

    source = PolicyFolder(tmp_path / "policies", NODE, lambda: 0.0, lambda: 1e12, swap)
    source.scan()
    assert [each.name for each in source.current()[1]] == ["a-one", "b-one"]
    source.scan()
    assert [each.name for each in source.current()[1]] == ["a-two", "b-two"]


def test_a_folder_that_is_made_anew_in_its_place_is_given_time_to_be_filled(folder):
    folder.write("a.yaml", policy("a"))
    assert folder.scan() == ["a"]
    folder.path.rename(folder.path.with_name("away"))
    folder.path.mkdir()
    assert folder.scan() == ["a"]


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
            pytest.param(lambda folder: (folder.path / "new.yaml").symlink_to("old.yaml"), id="linked"),
            pytest.param(
                lambda folder: (folder.path / "new.yaml").hardlink_to(folder.path / "old.yaml"), id="hard link"
            ),
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

    def test_a_machine_that_has_no_thread_to_watch_it_is_said_and_borne(self, tmp_path, changed, caplog, monkeypatch):
        def start(_: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr("controller.folderwatch.InotifyObserver.start", start)
        with FolderWatch(tmp_path, Writers(), time.time, changed.set):
            assert "cannot be watched (can't start new thread)" in caplog.text

    def test_a_folder_that_cannot_be_watched_is_said_and_borne(self, tmp_path, changed, caplog):
        with FolderWatch(tmp_path / "nowhere", Writers(), time.time, changed.set):
            assert "cannot be watched" in caplog.text

    def test_a_folder_behind_a_link_is_followed_to_its_new_place(self, folder, changed):
        for tree in ("tree-1", "tree-2"):
            (folder.elsewhere / tree).mkdir()
        link, new = folder.elsewhere / "repo", folder.elsewhere / "new"
        link.symlink_to("tree-1")
        new.symlink_to("tree-2")
        with FolderWatch(link, Writers(), time.time, changed.set) as watch:
            new.rename(link)
            assert changed.wait(60)
            watch.renew()
            changed.clear()
            (link / "a.yaml").write_text(policy("a"))
            assert changed.wait(60)


class TestWriting:
    """A file counts when it is whole. Time stands still but for `later`."""

    WHOLE = policy("a", "{limits: {minimum: 4Gi}}")
    PREFIX = "{apiVersion: ballast.dev/v1alpha1, kind: MemoryPolicy, metadata: {name: a}}"

    @pytest.fixture
    def fresh(self, folder: Folder) -> Folder:
        """Its files have just been written, by the clock."""
        folder.ahead = 0.0
        return folder

    def minimum(self, folder: Folder) -> int:
        return folder.source.current()[1][0].spec.limits.minimum

    def test_a_beginning_does_not_come_into_force(self, fresh):
        fresh.write("a.yaml", self.PREFIX)
        assert fresh.scan() == []
        assert fresh.later(SETTLED_S - 0.1) == []
        fresh.write("a.yaml", self.WHOLE)
        assert fresh.later(0.1) == []
        assert fresh.later(SETTLED_S) == ["a"]
        assert self.minimum(fresh) == 4 * 2**30
        assert fresh.version == 1

    def test_what_is_in_force_stays_so_while_it_is_written_anew(self, fresh):
        fresh.write("a.yaml", self.WHOLE)
        fresh.scan()
        fresh.later(SETTLED_S)
        fresh.write("a.yaml", self.PREFIX)
        fresh.scan()
        assert self.minimum(fresh) == 4 * 2**30
        assert fresh.source.problems == ()

    def test_one_that_was_written_before_counts_at_once(self, fresh):
        fresh.write("a.yaml", self.WHOLE)
        os.utime(fresh.path / "a.yaml", (time.time() - 2 * SETTLED_S,) * 2)
        assert fresh.scan() == ["a"]

    def test_one_from_the_future_is_waited_for(self, fresh):
        fresh.write("a.yaml", self.WHOLE)
        os.utime(fresh.path / "a.yaml", (time.time() + 3600,) * 2)
        assert fresh.scan() == []
        assert fresh.later(SETTLED_S) == ["a"]

    def test_one_that_is_moved_to_its_place_counts_at_once(self, fresh):
        (fresh.elsewhere / "x").write_text(self.WHOLE)
        (fresh.elsewhere / "x").rename(fresh.path / "a.yaml")
        fresh.source.writers.moved("x", "a.yaml")
        assert fresh.scan() == ["a"]

    def test_a_link_counts_at_once_when_its_volume_is_swapped(self, fresh):
        fresh.write(".a", self.WHOLE)
        (fresh.path / "a.yaml").symlink_to(".a")
        assert fresh.scan() == []
        fresh.source.writers.moved("x", "y.yaml")
        assert fresh.scan() == []
        fresh.source.writers.moved("..new", "..data")
        assert fresh.scan() == ["a"]

    def test_one_whose_writer_pauses_is_waited_for_until_it_is_closed(self, fresh):
        fresh.write("a.yaml", self.PREFIX)
        fresh.source.writers.modified("a.yaml", time.time_ns(), time.time())
        fresh.scan()
        fresh.now += 10 * SETTLED_S
        assert fresh.scan() == []
        fresh.write("a.yaml", self.WHOLE)
        fresh.source.writers.closed("a.yaml", time.time_ns())
        fresh.scan()
        assert fresh.later(SETTLED_S) == ["a"]
        assert self.minimum(fresh) == 4 * 2**30

    def test_one_that_is_never_closed_counts_in_the_end(self, fresh):
        fresh.write("a.yaml", self.WHOLE)
        fresh.source.writers.modified("a.yaml", time.time_ns(), time.time())
        fresh.scan()
        assert fresh.later(WRITING_S - 1) == []
        assert fresh.later(1) == ["a"]

    def test_a_change_of_attributes_is_no_writing(self):
        writers, now = Writers(), 1000.0
        writers.modified("old.yaml", int((now - 2 * SETTLED_S) * 1e9), now)
        assert not writers.writing("old.yaml")
        writers.modified("new.yaml", int(now * 1e9), now)
        writers.closed("new.yaml", int(now * 1e9))
        writers.modified("new.yaml", int(now * 1e9), now)
        assert not writers.writing("new.yaml")
        writers.modified("new.yaml", int(now * 1e9) + 1, now)
        assert writers.writing("new.yaml")

    def test_files_that_are_written_at_the_start_are_awaited_but_not_for_long(self, fresh):
        fresh.write("a.yaml", self.WHOLE)
        fresh.scan()
        assert fresh.source.awaited == f"the files of {fresh.path} to be read"
        before = fresh.version
        assert fresh.later(SETTLED_S) == ["a"]
        assert (fresh.source.awaited, fresh.version) == ("", before + 1)

    def test_that_nothing_is_awaited_any_more_is_a_change_also_where_there_is_no_policy(self, fresh):
        before = fresh.version
        fresh.scan()
        assert (fresh.version, fresh.source.awaited) == (before + 1, "")

    def test_who_writes_without_end_does_not_keep_the_others_from_counting(self, fresh):
        fresh.write("b.yaml", policy("b"))
        for _ in range(5):
            fresh.write("a.yaml", self.PREFIX)
            fresh.scan()
            fresh.now += SETTLED_S / 2
        assert fresh.in_force == ["b"]
        assert fresh.source.awaited == ""

    def test_a_file_that_goes_while_it_is_waited_for_is_not_waited_for(self, fresh):
        fresh.write("a.yaml", self.WHOLE)
        fresh.scan()
        (fresh.path / "a.yaml").unlink()
        fresh.scan()
        assert fresh.source.due() == fresh.now + ABSENCE_S
        fresh.write("b.yaml", self.WHOLE)
        fresh.scan()
        (fresh.path / "b.yaml").unlink()
        (fresh.path / "b.yaml").mkdir()
        fresh.now += ABSENCE_S
        fresh.scan()
        assert fresh.source.due() == fresh.now + RESCAN_S


class TestReading:
    """What it costs to read files, and who pays."""

    def test_a_file_that_did_not_change_is_not_read_again_refused_or_not(self, folder, monkeypatch):
        folder.write("a.yaml", policy("a"))
        folder.write("b.yaml", "spec: [")
        folder.scan()
        monkeypatch.setattr(Found, "read", lambda _: pytest.fail("read again"))
        assert folder.scan() == ["a"]
        assert folder.later(RESCAN_S) == ["a"]

    def test_a_file_with_the_same_size_and_time_is_read_again_where_it_was_changed(self, folder):
        folder.write("a.yaml", policy("a"))
        folder.scan()
        kept = (folder.path / "a.yaml").stat()
        folder.write("a.yaml", policy("b"))
        os.utime(folder.path / "a.yaml", ns=(kept.st_atime_ns, kept.st_mtime_ns))
        assert folder.scan() == ["b"]

    def test_a_scan_can_be_ended_between_two_files(self, folder):
        folder.write("a.yaml", policy("a"))
        folder.write("b.yaml", policy("b"))
        took: list[float] = []

        def end(seconds: float) -> bool:
            took.append(seconds)
            return False

        source = PolicyFolder(folder.path, NODE, lambda: 0.0, lambda: 1e12, end)
        assert not source.scan()
        assert took == [0.0]
        assert source.current() == (0, ())

    def test_of_many_problems_a_few_are_told(self, folder, caplog):
        unknown = str({f"f{each}": 1 for each in range(50)})
        for number in range(30):
            folder.write(f"{number:02}.yaml", policy("a", unknown))
        folder.scan()
        assert len(folder.source.problems) == TOLD_OF_ALL + 1
        assert folder.source.problems[TOLD] == (
            f"{folder.path}/00.yaml: 40 further problems; `ballast check` names them all"
        )
        assert folder.source.problems[-1] == f"{folder.path}: 230 further problems; `ballast check` names them all"
        assert len(caplog.records) == 30 * (TOLD + 2)

    @pytest.mark.slow
    def test_a_thousand_hostile_files_do_not_keep_another_thread_waiting(self, folder):
        """It comes by every 10 ms; the loop's heartbeat may be 10 s late. Seconds of CPU: as many on a busy machine."""
        hostile = [
            ("- " + "[" * 60 + "]" * 60 + "\n") * 2000,
            policy("a").rstrip("}\n") + ", " + ", ".join(f"k{each}: 1" for each in range(2300)) + "}",
            "{" + "a: 1," * 2300 + "}",
            "---\n".join(policy(f"p{each}") for each in range(500)),
            "a: &a [*a]",
            "? " * 30000,
            '"' + "\\x41" * 60000,
        ]
        for number in range(1000):
            folder.write(f"{number:03}.yaml", hostile[number % len(hostile)] if number < 35 else hostile[-1])
        folder.write("zz.yaml", policy("good"))
        woken, ended = [], threading.Event()

        def beat() -> None:
            while not ended.wait(0.01):
                woken.append(time.process_time())

        loop = threading.Thread(target=beat)
        loop.start()
        try:
            assert "good" in folder.scan()
        finally:
            ended.set()
            loop.join()
        assert max(after - before for before, after in pairwise(woken)) < 1.0


def test_a_folder_that_is_away_is_looked_for_now_and_then_whatever_was_waited_for(folder):
    folder.write("a.yaml", policy("a"))
    folder.scan()
    (folder.path / "a.yaml").unlink()
    folder.scan()
    folder.path.rename(folder.path.with_name("away"))
    folder.now += 100
    folder.scan()
    assert folder.source.due() == folder.now + ABSENCE_S


def test_what_ends_the_reader_is_raised_where_policies_are_asked_for(folder, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(PolicyFolder, "scan", lambda _: 1 / 0)
    news = threading.Event()
    with FolderReader(folder.path, NODE, time.monotonic, time.time, news.set) as reader:
        assert news.wait(60)
        with pytest.raises(ZeroDivisionError):
            reader.folder.current()


def test_the_reader_tells_of_news_and_ends_with_its_block(folder):
    folder.write("a.yaml", policy("a"))
    news = threading.Event()
    with FolderReader(folder.path, NODE, time.monotonic, time.time, news.set) as reader:
        assert [each.name for each in reader.folder.current()[1]] == ["a"]
        assert reader.folder.awaited == ""
        news.clear()
        (folder.elsewhere / "b").write_text(policy("b"))
        (folder.elsewhere / "b").rename(folder.path / "b.yaml")
        assert news.wait(60)
        assert [each.name for each in reader.folder.current()[1]] == ["a", "b"]
    assert "policies" not in {thread.name for thread in threading.enumerate()}
